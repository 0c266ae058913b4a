"""Keys like "expanded_conv-input:112x112x24-output:56x56x32-expand:144-kernel:3-stride:2-idskip:0-se:0-hs:0".

Once-for-All, ProxylessNAS and NSGANetV2 share the scheme and differ in what `expand` means: the number of middle
channels in the first, the ratio in the others. Nothing in a file says which; a value that cannot be of the convention
that the format states, or that could be of either, is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from nas_edge.latency.importers.entries import Entry
from nas_edge.spaces import Activation, BlockSpec, Kind

_LARGEST_RATIO = 10
_LARGEST_FIELD = 2**16


class Expand(StrEnum):
    """What the `expand` of a key is."""

    CHANNELS = "middle channels"
    RATIO = "ratio"


@dataclass(frozen=True)
class Shape:
    """Height, width, channels of "112x112x24"; height and width are 1 for "1000"."""

    height: int
    width: int
    channels: int


def split_key(entry: Entry) -> tuple[str, dict[str, str]]:
    """The layer's name and the fields of a key. Raises TableError for what is not such a key."""
    layer, *parts = entry.key.rstrip(":").split("-")
    fields: dict[str, str] = {}
    for part in parts:
        name, colon, value = part.partition(":")
        if not colon or not value:
            raise entry.fail(f"{part!r} is not a field like 'kernel:3'")
        if name in fields:
            raise entry.fail(f"{name!r} is there twice")
        fields[name] = value
    return layer, fields


class KeyReader:
    """Takes the fields of one key, each once; what is left over at the end is not understood."""

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self.layer, self._fields = split_key(entry)

    def shape(self, name: str) -> Shape:
        """ "112x112x24" or "1000". Raises TableError."""
        parts = [self._whole(name, part) for part in self._take(name).split("x")]
        if len(parts) not in (1, 3):
            raise self.entry.fail(f"{name!r} is neither height x width x channels nor channels")
        return Shape(*parts) if len(parts) == 3 else Shape(1, 1, parts[0])

    def number(self, name: str) -> int:
        """A positive whole number. Raises TableError."""
        return self._whole(name, self._take(name))

    def flag(self, name: str) -> bool:
        """0 or 1. Raises TableError."""
        text = self._take(name)
        if text not in ("0", "1"):
            raise self.entry.fail(f"{name} = {text!r} is neither 0 nor 1")
        return text == "1"

    def count(self, name: str) -> int:
        """A whole number, 0 allowed. Raises TableError."""
        text = self._take(name)
        return 0 if text == "0" else self._whole(name, text)

    def map_size(self, name: str) -> tuple[int, int]:
        """Height and width of "1_24_112_112": batch 1, channels, height, width. Raises TableError."""
        parts = [self._whole(name, part) for part in self._take(name).split("_")]
        if len(parts) != 4 or parts[0] != 1:
            raise self.entry.fail(f"{name!r} is not 1_channels_height_width")
        return parts[2], parts[3]

    def skip(self, name: str) -> None:
        """A field that says nothing new. Raises TableError where it is missing."""
        self._take(name)

    def done(self) -> None:
        """Raises TableError where fields are left that nobody asked for: another format's, or a newer one's."""
        if self._fields:
            left = ", ".join(map(repr, self._fields))
            raise self.entry.fail(f"has {left}, which this format has not; is it a file of another format?")

    def _take(self, name: str) -> str:
        if name not in self._fields:
            raise self.entry.fail(f"lacks {name!r}; is it a file of another format?")
        return self._fields.pop(name)

    def _whole(self, name: str, text: str) -> int:
        if not (text.isascii() and text.isdigit() and 0 < int(text) < _LARGEST_FIELD):
            raise self.entry.fail(f"{name} = {text!r} is not a whole number from 1 to {_LARGEST_FIELD - 1}")
        return int(text)


def inverted_residual(
    key: KeyReader, expand: Expand, widen: Callable[[int, int], int], activation: Activation | None, se: bool | None
) -> BlockSpec:
    """The block of a key with input, output, expand, kernel, stride, idskip.

    Args:
        key: to be read.
        expand: the format's convention.
        widen: (input channels, ratio) to middle channels.
        activation: None reads it from the field `hs`.
        se: None reads it from the field `se`.

    Raises:
        TableError: a field is missing or contradicts another; `expand` fits both conventions or neither.

    """
    before, after = key.shape("input"), key.shape("output")
    value, kernel, stride, residual = (
        key.number("expand"), key.number("kernel"), key.number("stride"), key.flag("idskip"),
    )  # fmt: skip
    mid = _middle(key.entry, before.channels, value, expand, widen)
    se = key.flag("se") if se is None else se
    if activation is None:
        activation = Activation.H_SWISH if key.flag("hs") else Activation.RELU
    if kernel % 2 == 0:
        raise key.entry.fail(f"kernel = {kernel} is even, which no block here has")
    block = BlockSpec(
        Kind.INVERTED_RESIDUAL, before.height, before.width, before.channels, mid, after.channels, kernel, stride, mid,
        activation=activation, se=se, residual=residual,
    )  # fmt: skip
    if (block.out_height, block.out_width) != (after.height, after.width):
        raise key.entry.fail(
            f"stride {stride} makes {block.out_height}x{block.out_width} of {before.height}x{before.width}, "
            f"not {after.height}x{after.width}"
        )
    if residual and (stride != 1 or before.channels != after.channels):
        raise key.entry.fail("idskip is 1, but output and input differ in shape")
    return block


def _middle(entry: Entry, inputs: int, value: int, expand: Expand, widen: Callable[[int, int], int]) -> int:
    can_be_channels = inputs <= value <= _LARGEST_RATIO * inputs
    can_be_ratio = value <= _LARGEST_RATIO
    if can_be_channels and can_be_ratio:
        raise entry.fail(
            f"expand = {value} on {inputs} channels can be a ratio as well as a number of middle channels; "
            "write the table as CSV (--format csv), which has a column for each"
        )
    if not can_be_channels and not can_be_ratio:
        raise entry.fail(f"expand = {value} on {inputs} channels is neither a ratio nor a number of middle channels")
    if can_be_channels != (expand is Expand.CHANNELS):
        is_, others = (
            ("a number of middle channels", "ofa") if can_be_channels else ("a ratio", "proxylessnas or nsganetv2")
        )
        raise entry.fail(f"expand = {value} on {inputs} channels is {is_}; is this a file of --format {others}?")
    return value if expand is Expand.CHANNELS else widen(inputs, value)


def convolution(key: KeyReader, activation: Activation, kernel: int, stride: int, norm: bool = True) -> BlockSpec:
    """A stem (kernel above 1) or head of a key with input and output alone. Raises TableError."""
    before, after = key.shape("input"), key.shape("output")
    kind = Kind.STEM if kernel > 1 else Kind.HEAD
    block = BlockSpec(
        kind, before.height, before.width, before.channels, before.channels, after.channels, kernel, stride,
        activation=activation, norm=norm,
    )  # fmt: skip
    if (block.out_height, block.out_width) != (after.height, after.width):
        raise key.entry.fail(f"is not a convolution of stride {stride}")
    return block


def pooling(key: KeyReader) -> BlockSpec:
    """Global average pooling. Raises TableError."""
    before, after = key.shape("input"), key.shape("output")
    if after != Shape(1, 1, before.channels):
        raise key.entry.fail("is not a global pooling")
    c = before.channels
    return BlockSpec(Kind.POOLING, before.height, before.width, c, c, c, groups=c)


def linear(key: KeyReader, on_map: bool) -> BlockSpec:
    """A classifier; `on_map`: its input is the map before the pooling. Raises TableError."""
    before, after = key.shape("input"), key.shape("output")
    if on_map != (before.height > 1):
        found = f"{before.height}x{before.width}"
        wanted = "the map before the pooling" if on_map else "the pooled 1x1 (a larger one is ProxylessNAS's)"
        raise key.entry.fail(f"its input is {found}, not {wanted}")
    return BlockSpec(Kind.LINEAR, 1, 1, before.channels, before.channels, after.channels)
