"""Command lines of `trtexec`, by version. They are lists of words: no shell reads them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nas_edge.errors import MeasurementError
from nas_edge.runtimes.tensorrt_version import TensorRtVersion

_SAFE_NAME = re.compile(r"[^,:\s'\"]+")
Shapes = Mapping[str, Sequence[int]]


@dataclass(frozen=True)
class Trtexec:
    """The program on a device.

    Attributes:
        path: of it.
        version: that it says it has.

    """

    path: str
    version: TensorRtVersion

    def build(self, onnx: str, plan: str, precision: str, shapes: Shapes | None = None) -> list[str]:
        """Make an engine ("plan") of an ONNX file.

        The ONNX carries the precision (its types, or QDQ pairs); versions below 11 also need it to be allowed by a
        flag. TF32, which rounds to ten bits, is off: float32 is to mean float32.

        Args:
            onnx: file there.
            plan: file to write there.
            precision: "fp32", "fp16" or "int8".
            shapes: of inputs with a dynamic batch.

        Raises:
            MeasurementError: an input's name that no command line can hold.

        """
        words = [self.path, f"--onnx={onnx}", f"--saveEngine={plan}", "--noTF32", self.version.verbosity_flag]
        words.append("--timingCacheFile=timing.cache")
        if precision != "fp32" and self.version.precision_flags:
            words.append(f"--{precision}")
        if shapes:
            words.append("--shapes=" + ",".join(f"{_safe(name)}:{_times(shape)}" for name, shape in shapes.items()))
        words.append("--skipInference" if self.version.skips_inference else "--buildOnly")
        return words

    def time(self, plan: str, runs: int, warmup_ms: float, times: str) -> list[str]:
        """Time an engine, back to back, in a CUDA graph: launches of single kernels would bind small networks."""
        return [
            self.path, f"--loadEngine={plan}", f"--iterations={runs}", "--duration=0", f"--warmUp={round(warmup_ms)}",
            "--useCudaGraph", "--useSpinWait", f"--exportTimes={times}",
        ]  # fmt: skip

    def layers(self, plan: str, runs: int, profile: str, layers: str) -> list[str]:
        """Time each layer; not in a CUDA graph, which has no layers."""
        return [
            self.path, f"--loadEngine={plan}", f"--iterations={runs}", "--duration=0", "--dumpProfile",
            "--separateProfileRun", f"--exportProfile={profile}", f"--exportLayerInfo={layers}",
            self.version.verbosity_flag,
        ]  # fmt: skip

    def compute(self, plan: str, inputs: Mapping[str, str], outputs: str) -> list[str]:
        """Run once on inputs in raw files, outputs as JSON. Raises MeasurementError as `build`."""
        loaded = ",".join(f"{_safe(name)}:{file}" for name, file in inputs.items())
        return [
            self.path, f"--loadEngine={plan}", "--iterations=1", "--duration=0", "--warmUp=0", f"--loadInputs={loaded}",
            f"--exportOutput={outputs}",
        ]  # fmt: skip


def _times(shape: Sequence[int]) -> str:
    return "x".join(str(size) for size in shape)


def _safe(name: str) -> str:
    if not _SAFE_NAME.fullmatch(name):
        raise MeasurementError(f"input {name!r}: trtexec cannot be handed a name with spaces, quotes, ':' or ','")
    return name
