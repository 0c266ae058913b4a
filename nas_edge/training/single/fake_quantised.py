"""A folded network that computes as its int8 form will, in float: what quantisation-aware fine-tuning trains.

Weights and activations are rounded where `spaces.onnx_quantise` puts its pairs of Q and DQ, with the same ranges;
gradients pass the rounding as if it were not there, and stop where a value was cut off (straight-through estimator:
Bengio et al. 2013; scheme of Jacob et al., CVPR 2018, with batch norms folded from the start).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas_edge.errors import TrainingError
from nas_edge.spaces.onnx_blocks import build_onnx
from nas_edge.spaces.onnx_quantise import CANONICAL, QdqForm, Ranges, observed_tensors
from nas_edge.supernet.fold import fold
from nas_edge.supernet.layers import ConvNorm
from nas_edge.supernet.static import StaticBlock, StaticNet

_LEAST_SCALE = 1e-9


def rounded(x: Tensor, scale: Tensor, low: int, high: int, zero: int = 0) -> Tensor:
    """Values as `scale x code` with codes of low - zero to high - zero; its gradient is one inside, nought outside."""
    cut = torch.clamp(x, (low - zero) * scale, (high - zero) * scale)
    return cut + ((cut / scale).round() * scale - cut).detach()


class FakeQuantised(nn.Module):
    """The graph of a network, node by node, on trainable folded weights.

    Args:
        net: recalibrated; it is not changed.
        ranges: of activations, observed on the float model.
        form: of the int8 file; activations unsigned, with float logits.

    """

    def __init__(self, net: StaticNet, ranges: Ranges, form: QdqForm = CANONICAL) -> None:
        super().__init__()
        model = build_onnx(net.specs, fold(net))
        self.specs = net.specs
        self._limit = 2 ** (form.weight_bits - 1) - 1
        self._nodes = [_Node(node) for node in model.graph.node]
        self._source, self._output = model.graph.input[0].name, model.graph.output[0].name
        self._names = {name: name.replace(".", "_") for name in fold(net)}
        for name, array in fold(net).items():
            self.register_parameter(self._names[name], nn.Parameter(torch.from_numpy(array.copy())))
        observed = set(observed_tensors(model)) - ({self._output} if form.float_output else set())
        self._scales = {name: _scale(*ranges[name]) for name in observed}

    @property
    def resolution(self) -> int:
        """Side of the input in pixels."""
        return self.specs[0].height

    def forward(self, x: Tensor) -> Tensor:
        """Images float [n, 3, r, r] -> logits [n, classes]."""
        values = {self._source: self._activation(self._source, x)}
        for node in self._nodes:
            values[node.output] = self._activation(node.output, self._computed(node, values))
        return values[self._output]

    def weights(self) -> dict[str, np.ndarray[Any, np.dtype[np.float32]]]:
        """As `fold` gives them."""
        return {name: getattr(self, own).detach().numpy().copy() for name, own in self._names.items()}

    def _activation(self, name: str, value: Tensor) -> Tensor:
        if name not in self._scales:
            return value
        scale, zero = self._scales[name]
        return rounded(value, torch.tensor(scale), 0, 255, zero)

    def _weight(self, name: str) -> Tensor:
        weight: Tensor = getattr(self, self._names[name])
        rows = weight.detach().abs().reshape(len(weight), -1).amax(1) / self._limit
        scale = rows.clamp_min(_LEAST_SCALE).reshape(-1, *[1] * (weight.ndim - 1))
        return rounded(weight, scale, -self._limit, self._limit)

    def _computed(self, node: _Node, values: Mapping[str, Tensor]) -> Tensor:
        x = values[node.inputs[0]]
        if node.kind == "Conv":
            bias = getattr(self, self._names[node.inputs[2]]) if len(node.inputs) > 2 else None
            top, left, bottom, right = node.pads
            return F.conv2d(
                F.pad(x, (left, right, top, bottom)), self._weight(node.inputs[1]), bias, node.stride, 0, 1, node.groups
            )
        if node.kind == "Gemm":
            return F.linear(x, self._weight(node.inputs[1]), getattr(self, self._names[node.inputs[2]]))
        if node.kind in _ALONE:
            alone: Tensor = _ALONE[node.kind](x)
            return alone
        if node.kind in ("Add", "Mul"):
            other = values[node.inputs[1]]
            return x + other if node.kind == "Add" else x * other
        raise TrainingError(f"node {node.name!r}: operator {node.kind} cannot be trained for int8")


_ALONE: Mapping[str, Any] = {
    "Relu": F.relu,
    "Clip": F.relu6,
    "HardSwish": F.hardswish,
    "HardSigmoid": F.hardsigmoid,
    "GlobalAveragePool": lambda x: x.mean((2, 3), keepdim=True),
    "Flatten": lambda x: x.flatten(1),
    "Identity": lambda x: x,
}


class _Node:
    """What is needed of an ONNX node."""

    def __init__(self, node: Any) -> None:
        found = {item.name: item for item in node.attribute}
        self.name, self.kind, self.output = node.name, node.op_type, node.output[0]
        self.inputs = list(node.input)
        self.pads = list(found["pads"].ints) if "pads" in found else [0, 0, 0, 0]
        self.stride = found["strides"].ints[0] if "strides" in found else 1
        self.groups = found["group"].i if "group" in found else 1


def _scale(low: float, high: float) -> tuple[float, int]:
    """Scale and zero point of unsigned codes, as `onnx_quantise` has them."""
    low, high = min(low, 0.0), max(high, 0.0)
    high = high if high > low else 1.0
    scale = max((high - low) / 255, _LEAST_SCALE)
    return float(np.float32(scale)), int(np.clip(np.rint(-low / scale), 0, 255))


def unfold(net: StaticNet, weights: Mapping[str, Any]) -> None:
    """Folded weights into a network, in place: its batch norms become additions, and `fold` gives the weights back.

    Raises:
        TrainingError: a module that is not what its block says.

    """
    with torch.no_grad():
        for number, block in enumerate(net.blocks):
            prefix = f"b{number:02d}"
            if isinstance(block, ConvNorm):
                _unfolded(block, weights, f"{prefix}.conv")
            elif isinstance(block, StaticBlock):
                for name, part in (
                    ("expand", block.expand),
                    ("depthwise", block.depthwise),
                    ("project", block.project),
                ):
                    if part is not None:
                        _unfolded(part, weights, f"{prefix}.{name}")
                if block.se is not None:
                    for name, layer in (("se_reduce", block.se.reduce), ("se_expand", block.se.expand)):
                        _plain(layer, weights, f"{prefix}.{name}")
            elif isinstance(block, nn.Linear):
                _plain(block, weights, f"{prefix}.linear")
            elif not isinstance(block, nn.AdaptiveAvgPool2d):
                raise TrainingError(f"block {number} is a {type(block).__name__}, which takes no folded weights")


def _unfolded(layer: ConvNorm, weights: Mapping[str, Any], name: str) -> None:
    layer.conv.weight.copy_(torch.from_numpy(weights[f"{name}.weight"]))
    norm = layer.bn
    if norm is None:
        return
    if norm.running_mean is None or norm.running_var is None:
        raise TrainingError("a batch norm without running statistics takes no folded weights")
    norm.running_mean.zero_()
    norm.running_var.fill_(1 - norm.eps)
    norm.weight.fill_(1)
    norm.bias.copy_(torch.from_numpy(weights[f"{name}.bias"]))


def _plain(layer: nn.Conv2d | nn.Linear, weights: Mapping[str, Any], name: str) -> None:
    layer.weight.copy_(torch.from_numpy(weights[f"{name}.weight"]))
    if layer.bias is not None:
        layer.bias.copy_(torch.from_numpy(weights[f"{name}.bias"]))
