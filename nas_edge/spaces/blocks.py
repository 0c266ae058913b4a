"""`BlockSpec`: the unit that latency tables hold and that every space lowers to."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any

from nas_edge.errors import FormatError


class Kind(StrEnum):
    """What a block computes."""

    STEM = "stem"  # k x k convolution, norm, activation
    INVERTED_RESIDUAL = "inverted_residual"  # [1x1 expand,] depthwise, [SE,] 1x1 project [, + input]
    HEAD = "head"  # 1x1 convolution, [norm,] activation
    POOLING = "pooling"  # global average
    LINEAR = "linear"  # fully connected, with bias


class Activation(StrEnum):
    """Activation after a convolution. h_swish is x * relu6(x + 3) / 6."""

    RELU = "relu"
    RELU6 = "relu6"
    H_SWISH = "h_swish"
    NONE = "none"


class Padding(StrEnum):
    """`symmetric`: k // 2 on each side. `same`: TensorFlow's, the odd pixel at the end."""

    SYMMETRIC = "symmetric"
    SAME = "same"


class Precision(StrEnum):
    """Number format a block runs in."""

    FP32 = "fp32"
    FP16 = "fp16"
    INT8 = "int8"


def make_divisible(value: float, divisor: int = 8) -> int:
    """Round a channel count to a multiple of `divisor`, never losing more than 10 % (MobileNetV2)."""
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """(before, after) of TensorFlow's SAME padding for one dimension, in pixels."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


@dataclass(frozen=True, slots=True)
class BlockSpec:
    """One block with its input size: frozen, hashable, complete.

    Attributes:
        kind: what it computes.
        height, width: of the input, in pixels.
        in_channels, mid_channels, out_channels: `mid_channels` equals `in_channels` where nothing expands.
        kernel, stride: of the (depthwise) convolution; 1 where there is none.
        groups: of the main convolution; mid_channels for a depthwise one.
        padding, activation, se, residual: as named.
        norm: batch norm after the convolutions (of a head: false where the original has none, nor a bias).
        precision: number format.

    """

    kind: Kind
    height: int
    width: int
    in_channels: int
    mid_channels: int
    out_channels: int
    kernel: int = 1
    stride: int = 1
    groups: int = 1
    padding: Padding = Padding.SYMMETRIC
    activation: Activation = Activation.NONE
    se: bool = False
    residual: bool = False
    norm: bool = True
    precision: Precision = Precision.FP32

    @property
    def out_height(self) -> int:
        """Height of the output in pixels."""
        return 1 if self.kind is Kind.POOLING else -(-self.height // self.stride)

    @property
    def out_width(self) -> int:
        """Width of the output in pixels."""
        return 1 if self.kind is Kind.POOLING else -(-self.width // self.stride)

    @property
    def expands(self) -> bool:
        """Whether a 1x1 convolution comes before the depthwise one."""
        return self.kind is Kind.INVERTED_RESIDUAL and self.mid_channels != self.in_channels

    @property
    def se_channels(self) -> int:
        """Channels of the squeeze, 0 without squeeze-and-excitation."""
        return make_divisible(self.mid_channels // 4) if self.se else 0

    @property
    def macs(self) -> int:
        """Multiply-adds of convolutions and fully connected layers for one image."""
        area_in, area_out = self.height * self.width, self.out_height * self.out_width
        if self.kind is Kind.INVERTED_RESIDUAL:
            expand = area_in * self.in_channels * self.mid_channels if self.expands else 0
            depthwise = area_out * self.mid_channels * self.kernel**2
            squeeze = 2 * self.mid_channels * self.se_channels
            return expand + depthwise + squeeze + area_out * self.mid_channels * self.out_channels
        if self.kind is Kind.POOLING:
            return 0
        return area_out * self.kernel**2 * self.in_channels * self.out_channels // self.groups

    @property
    def params(self) -> int:
        """Trainable parameters: weights, biases, and two for each channel of a batch norm."""
        if self.kind is Kind.INVERTED_RESIDUAL:
            expand = (self.in_channels + 2) * self.mid_channels if self.expands else 0
            depthwise = (self.kernel**2 + 2) * self.mid_channels
            squeeze = 2 * self.mid_channels * self.se_channels + self.se_channels + self.mid_channels
            project = (self.mid_channels + 2) * self.out_channels
            return expand + depthwise + (squeeze if self.se else 0) + project
        if self.kind is Kind.POOLING:
            return 0
        if self.kind is Kind.LINEAR:
            return (self.in_channels + 1) * self.out_channels
        weights = self.kernel**2 * self.in_channels * self.out_channels // self.groups
        return weights + (2 * self.out_channels if self.norm else 0)

    @property
    def weight_bytes(self) -> int:
        """Bytes of weights and biases once batch norms are folded (int8: 32-bit biases)."""
        if self.kind is Kind.POOLING:
            return 0
        if self.kind is Kind.INVERTED_RESIDUAL:
            biases = (self.mid_channels if self.expands else 0) + self.mid_channels + self.out_channels
            biases += self.se_channels + self.mid_channels if self.se else 0
            norm_params = 2 * ((self.mid_channels if self.expands else 0) + self.mid_channels + self.out_channels)
            weights = self.params - norm_params - (self.se_channels + self.mid_channels if self.se else 0)
        else:
            biases = self.out_channels if self.norm or self.kind is Kind.LINEAR else 0
            weights = self.kernel**2 * self.in_channels * self.out_channels // self.groups
        size = {Precision.FP32: 4, Precision.FP16: 2, Precision.INT8: 1}[self.precision]
        return weights * size + biases * (4 if self.precision is Precision.INT8 else size)

    @property
    def activation_bytes(self) -> int:
        """Largest input + output (+ residual) of any layer inside, in bytes: a bound, not a memory plan."""
        size = {Precision.FP32: 4, Precision.FP16: 2, Precision.INT8: 1}[self.precision]
        area_in, area_out = self.height * self.width, self.out_height * self.out_width
        block_in, block_out = area_in * self.in_channels, area_out * self.out_channels
        if self.kind is not Kind.INVERTED_RESIDUAL:
            return (block_in + block_out) * size
        wide_in, wide_out = area_in * self.mid_channels, area_out * self.mid_channels
        kept = block_in if self.residual else 0
        steps = [wide_in + wide_out + kept, wide_out + block_out + kept]
        if self.expands:
            steps.append(block_in + wide_in)
        return max(steps) * size

    def to_row(self) -> dict[str, str]:
        """As text fields in field order: the columns of a table's `blocks.csv`."""
        return {f.name: _to_text(getattr(self, f.name)) for f in fields(self)}

    @classmethod
    def from_row(cls, row: dict[str, str]) -> BlockSpec:
        """The inverse of `to_row`.

        Raises:
            FormatError: a missing column, or a value that does not fit (column and value named).

        """
        values: dict[str, Any] = {}
        for name, convert in _CONVERT.items():
            text = row.get(name)
            try:
                if text is None or text == "":
                    raise ValueError("is missing")
                values[name] = convert(text)
            except ValueError as error:
                raise FormatError(f"column {name!r}: {text!r} does not fit ({error})") from None
        return cls(**values)


def _to_text(value: object) -> str:
    if isinstance(value, bool):
        return str(int(value))
    return str(value)


def _positive(text: str) -> int:
    value = int(text)
    if not 0 < value < 2**20:
        raise ValueError("must be between 1 and 2^20")
    return value


def _flag(text: str) -> bool:
    if text not in ("0", "1"):
        raise ValueError("must be 0 or 1")
    return text == "1"


_CONVERT: dict[str, Any] = {
    "kind": Kind,
    "height": _positive,
    "width": _positive,
    "in_channels": _positive,
    "mid_channels": _positive,
    "out_channels": _positive,
    "kernel": _positive,
    "stride": _positive,
    "groups": _positive,
    "padding": Padding,
    "activation": Activation,
    "se": _flag,
    "residual": _flag,
    "norm": _flag,
    "precision": Precision,
}
