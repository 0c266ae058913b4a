"""`net.config` as Once-for-All, MCUNet and ProxylessNAS write it, as blocks. Any widths, any resolution.

    {"name": "MobileNetV3", "first_conv": {...}, "blocks": [{"mobile_inverted_conv": {"name": "MBInvertedConvLayer",
     "in_channels": 24, "kernel_size": 5, "expand_ratio": 4, "mid_channels": null, ...}, "shortcut": {...} or null}],
     "final_expand_layer": {...}, "feature_mix_layer": {...} or null, "classifier": {...}, "resolution": 224}

Also read: `conv` for `mobile_inverted_conv`, and blocks that are the layer itself, with `shortcut` true or false.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nas_edge.errors import ArchitectureError
from nas_edge.spaces import Activation, BlockSpec, Kind

_ACTIVATIONS = {
    "relu": Activation.RELU, "relu6": Activation.RELU6, "h_swish": Activation.H_SWISH, "hswish": Activation.H_SWISH,
    "swish": Activation.H_SWISH, None: Activation.NONE, "": Activation.NONE,
}  # fmt: skip
_MAX_SIDE, _MAX_CHANNELS, _MAX_BLOCKS = 4096, 1 << 16, 1000


def is_net_config(data: Any) -> bool:
    """Whether plain data looks like a `net.config`, rather than an architecture of a space."""
    return isinstance(data, Mapping) and "blocks" in data and "first_conv" in data


def read_net_config(data: Any, resolution: int | None = None, where: str = "net.config") -> tuple[BlockSpec, ...]:
    """Blocks of a network, input to classifier.

    Args:
        data: as read from JSON.
        resolution: of the (square) input in pixels; by default the file's `resolution`.
        where: the file, for messages.

    Raises:
        ArchitectureError: a layer is missing, unknown, or its figures do not fit (file, layer and value named).

    """
    if not is_net_config(data) or not isinstance(data["blocks"], list):
        raise ArchitectureError(f"{where}: is no net.config: it has no first_conv and list of blocks")
    side = data.get("resolution", data.get("image_size")) if resolution is None else resolution
    if side is None:
        raise ArchitectureError(f"{where}: has no 'resolution'; add --resolution PIXELS")
    reader = _Reader(where, _count(where, "resolution", side, _MAX_SIDE))
    if len(data["blocks"]) > _MAX_BLOCKS:
        raise ArchitectureError(f"{where}: {len(data['blocks'])} blocks are more than the {_MAX_BLOCKS} that are read")
    reader.convolution("first_conv", data["first_conv"])
    for number, block in enumerate(data["blocks"]):
        reader.block(f"blocks[{number}]", block)
    if data.get("final_expand_layer"):
        reader.convolution("final_expand_layer", data["final_expand_layer"])
    # MobileNetV2-like networks have their last convolution before the pooling, MobileNetV3 after it.
    mix = data.get("feature_mix_layer")
    if mix and not data.get("final_expand_layer"):
        reader.convolution("feature_mix_layer", mix)
    reader.pool()
    if mix and data.get("final_expand_layer"):
        reader.convolution("feature_mix_layer", mix)
    if data.get("classifier"):
        reader.linear("classifier", data["classifier"])
    return tuple(reader.blocks)


class _Reader:
    """Blocks so far, and the shape that the next one takes."""

    def __init__(self, where: str, side: int) -> None:
        self.where = where
        self.side = side
        self.channels = 3
        self.blocks: list[BlockSpec] = []

    def convolution(self, name: str, layer: Any) -> None:
        """A plain convolution: stem, head, or a head after the pooling."""
        layer = self._layer(name, layer)
        kernel, stride = self._figure(name, layer, "kernel_size", 31), self._figure(name, layer, "stride", 16, 1)
        kind = Kind.HEAD if kernel == 1 else Kind.STEM
        groups = self._figure(name, layer, "groups", _MAX_CHANNELS, 1)
        self._check_input(name, layer)
        out = self._figure(name, layer, "out_channels", _MAX_CHANNELS)
        if self.channels % groups or out % groups:
            raise ArchitectureError(f"{self.where}: {name}: {groups} groups do not divide its channels")
        norm = bool(layer.get("use_bn", True)) or bool(layer.get("bias", False))
        self._add(
            BlockSpec(
                kind, self.side, self.side, self.channels, self.channels, out, kernel, stride, groups,
                activation=self._activation(name, layer), norm=norm,
            )
        )  # fmt: skip

    def block(self, name: str, block: Any) -> None:
        """An inverted residual with or without its shortcut; a block that does nothing but a shortcut is left out."""
        block = self._layer(name, block)
        layer = block.get("mobile_inverted_conv", block.get("conv", block if "kernel_size" in block else None))
        if layer is None or (isinstance(layer, Mapping) and layer.get("name") == "ZeroLayer"):
            return
        layer = self._layer(name, layer)
        if layer.get("name") not in (None, "MBInvertedConvLayer", "MBConvLayer", "DynamicMBConvLayer"):
            raise ArchitectureError(f"{self.where}: {name}: layer {layer.get('name')!r} is no inverted residual")
        kernel, stride = self._figure(name, layer, "kernel_size", 31), self._figure(name, layer, "stride", 16, 1)
        out = self._figure(name, layer, "out_channels", _MAX_CHANNELS)
        self._check_input(name, layer)
        mid = self._mid(name, layer)
        residual = _is_identity(block.get("shortcut"))
        if residual and (stride != 1 or out != self.channels):
            raise ArchitectureError(f"{self.where}: {name}: a shortcut needs stride 1 and as many channels out as in")
        self._add(
            BlockSpec(
                Kind.INVERTED_RESIDUAL, self.side, self.side, self.channels, mid, out, kernel, stride, mid,
                activation=self._activation(name, layer), se=bool(layer.get("use_se", False)), residual=residual,
            )
        )  # fmt: skip

    def pool(self) -> None:
        """Global average."""
        c = self.channels
        self._add(BlockSpec(Kind.POOLING, self.side, self.side, c, c, c, groups=c))

    def linear(self, name: str, layer: Any) -> None:
        """Classifier."""
        layer = self._layer(name, layer)
        self._check_input(name, layer, "in_features")
        out = self._figure(name, layer, "out_features", 1 << 20)
        self._add(BlockSpec(Kind.LINEAR, 1, 1, self.channels, self.channels, out))

    def _add(self, block: BlockSpec) -> None:
        self.blocks.append(block)
        self.side, self.channels = block.out_height, block.out_channels

    def _mid(self, name: str, layer: Mapping[str, Any]) -> int:
        if layer.get("mid_channels") is not None:
            return self._figure(name, layer, "mid_channels", _MAX_CHANNELS)
        ratio = layer.get("expand_ratio", 1)
        if isinstance(ratio, bool) or not isinstance(ratio, int | float) or not 0 < ratio <= 64:
            raise ArchitectureError(f"{self.where}: {name}: expand_ratio = {ratio!r} is not between 0 and 64")
        return self.channels if ratio == 1 else max(1, round(self.channels * ratio))

    def _layer(self, name: str, layer: Any) -> Mapping[str, Any]:
        if not isinstance(layer, Mapping):
            raise ArchitectureError(f"{self.where}: {name}: is not a mapping")
        return layer

    def _figure(self, name: str, layer: Mapping[str, Any], key: str, most: int, default: int | None = None) -> int:
        return _count(self.where, f"{name}: {key}", layer.get(key, default), most)

    def _check_input(self, name: str, layer: Mapping[str, Any], key: str = "in_channels") -> None:
        found = layer.get(key)
        if found is not None and found != self.channels:
            raise ArchitectureError(f"{self.where}: {name}: {key} = {found!r}, but {self.channels} come in")

    def _activation(self, name: str, layer: Mapping[str, Any]) -> Activation:
        value = layer.get("act_func")
        if not (value is None or isinstance(value, str)) or value not in _ACTIVATIONS:
            raise ArchitectureError(f"{self.where}: {name}: act_func {value!r} is not known (relu, relu6, h_swish)")
        return _ACTIVATIONS[value]


def _is_identity(shortcut: Any) -> bool:
    return shortcut is True or (isinstance(shortcut, Mapping) and shortcut.get("name") in (None, "IdentityLayer"))


def _count(where: str, what: str, value: Any, most: int) -> int:
    # A list of one is how Once-for-All writes a resolution.
    value = value[0] if isinstance(value, list) and len(value) == 1 else value
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= most:
        raise ArchitectureError(f"{where}: {what} = {value!r} is not a whole number from 1 to {most}")
    return value
