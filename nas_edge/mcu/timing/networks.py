"""Networks that others published milliseconds of, as layers: what is counted to hold modelled times against them.

MLPerf Tiny's (Banbury et al., 2021): ResNet-8 on 32 x 32 images, MobileNetV1 of width 0.25 on 96 x 96, DS-CNN on
49 x 10 spectrograms. ST's model zoo: MobileNetV1 (Howard et al., 2017) and MobileNetV2 (Sandler et al., 2018) of other
sizes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType

from nas_edge.memory import Layer, LayerKind
from nas_edge.spaces.blocks import make_divisible, same_padding

_V1 = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1))
_V2 = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))

Size = tuple[int, int]


class _Chain:
    """Layers one after the other, sizes carried along."""

    def __init__(self, height: int, width: int, channels: int) -> None:
        self.layers: list[Layer] = []
        self.height, self.width, self.channels = height, width, channels

    def add(self, kind: LayerKind, out: int, kernel: Size = (1, 1), stride: int = 1) -> _Chain:
        """A layer with TensorFlow's SAME padding."""
        top, bottom = same_padding(self.height, kernel[0], stride)
        left, right = same_padding(self.width, kernel[1], stride)
        layer = Layer(
            "", kind, self.height, self.width, self.channels, out, *kernel, stride, (top, left, bottom, right)
        )
        self.layers.append(layer)
        self.height, self.width, self.channels = layer.out_height, layer.out_width, out
        return self

    def conv(self, out: int, kernel: Size = (3, 3), stride: int = 1) -> _Chain:
        return self.add(LayerKind.CONV, out, kernel, stride)

    def separable(self, out: int, stride: int = 1) -> _Chain:
        return self.add(LayerKind.DEPTHWISE, self.channels, (3, 3), stride).add(LayerKind.POINTWISE, out)

    def sum(self) -> _Chain:
        return self.add(LayerKind.ADD, self.channels)

    def classify(self, classes: int) -> tuple[Layer, ...]:
        self.add(LayerKind.POOL, self.channels).add(LayerKind.LINEAR, classes)
        return tuple(self.layers)


def resnet_8() -> tuple[Layer, ...]:
    """MLPerf Tiny's image classification."""
    net = _Chain(32, 32, 3).conv(16).conv(16).conv(16).sum()
    for channels in (32, 64):
        net.layers.append(Layer("", LayerKind.CONV, net.height, net.width, net.channels, channels, 1, 1, 2))
        net.conv(channels, stride=2).conv(channels).sum()
    return net.classify(10)


def ds_cnn() -> tuple[Layer, ...]:
    """MLPerf Tiny's keyword spotting."""
    net = _Chain(49, 10, 1).conv(64, (10, 4), 2)
    for _ in range(4):
        net.separable(64)
    return net.classify(12)


def mobilenet_v1(width: float, side: int, channels: int, classes: int) -> tuple[Layer, ...]:
    """With SAME padding; MLPerf Tiny's visual wake words is (0.25, 96, 3, 2)."""
    net = _Chain(side, side, channels).conv(int(32 * width), stride=2)
    for out, stride in _V1:
        net.separable(int(out * width), stride)
    return net.classify(classes)


def mobilenet_v2(width: float, side: int, classes: int) -> tuple[Layer, ...]:
    """With SAME padding; the last convolution is not narrowed."""
    net = _Chain(side, side, 3).conv(make_divisible(32 * width), stride=2)
    for expand, out, repeats, first in _V2:
        for number in range(repeats):
            narrow, before = make_divisible(out * width), net.channels
            stride = first if number == 0 else 1
            if expand > 1:
                net.add(LayerKind.POINTWISE, before * expand)
            net.separable(narrow, stride)
            if stride == 1 and before == narrow:
                net.sum()
    return net.add(LayerKind.POINTWISE, 1280).classify(classes)


NETWORKS: Mapping[str, Callable[[], tuple[Layer, ...]]] = MappingProxyType(
    {
        "resnet-8": resnet_8,
        "ds-cnn": ds_cnn,
        "mobilenet-v1-0.25-96": partial(mobilenet_v1, 0.25, 96, 3, 2),
        "mobilenet-v1-0.25-96-grey": partial(mobilenet_v1, 0.25, 96, 1, 5),
        "mobilenet-v1-0.25-224": partial(mobilenet_v1, 0.25, 224, 3, 5),
        "mobilenet-v1-0.5-224": partial(mobilenet_v1, 0.5, 224, 3, 5),
        "mobilenet-v2-0.35-128": partial(mobilenet_v2, 0.35, 128, 5),
    }
)
"""By the names that `published.csv` uses."""
