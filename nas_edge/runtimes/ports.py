"""What an ONNX model takes and gives, against what the file made of it does: layout and quantisation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas_edge.errors import MeasurementError

_UNSIGNED = 128  # int8 code + 128 = uint8 code


@dataclass(frozen=True)
class Port:
    """One input or output.

    Attributes:
        name: in both.
        shape: in the ONNX model; a dynamic batch is 1.
        dynamic_batch: whether any batch is taken.
        channels_last: whether the ONNX model has its channels last as well (or none): no transposing.
        kind: of the file's numbers: "float32", "int8", or "uint8" as the ONNX model.
        given: of the ONNX model's numbers: "float32", "int8" or "uint8".
        scale, zero: of the codes.

    """

    name: str
    shape: tuple[int, ...]
    dynamic_batch: bool = False
    channels_last: bool = False
    kind: str = "float32"
    given: str = "float32"
    scale: float = 1.0
    zero: int = 0

    def inward(self, value: NDArray[Any]) -> NDArray[Any]:
        """What the ONNX model takes, as the file takes it. Raises MeasurementError for a shape that does not fit."""
        array = np.asarray(value)
        free = 1 if self.dynamic_batch else 0
        if array.ndim != len(self.shape) or array.shape[free:] != self.shape[free:]:
            raise MeasurementError(f"input {self.name!r} has shape {array.shape}, the model takes {self.shape}")
        if not self.channels_last:
            array = array.transpose(0, 2, 3, 1)
        if self.kind == self.given:
            return np.ascontiguousarray(array, np.dtype(self.kind))
        if self.given == "float32":
            codes = np.rint(array.astype(np.float32) / np.float32(self.scale)) + self.zero
            return np.ascontiguousarray(np.clip(codes, -128, 127), np.int8)
        return np.ascontiguousarray(array.astype(np.int16) - _UNSIGNED, np.int8)

    def outward(self, value: NDArray[Any]) -> NDArray[Any]:
        """What the file gives, as the ONNX model gives it."""
        array = np.asarray(value)
        if self.kind != self.given == "float32":
            array = (array.astype(np.float32) - np.float32(self.zero)) * np.float32(self.scale)
        elif self.kind != self.given:
            array = (array.astype(np.int16) + _UNSIGNED).astype(np.uint8)
        return np.ascontiguousarray(array if self.channels_last else array.transpose(0, 3, 1, 2))


def fed(ports: Sequence[Port], inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Inputs by name, as the file takes them. Raises MeasurementError for what is missing or does not fit."""
    feeds = {}
    for port in ports:
        if port.name not in inputs:
            told = ", ".join(inputs) or "nothing"
            raise MeasurementError(f"input {port.name!r} {port.shape} is missing; given: {told}")
        feeds[port.name] = port.inward(inputs[port.name])
    return feeds
