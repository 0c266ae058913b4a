"""`Layer`: what one int8 kernel computes, and the layers that blocks lower to.

Blocks are what search spaces speak of; a kernel is called for each layer inside them. Planning for a whole population
(from blocks) and planning for one network (from its quantised graph) meet here: both describe layers this way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from nas_edge.errors import ExportError
from nas_edge.spaces.blocks import Activation, BlockSpec, Kind, Padding, same_padding

IMAGE = -1
"""Index of the tensor that the first layer reads; layer i gives tensor i."""

Pads = tuple[int, int, int, int]


class LayerKind(StrEnum):
    """What a layer computes, on int8 tensors with the channels last."""

    CONV = "conv"  # k x k, all channels
    DEPTHWISE = "depthwise"  # k x k, each channel alone
    POINTWISE = "pointwise"  # 1 x 1
    ADD = "add"  # of two tensors of one shape
    POOL = "pool"  # global average
    LINEAR = "linear"  # fully connected


WEIGHTED = (LayerKind.CONV, LayerKind.DEPTHWISE, LayerKind.POINTWISE, LayerKind.LINEAR)


@dataclass(frozen=True, slots=True)
class Layer:
    """One call of a kernel.

    Attributes:
        name: "b03.depthwise".
        kind: what it computes.
        height, width, in_channels: of its (first) input.
        out_channels: of its output.
        kernel_height, kernel_width: of a convolution, 1 elsewhere.
        stride: of a convolution in both directions, 1 elsewhere.
        pads: (top, left, bottom, right) in pixels.
        inputs: indices of the layers whose outputs it reads; `IMAGE` for the network's input.

    """

    name: str
    kind: LayerKind
    height: int
    width: int
    in_channels: int
    out_channels: int
    kernel_height: int = 1
    kernel_width: int = 1
    stride: int = 1
    pads: Pads = (0, 0, 0, 0)
    inputs: tuple[int, ...] = (IMAGE,)

    @property
    def out_height(self) -> int:
        """Height of the output in pixels."""
        if self.kind is LayerKind.POOL:
            return 1
        return (self.height + self.pads[0] + self.pads[2] - self.kernel_height) // self.stride + 1

    @property
    def out_width(self) -> int:
        """Width of the output in pixels."""
        if self.kind is LayerKind.POOL:
            return 1
        return (self.width + self.pads[1] + self.pads[3] - self.kernel_width) // self.stride + 1

    @property
    def in_bytes(self) -> int:
        """Bytes of each input."""
        return self.height * self.width * self.in_channels

    @property
    def out_bytes(self) -> int:
        """Bytes of the output."""
        return self.out_height * self.out_width * self.out_channels

    @property
    def padded(self) -> bool:
        """Whether the window leaves the input anywhere."""
        return any(self.pads)

    @property
    def macs(self) -> int:
        """Multiply-adds."""
        if self.kind not in WEIGHTED:
            return 0
        inputs = 1 if self.kind is LayerKind.DEPTHWISE else self.in_channels
        return self.out_bytes * self.kernel_height * self.kernel_width * inputs


def layers_of(blocks: Sequence[BlockSpec]) -> tuple[Layer, ...]:
    """The layers of consecutive blocks, in the order and with the names of `spaces.onnx_blocks`.

    Raises:
        ExportError: a block that no int8 kernel computes (block and reason are named).

    """
    layers: list[Layer] = []
    tensor = IMAGE

    def append(layer: str, kind: LayerKind, block: BlockSpec, channels: tuple[int, int], **more: int) -> int:
        kernel, stride, reduced = more.get("kernel", 1), more.get("stride", 1), more.get("reduced", 1)
        inputs = (tensor, more["also"]) if "also" in more else (tensor,)
        height, width = -(-block.height // reduced), -(-block.width // reduced)
        pads = _pads(block, kernel, stride)
        layers.append(Layer(f"b{i:02d}.{layer}", kind, height, width, *channels, kernel, kernel, stride, pads, inputs))
        return len(layers) - 1

    for i, block in enumerate(blocks):
        _check(i, block)
        source, mid, out = tensor, block.mid_channels, block.out_channels
        if block.kind is Kind.POOLING:
            tensor = append("pool", LayerKind.POOL, block, (block.in_channels, out))
        elif block.kind is Kind.LINEAR:
            tensor = append("linear", LayerKind.LINEAR, block, (block.in_channels, out))
        elif block.kind is not Kind.INVERTED_RESIDUAL:
            point = block.kernel == 1 and block.stride == 1
            kind = LayerKind.POINTWISE if point else LayerKind.CONV
            tensor = append("conv", kind, block, (block.in_channels, out), kernel=block.kernel, stride=block.stride)
        else:
            if block.expands:
                tensor = append("expand", LayerKind.POINTWISE, block, (block.in_channels, mid))
            sizes = {"kernel": block.kernel, "stride": block.stride}
            tensor = append("depthwise", LayerKind.DEPTHWISE, block, (mid, mid), **sizes)
            tensor = append("project", LayerKind.POINTWISE, block, (mid, out), reduced=block.stride)
            if block.residual:
                tensor = append("residual", LayerKind.ADD, block, (out, out), also=source)
    return tuple(layers)


def _pads(block: BlockSpec, kernel: int, stride: int) -> Pads:
    if kernel == 1:
        return 0, 0, 0, 0
    if block.padding is Padding.SAME:
        top, bottom = same_padding(block.height, kernel, stride)
        left, right = same_padding(block.width, kernel, stride)
        return top, left, bottom, right
    return (kernel // 2,) * 4


def _check(number: int, block: BlockSpec) -> None:
    """Raise ExportError for what the int8 kernels do not compute."""
    problem = ""
    if block.se:
        problem = "squeeze-and-excitation"
    elif block.activation is Activation.H_SWISH:
        problem = "the activation h_swish"
    elif (block.kind in (Kind.STEM, Kind.HEAD) and block.groups != 1) or (
        block.kind is Kind.INVERTED_RESIDUAL and block.groups != block.mid_channels
    ):
        problem = f"a convolution of {block.groups} groups"
    if problem:
        raise ExportError(
            f"block {number} ({block.kind}): microcontroller kernels do not compute {problem}; the space 'mcu' has none"
        )
