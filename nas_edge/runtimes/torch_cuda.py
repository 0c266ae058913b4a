"""torch on a CUDA GPU of this machine: the network is captured as one CUDA graph, and timed by CUDA events."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nas_edge.errors import DeviceError, MeasurementError
from nas_edge.runtimes.base import check_request
from nas_edge.runtimes.model_precision import model_precision
from nas_edge.runtimes.onnx_inputs import load_model, onnx_inputs
from nas_edge.runtimes.registry import register_runtime
from nas_edge.runtimes.torch_graph import TorchGraph

if TYPE_CHECKING:
    import torch

_WARMUPS = 3
_INPUT_SEED = 0


@register_runtime("torch-cuda")
class TorchCuda:
    """One GPU, channels last, cuDNN's quickest algorithms, TF32 off: float32 is to mean float32."""

    @property
    def name(self) -> str:
        """Always "torch-cuda"."""
        return "torch-cuda"

    @property
    def precisions(self) -> tuple[str, ...]:
        """What the models may be in."""
        return ("fp32", "fp16")

    def version(self) -> str:
        """Of torch."""
        import torch

        return str(torch.__version__)

    def prepare(self, onnx_model: bytes, precision: str, threads: int) -> TorchCudaSession:
        """Load a model.

        Raises:
            MeasurementError: it does not load, has other operators, or is of another precision.
            SpaceError: unknown precision, no threads. DeviceError: there is no CUDA GPU.

        """
        import torch

        check_request(self.name, self.precisions, precision, threads)
        model = load_model(onnx_model)
        found = model_precision(onnx_model)
        if found != precision:
            raise MeasurementError(f"the model computes in {found}, not {precision}; measure it as {found}")
        if not torch.cuda.is_available():
            raise DeviceError("device 'local': has no CUDA GPU, or torch was installed without CUDA")
        return TorchCudaSession(model)


class TorchCudaSession:
    """One model on the GPU; see `Session`."""

    def __init__(self, model: Any) -> None:
        self._inputs = onnx_inputs(model)
        self._graph: TorchGraph | None = TorchGraph(model, "cuda")
        self._captured: torch.cuda.CUDAGraph | None = None
        self._static: dict[str, torch.Tensor] = {}

    @property
    def inputs(self) -> Mapping[str, tuple[int, ...]]:
        """Shape of each input; a dynamic batch is 1."""
        return {item.name: item.shape for item in self._inputs}

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Outputs by name. Raises MeasurementError for inputs that do not fit."""
        import torch

        graph = self._open()
        arrays = {item.name: item.fitted(inputs) for item in self._inputs}
        with _exact():
            found = graph({name: torch.from_numpy(array).cuda() for name, array in arrays.items()})
        return {name: tensor.cpu().numpy() for name, tensor in found.items()}

    def time(self, repeats: int) -> NDArray[np.float64]:
        """Time of runs back to back on the GPU, without copies, between events: ms, float64 [repeats]."""
        import torch

        captured = self._capture()
        events = [torch.cuda.Event(enable_timing=True) for _ in range(repeats + 1)]  # type: ignore[no-untyped-call]
        events[0].record()
        for event in events[1:]:
            captured.replay()
            event.record()
        torch.cuda.synchronize()
        return np.array([events[i].elapsed_time(events[i + 1]) for i in range(repeats)], np.float64)

    def close(self) -> None:
        """Free the model."""
        self._graph = self._captured = None
        self._static.clear()

    def _open(self) -> TorchGraph:
        if self._graph is None:
            raise MeasurementError("this session was closed")
        return self._graph

    def _capture(self) -> torch.cuda.CUDAGraph:
        """The whole network as one launch; algorithms are chosen before, on another stream, as torch asks for."""
        import torch

        graph = self._open()
        if self._captured is not None:
            return self._captured
        for item in self._inputs:
            tensor = torch.from_numpy(item.seeded(_INPUT_SEED)).cuda()
            four = tensor.ndim == 4
            self._static[item.name] = tensor.contiguous(memory_format=torch.channels_last) if four else tensor
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with _exact(), torch.cuda.stream(side):
            for _ in range(_WARMUPS):
                graph(self._static)
        torch.cuda.current_stream().wait_stream(side)
        captured = torch.cuda.CUDAGraph()
        with _exact(), torch.cuda.graph(captured):
            graph(self._static)
        captured.replay()
        torch.cuda.synchronize()
        self._captured = captured
        return captured


@contextlib.contextmanager
def _exact() -> Iterator[None]:
    """No gradients, no TF32, algorithms by trial."""
    import torch

    with torch.no_grad(), torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=False):
        yield
