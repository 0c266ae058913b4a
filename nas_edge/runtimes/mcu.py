"""Runtime "mcu": models as firmware in the emulator. It counts instructions, and has no times to give."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas_edge.errors import MeasurementError, SpaceError
from nas_edge.mcu.boards import Board, load_board
from nas_edge.mcu.counted import count_network, read_onnx
from nas_edge.mcu.emulator.qemu import qemu_version
from nas_edge.runtimes.registry import register_runtime

_DEFAULT_BOARD = "stm32f405"


@register_runtime("mcu")
class McuRuntime:
    """Runs models as firmware in the emulator; it counts instructions, and has no times to give."""

    def __init__(self, board: str = _DEFAULT_BOARD) -> None:
        self._board = load_board(board)

    @property
    def name(self) -> str:
        """Always "mcu"."""
        return "mcu"

    @property
    def precisions(self) -> tuple[str, ...]:
        """int8 alone."""
        return ("int8",)

    def version(self) -> str:
        """Of the emulator, "7.2.22". Raises DeviceError where it is missing."""
        return qemu_version()

    def prepare(self, onnx_model: bytes, precision: str, threads: int) -> McuSession:
        """Read a model.

        Raises:
            ExportError: it cannot be firmware. SpaceError: another precision, or more than one thread.

        """
        if precision != "int8" or threads != 1:
            raise SpaceError(f"runtime 'mcu' runs int8 on one thread, not {precision} on {threads}")
        return McuSession(onnx_model, self._board)


class McuSession:
    """One network; see `Session`."""

    def __init__(self, onnx_model: bytes, board: Board) -> None:
        self._model: bytes | None = onnx_model
        self._board = board
        self._graph = read_onnx(onnx_model)

    @property
    def inputs(self) -> Mapping[str, tuple[int, ...]]:
        """The image, channels first."""
        taken = self._graph.input
        return {"image": (1, taken.channels, taken.height, taken.width)}

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Real logits float64 [n, classes] of float32 images. Raises MeasurementError where they do not fit."""
        from nas_edge.mcu import reference

        if self._model is None:
            raise MeasurementError("this session was closed")
        wanted = self.inputs["image"]
        if "image" not in inputs:
            raise MeasurementError(f"input 'image' {wanted} is missing; given: {', '.join(inputs) or 'nothing'}")
        image = inputs["image"]
        if image.shape[1:] != wanted[1:]:
            raise MeasurementError(f"input 'image' has shape {image.shape}, the model takes {wanted}")
        counted = count_network(self._model, self._board, np.asarray(image, np.float32))
        logits = reference.dequantise(self._graph.output, counted.outputs)
        return {"logits": logits.reshape(len(logits), -1)}

    def time(self, repeats: int) -> NDArray[np.float64]:
        """Raises MeasurementError: an emulator has no times."""
        raise MeasurementError(
            "an emulated chip has no time of its own: 'nas-edge profile' counts its instructions instead"
        )

    def close(self) -> None:
        """Forget the model."""
        self._model = None
