"""What a network is exported as: the file that a runtime loads, made of the ONNX, and how it is proved."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nas_edge.errors import ExportError, UnknownNameError

if TYPE_CHECKING:
    from nas_edge.export.deploy import DeployKind
    from nas_edge.export.parity import Answering
    from nas_edge.runtimes.base import Session


@dataclass(frozen=True)
class ExportFormat:
    """A kind of file.

    Attributes:
        name: as in `--format`.
        runtime: that loads it.
        precisions: that it can be in.
        artefact: makes the file of an ONNX model in its precision (int8 in the canonical form).
        proof: the file in a runtime of this machine, to be asked for its answers.
        kind: of the deploy folder, for a precision.

    """

    name: str
    runtime: str
    precisions: tuple[str, ...]
    artefact: Callable[[bytes, str], bytes]
    proof: Callable[[bytes, str], Answering]
    kind: Callable[[str], DeployKind]

    @property
    def file(self) -> str:
        """Name of the file."""
        return self.kind(self.precisions[0]).model


_ALSO = MappingProxyType({"litert": "tflite", "onnxruntime": "onnx"})


def export_format(name: str) -> ExportFormat:
    """The format of a name, or of the runtime that loads it. Raises UnknownNameError."""
    found = _ALSO.get(name, name)
    if found not in FORMATS:
        raise UnknownNameError("export format", name, FORMATS)
    return FORMATS[found]


def format_of_runtime(runtime: str) -> str:
    """The format that a runtime loads; ONNX for those that have none of their own."""
    return next((f.name for f in FORMATS.values() if f.runtime == runtime), "onnx")


class Images:
    """Answers of a session that takes one image at a time, as `export.parity` asks for them."""

    def __init__(self, session: Session, runtime: str) -> None:
        self._session, self.runtime = session, runtime

    def logits(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32 [n, classes]."""
        (name,) = self._session.inputs
        rows = [next(iter(self._session.run({name: image[None]}).values())) for image in batch]
        found: NDArray[np.float32] = np.concatenate(rows).astype(np.float32)
        return found


def _as_it_is(model: bytes, precision: str) -> bytes:
    return model


def _in_onnx_runtime(artefact: bytes, precision: str) -> Answering:
    from nas_edge.export.parity import FileSession

    return FileSession(artefact)


def _onnx_kind(precision: str) -> DeployKind:
    from nas_edge.export.deploy import ONNX_KIND

    return ONNX_KIND


def _for_tensorrt(model: bytes, precision: str) -> bytes:
    import onnx

    from nas_edge.spaces.onnx_half import half
    from nas_edge.spaces.onnx_tensorrt import tensorrt_form

    given = onnx.load_from_string(model)
    data: bytes = tensorrt_form(half(given) if precision == "fp16" else given).SerializeToString(deterministic=True)
    return data


def trtexec_lines(precision: str) -> tuple[tuple[str, str], ...]:
    """What to type on the device, as (what it is for, line)."""
    flags = "" if precision == "fp32" else f" --{precision}"
    build = "trtexec --onnx=model.onnx --saveEngine=model.plan --noTF32"
    lines = [("Build the engine on the device", f"{build}{flags}")]
    if flags:
        lines.append(("The same with TensorRT 11, where the file alone says how it computes", build))
    return (*lines, ("Time it there", "trtexec --loadEngine=model.plan --useCudaGraph --useSpinWait --warmUp=500"))


def _tensorrt_kind(precision: str) -> DeployKind:
    from nas_edge.export.deploy import DeployKind

    return DeployKind(
        example="deploy_example_tensorrt.py",
        needs="trtexec, which a Jetson has, numpy and Pillow",
        commands=trtexec_lines(precision),
    )


def _for_litert(model: bytes, precision: str) -> bytes:
    from nas_edge.runtimes.litert import artefact

    return artefact(model, precision).data


def _in_litert(artefact: bytes, precision: str) -> Answering:
    from nas_edge.runtimes.litert import LiteRt

    runtime = LiteRt()
    return Images(runtime.prepare(artefact, precision, 1), f"litert {runtime.version()}")


def _litert_kind(precision: str) -> DeployKind:
    from nas_edge.export.deploy import TFLITE_KIND

    return TFLITE_KIND


def _on_the_host(artefact: bytes, precision: str) -> Answering:
    from nas_edge.pipeline.exporting.c import HostBuilt

    return HostBuilt(artefact)


def _c_kind(precision: str) -> DeployKind:
    from nas_edge.export.deploy import C_KIND

    return C_KIND


FORMATS: Mapping[str, ExportFormat] = MappingProxyType(
    {
        f.name: f
        for f in (
            ExportFormat("onnx", "onnxruntime", ("fp32", "int8"), _as_it_is, _in_onnx_runtime, _onnx_kind),
            ExportFormat(
                "tensorrt", "tensorrt", ("fp32", "fp16", "int8"), _for_tensorrt, _in_onnx_runtime, _tensorrt_kind
            ),
            ExportFormat("tflite", "litert", ("fp32", "int8"), _for_litert, _in_litert, _litert_kind),
            ExportFormat("c", "mcu", ("int8",), _as_it_is, _on_the_host, _c_kind),
        )
    }
)


def checked_precision(chosen: ExportFormat, precision: str) -> str:
    """A precision that a format can be in. Raises ExportError."""
    if precision not in chosen.precisions:
        raise ExportError(f"{chosen.name} is exported as {' or '.join(chosen.precisions)}, not {precision!r}")
    return precision
