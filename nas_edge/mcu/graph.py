"""`Int8Graph`: a network in integers, as microcontrollers run it.

Activations are int8, channels last; a real value is scale x (code - zero point). Weights are int8, one scale an output
channel (Jacob et al., CVPR 2018). What each layer computes, to the bit, is said in `reference`; `kernels/nas_kernels.h`
says the same in C.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nas_edge.errors import ExportError
from nas_edge.memory.layers import IMAGE, Layer, LayerKind

WEIGHT_SHAPES = {
    LayerKind.CONV: "out, kernel height, kernel width, in",
    LayerKind.POINTWISE: "out, 1, 1, in",
    LayerKind.DEPTHWISE: "kernel height, kernel width, channels",
    LayerKind.LINEAR: "out, in",
}


@dataclass(frozen=True)
class Tensor:
    """An activation.

    Attributes:
        height, width, channels: of one image; logits are 1 x 1 x classes.
        scale: real = scale x (code - zero_point).
        zero_point: a code of dtype.
        dtype: "int8"; "int32" for logits that the network leaves unquantised.

    """

    height: int
    width: int
    channels: int
    scale: float
    zero_point: int
    dtype: Literal["int8", "int32"] = "int8"

    @property
    def shape(self) -> tuple[int, int, int]:
        """(height, width, channels)."""
        return self.height, self.width, self.channels

    @property
    def bytes(self) -> int:
        """Bytes of one image."""
        return self.height * self.width * self.channels * (4 if self.dtype == "int32" else 1)


@dataclass(frozen=True, eq=False)
class Requantise:
    """How int32 accumulators become codes: clamp(round(accumulator x scale) + zero, low, high).

    Attributes:
        bias: int32 [outputs], where accumulators start; the input's zero point is folded in.
        multiplier: int32 [outputs], scale x 2^(32 - left), positive.
        left: left shift of accumulators, saturating in 32 bits; 0 unless a scale is 0.5 or more.
        zero: zero point of the output.
        low, high: bounds of the activation, as codes.

    """

    bias: NDArray[np.int32]
    multiplier: NDArray[np.int32]
    left: int
    zero: int
    low: int = -128
    high: int = 127


@dataclass(frozen=True)
class Addition:
    """Sum of two tensors: clamp((a x a_multiplier + b x b_multiplier + offset) >> shift, low, high), in 32 bits."""

    a_multiplier: int
    b_multiplier: int
    offset: int
    shift: int
    low: int = -128
    high: int = 127


@dataclass(frozen=True, eq=False)
class Int8Layer:
    """One call of a kernel with all its numbers.

    Attributes:
        layer: kind, sizes, and which layers it reads.
        output: the tensor it gives.
        weights: int8, laid out as `WEIGHT_SHAPES` says; None for sums and means.
        requantise: of all but sums.
        addition: of sums.

    """

    layer: Layer
    output: Tensor
    weights: NDArray[np.int8] | None = None
    requantise: Requantise | None = None
    addition: Addition | None = None

    @property
    def name(self) -> str:
        """The layer's name, "b03.depthwise"."""
        return self.layer.name


@dataclass(frozen=True, eq=False)
class Int8Graph:
    """A network, its layers in the order they run; the last one gives the output.

    Attributes:
        name: of the network.
        input: the image.
        layers: layer i gives tensor i; `memory.IMAGE` stands for the image.

    Raises:
        ExportError: a layer that reads what comes later, or whose sizes do not fit what it reads.

    """

    name: str
    input: Tensor
    layers: tuple[Int8Layer, ...]

    def __post_init__(self) -> None:
        if not self.layers:
            raise ExportError(f"network {self.name!r} has no layers")
        for number, item in enumerate(self.layers):
            for source in item.layer.inputs:
                if not IMAGE <= source < number:
                    raise ExportError(f"layer {item.name!r} reads tensor {source}, which does not exist yet")
            _check_sizes(item, self.tensor(item.layer.inputs[0]))

    def tensor(self, index: int) -> Tensor:
        """The tensor that layer `index` gives; the image for `memory.IMAGE`."""
        return self.input if index == IMAGE else self.layers[index].output

    @property
    def output(self) -> Tensor:
        """What the network gives."""
        return self.layers[-1].output

    @property
    def macs(self) -> int:
        """Multiply-adds for one image."""
        return sum(item.layer.macs for item in self.layers)


def _check_sizes(item: Int8Layer, source: Tensor) -> None:
    layer, out = item.layer, item.output
    if source.dtype != "int8":
        raise ExportError(f"layer {item.name!r} reads int32 logits; only int8 tensors can be read")
    flat = layer.kind is LayerKind.LINEAR and layer.in_channels == source.height * source.width * source.channels
    if not flat and (layer.height, layer.width, layer.in_channels) != source.shape:
        raise ExportError(
            f"layer {item.name!r} takes {layer.height} x {layer.width} x {layer.in_channels}, "
            f"its input is {source.height} x {source.width} x {source.channels}"
        )
    if (layer.out_height, layer.out_width, layer.out_channels) != out.shape:
        raise ExportError(
            f"layer {item.name!r} gives {layer.out_height} x {layer.out_width} x {layer.out_channels}, "
            f"its output is {out.height} x {out.width} x {out.channels}"
        )
    if layer.kind in WEIGHT_SHAPES:
        wanted = _weight_shape(layer)
        if item.weights is None or item.weights.shape != wanted:
            found = None if item.weights is None else item.weights.shape
            raise ExportError(f"layer {item.name!r}: weights [{WEIGHT_SHAPES[layer.kind]}] are {wanted}, not {found}")
    if (item.addition is not None) != (layer.kind is LayerKind.ADD) or (item.requantise is None) != (
        layer.kind is LayerKind.ADD
    ):
        raise ExportError(f"layer {item.name!r} ({layer.kind}): a sum has an addition, all others a requantisation")


def _weight_shape(layer: Layer) -> tuple[int, ...]:
    if layer.kind is LayerKind.LINEAR:
        return layer.out_channels, layer.in_channels
    if layer.kind is LayerKind.DEPTHWISE:
        return layer.kernel_height, layer.kernel_width, layer.out_channels
    return layer.out_channels, layer.kernel_height, layer.kernel_width, layer.in_channels
