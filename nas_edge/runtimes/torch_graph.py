"""An ONNX model of the operators that `spaces.onnx_blocks` writes, as a torch function. torch is imported late."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from nas_edge.errors import MeasurementError

if TYPE_CHECKING:
    import torch


class TorchGraph:
    """The nodes in order, on tensors of one device.

    Args:
        model: an `onnx.ModelProto`, float32 or float16.
        device: of the weights: "cuda", "cpu".

    Raises:
        MeasurementError: an operator that is not among them (operator and node are named).

    """

    def __init__(self, model: Any, device: str) -> None:
        import torch
        from onnx import numpy_helper

        self._weights: dict[str, torch.Tensor] = {
            item.name: torch.from_numpy(numpy_helper.to_array(item).copy()).to(device)
            for item in model.graph.initializer
        }
        self._steps: list[tuple[str, list[str], Callable[..., torch.Tensor]]] = []
        for node in model.graph.node:
            attributes = {item.name: item for item in node.attribute}
            if node.op_type not in _OPERATORS:
                raise MeasurementError(f"node {node.name!r}: runtime 'torch-cuda' has no operator {node.op_type}")
            self._steps.append((node.output[0], list(node.input), _OPERATORS[node.op_type](attributes)))
        self.outputs = [item.name for item in model.graph.output]

    def __call__(self, inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Outputs by name."""
        values = {**self._weights, **inputs}
        for output, names, step in self._steps:
            values[output] = step(*(values[name] for name in names))
        return {name: values[name] for name in self.outputs}


def _conv(attributes: Mapping[str, Any]) -> Callable[..., Any]:
    import torch.nn.functional as F

    top, left, bottom, right = attributes["pads"].ints if "pads" in attributes else (0, 0, 0, 0)
    stride = list(attributes["strides"].ints) if "strides" in attributes else [1, 1]
    groups = attributes["group"].i if "group" in attributes else 1

    def conv(x: Any, weight: Any, bias: Any = None) -> Any:
        if (top, left) == (bottom, right):
            return F.conv2d(x, weight, bias, stride, (top, left), 1, groups)
        return F.conv2d(F.pad(x, (left, right, top, bottom)), weight, bias, stride, 0, 1, groups)

    return conv


def _gemm(attributes: Mapping[str, Any]) -> Callable[..., Any]:
    import torch.nn.functional as F

    if not ("transB" in attributes and attributes["transB"].i):
        raise MeasurementError("runtime 'torch-cuda' takes Gemm with transB alone")
    return lambda x, weight, bias=None: F.linear(x, weight, bias)


def _cast(attributes: Mapping[str, Any]) -> Callable[..., Any]:
    import torch
    from onnx import TensorProto

    kinds = {TensorProto.FLOAT: torch.float32, TensorProto.FLOAT16: torch.float16}
    kind = kinds.get(attributes["to"].i)
    if kind is None:
        raise MeasurementError("runtime 'torch-cuda' computes in float32 and float16 alone")
    return lambda x: x.to(kind)


def _functional(name: str) -> Callable[[Mapping[str, Any]], Callable[..., Any]]:
    def found(attributes: Mapping[str, Any]) -> Callable[..., Any]:
        import torch.nn.functional as F

        function: Callable[..., Any] = getattr(F, name)
        return function

    return found


_OPERATORS: Mapping[str, Callable[[Mapping[str, Any]], Callable[..., Any]]] = {
    "Conv": _conv,
    "Gemm": _gemm,
    "Cast": _cast,
    "Relu": _functional("relu"),
    "HardSwish": _functional("hardswish"),
    "HardSigmoid": _functional("hardsigmoid"),
    "Clip": lambda attributes: lambda x, low, high: x.clamp(low, high),
    "GlobalAveragePool": lambda attributes: lambda x: x.mean((2, 3), keepdim=True),
    "Flatten": lambda attributes: lambda x: x.flatten(1),
    "Identity": lambda attributes: lambda x: x,
    "Add": lambda attributes: lambda x, y: x + y,
    "Mul": lambda attributes: lambda x, y: x * y,
}
