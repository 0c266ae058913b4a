"""Folding: batch norms into the convolutions before them, as every runtime does and no table block has them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import nn

from nas_edge.errors import ExportError
from nas_edge.spaces import BlockSpec, Kind
from nas_edge.supernet.layers import ConvNorm, SqueezeExcite
from nas_edge.supernet.static import StaticBlock, StaticNet

Weights = dict[str, NDArray[np.float32]]


def fold(net: StaticNet) -> Weights:
    """Weights of a network as `spaces.onnx_blocks.weight_names(net.specs)` calls them, batch norms folded.

    A norm in evaluation mode is y = (x - mean) / sqrt(var + eps) * gamma + beta, linear in x: the convolution's
    filters take the factor, a bias takes the rest. Computed in float64, so that folding adds no error of its own.

    Args:
        net: its running statistics are those it is used with: recalibrate before.

    Returns:
        float32 arrays: convolutions [out, in / groups, k, k], linear layers [out, in], biases [out].

    Raises:
        ExportError: a module that is not what its block says, or weights that are not finite.

    """
    weights: Weights = {}
    for number, (spec, block) in enumerate(zip(net.specs, net.blocks, strict=True)):
        for layer, (weight, bias) in _layers(number, spec, block).items():
            name = f"b{number:02d}.{layer}"
            weights[f"{name}.weight"] = weight.astype(np.float32)
            if bias is not None:
                weights[f"{name}.bias"] = bias.astype(np.float32)
    for name, array in weights.items():
        if not np.isfinite(array).all():
            raise ExportError(f"weight {name!r} is not finite after folding; was the network trained and recalibrated?")
    return weights


_Layer = tuple[NDArray[np.float64], NDArray[np.float64] | None]


def _layers(number: int, spec: BlockSpec, block: nn.Module) -> dict[str, _Layer]:
    if spec.kind is Kind.POOLING:
        return {}
    if spec.kind is Kind.LINEAR and isinstance(block, nn.Linear):
        return {"linear": (_array(block.weight), _array(block.bias))}
    if spec.kind is Kind.INVERTED_RESIDUAL and isinstance(block, StaticBlock):
        parts = {"expand": block.expand, "depthwise": block.depthwise, "project": block.project}
        layers = {name: _folded(part) for name, part in parts.items() if part is not None}
        return layers | (_squeeze_excite(block.se) if block.se is not None else {})
    if spec.kind in (Kind.STEM, Kind.HEAD) and isinstance(block, ConvNorm):
        return {"conv": _folded(block)}
    raise ExportError(f"block {number} ({spec.kind}) is a {type(block).__name__}, which cannot be exported")


def _folded(layer: ConvNorm) -> _Layer:
    weight = _array(layer.conv.weight)
    norm = layer.bn
    if norm is None:
        return weight, None
    if norm.running_mean is None or norm.running_var is None:
        raise ExportError("a batch norm without running statistics cannot be folded; recalibrate the network first")
    factor = _array(norm.weight) / np.sqrt(_array(norm.running_var) + norm.eps)
    return weight * factor[:, None, None, None], _array(norm.bias) - _array(norm.running_mean) * factor


def _squeeze_excite(se: SqueezeExcite) -> dict[str, _Layer]:
    def parameters(layer: nn.Conv2d) -> _Layer:
        return _array(layer.weight), None if layer.bias is None else _array(layer.bias)

    return {"se_reduce": parameters(se.reduce), "se_expand": parameters(se.expand)}


def _array(tensor: object) -> NDArray[np.float64]:
    from torch import Tensor

    assert isinstance(tensor, Tensor)
    return tensor.detach().double().cpu().contiguous().numpy()
