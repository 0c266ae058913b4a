"""What an ONNX file takes and gives, read without running it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas_edge.errors import MeasurementError

_MOST_ELEMENTS = 2**31


@dataclass(frozen=True)
class OnnxInput:
    """One input.

    Attributes:
        name: of the tensor.
        shape: a dynamic batch is 1.
        dynamic_batch: whether its first size is free.
        kind: numpy's name of its type.

    """

    name: str
    shape: tuple[int, ...]
    dynamic_batch: bool
    kind: str

    def fitted(self, inputs: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        """The array of this input among others, cast to its type. Raises MeasurementError where it does not fit."""
        if self.name not in inputs:
            given = ", ".join(inputs) or "nothing"
            raise MeasurementError(f"input {self.name!r} {self.shape} is missing; given: {given}")
        array = np.ascontiguousarray(inputs[self.name], dtype=np.dtype(self.kind))
        free = 1 if self.dynamic_batch else 0
        if array.ndim != len(self.shape) or array.shape[free:] != self.shape[free:] or not array.size:
            raise MeasurementError(f"input {self.name!r} has shape {array.shape}, the model takes {self.shape}")
        return array

    def seeded(self, seed: int) -> NDArray[Any]:
        """Something to be timed on: normal numbers, or all codes alike."""
        rng = np.random.default_rng(seed)
        if self.kind.startswith("float"):
            return rng.standard_normal(self.shape, np.float32).astype(self.kind)
        limits = np.iinfo(np.dtype(self.kind))
        return rng.integers(limits.min, limits.max, self.shape, dtype=np.dtype(self.kind), endpoint=True)


def load_model(onnx_model: bytes) -> Any:
    """The `onnx.ModelProto`. Raises MeasurementError for what is none (truncated, another file)."""
    import onnx

    try:
        model = onnx.load_from_string(onnx_model)
    except Exception as error:  # protobuf's own, which has no name in onnx
        raise MeasurementError(f"this is no ONNX file, or a damaged one ({error})") from error
    if not model.graph.node or not model.opset_import:
        raise MeasurementError("this is no ONNX file, or a damaged one (it has no operators)")
    return model


def onnx_inputs(model: Any) -> tuple[OnnxInput, ...]:
    """Inputs of an `onnx.ModelProto`, weights left out.

    Raises:
        MeasurementError: a size other than the batch is dynamic, or a type that a network of images does not take.

    """
    from onnx import TensorProto

    kinds = {
        TensorProto.FLOAT: "float32", TensorProto.FLOAT16: "float16", TensorProto.UINT8: "uint8",
        TensorProto.INT8: "int8",
    }  # fmt: skip
    weights = {item.name for item in model.graph.initializer}
    found = []
    for item in model.graph.input:
        if item.name in weights:
            continue
        tensor = item.type.tensor_type
        if tensor.elem_type not in kinds:
            kind = TensorProto.DataType.Name(tensor.elem_type).lower()
            raise MeasurementError(f"input {item.name!r} is of type {kind}; images are {', '.join(kinds.values())}")
        sizes = [dim.dim_value for dim in tensor.shape.dim]
        if any(size < 1 for size in sizes[1:]):
            shown = " x ".join(dim.dim_param or str(dim.dim_value or "?") for dim in tensor.shape.dim)
            raise MeasurementError(f"input {item.name!r} is {shown}: fix the sizes other than the batch first")
        dynamic = bool(sizes) and sizes[0] < 1
        shape = (1, *sizes[1:]) if dynamic else tuple(sizes)
        if np.prod(shape, dtype=np.float64) > _MOST_ELEMENTS:
            raise MeasurementError(f"input {item.name!r} {shape} is larger than any image")
        found.append(OnnxInput(item.name, shape, dynamic, kinds[tensor.elem_type]))
    if not found:
        raise MeasurementError("the model takes no input")
    return tuple(found)
