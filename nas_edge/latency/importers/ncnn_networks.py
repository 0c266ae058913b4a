"""Networks of ncnn's benchmark as blocks, read off its `benchmark/*.param` files (github.com/Tencent/ncnn, BSD-3).

What a block cannot say is left out: swish stands as h-swish, EfficientNet's squeezes have our width instead of theirs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

from nas_edge.spaces import Activation, BlockSpec, Kind

SIDE, CLASSES = 224, 1000
R, H = Activation.RELU, Activation.H_SWISH

Row = tuple[int, int, int, int, bool, Activation]  # kernel, middle, out, stride, squeeze, activation


def _stages(
    first: Row, stages: Sequence[tuple[int, int, int, int, int]], activation: Activation = R, se: bool = False
) -> Iterator[Row]:
    """The first block, then stages of (kernel, ratio, out, blocks, stride)."""
    yield first
    inputs = first[2]
    for kernel, ratio, out, blocks, stride in stages:
        for number in range(blocks):
            yield kernel, inputs * ratio, out, stride if number == 0 else 1, se, activation
            inputs = out


def _network(
    stem: int, swish: Activation, rows: Sequence[Row] | Iterator[Row], head: int, mix: int = 0
) -> tuple[BlockSpec, ...]:
    blocks = [BlockSpec(Kind.STEM, SIDE, SIDE, 3, 3, stem, 3, 2, activation=swish)]
    side, inputs = SIDE // 2, stem
    for kernel, mid, out, stride, se, activation in rows:
        blocks.append(
            BlockSpec(
                Kind.INVERTED_RESIDUAL, side, side, inputs, mid, out, kernel, stride, mid, activation=activation,
                se=se, residual=stride == 1 and inputs == out,
            )
        )  # fmt: skip
        side, inputs = -(-side // stride), out
    blocks.append(BlockSpec(Kind.HEAD, side, side, inputs, inputs, head, activation=swish))
    blocks.append(BlockSpec(Kind.POOLING, side, side, head, head, head, groups=head))
    if mix:
        blocks.append(BlockSpec(Kind.HEAD, 1, 1, head, head, mix, activation=swish, norm=False))
    blocks.append(BlockSpec(Kind.LINEAR, 1, 1, mix or head, mix or head, CLASSES))
    return tuple(blocks)


_MOBILENET_V3: tuple[Row, ...] = (
    (3, 16, 16, 1, False, R), (3, 64, 24, 2, False, R), (3, 72, 24, 1, False, R), (5, 72, 40, 2, True, R),
    (5, 120, 40, 1, True, R), (5, 120, 40, 1, True, R), (3, 240, 80, 2, False, H), (3, 200, 80, 1, False, H),
    (3, 184, 80, 1, False, H), (3, 184, 80, 1, False, H), (3, 480, 112, 1, True, H), (3, 672, 112, 1, True, H),
    (5, 672, 160, 1, True, H), (5, 672, 160, 2, True, H), (5, 960, 160, 1, True, H),
)  # fmt: skip

_PROXYLESS: tuple[Row, ...] = (  # ProxylessNAS's network for GPUs
    (3, 32, 32, 1, False, R), (5, 48, 32, 2, False, R), (3, 96, 32, 1, False, R), (7, 96, 40, 2, False, R),
    (3, 120, 40, 1, False, R), (5, 120, 40, 1, False, R), (5, 120, 40, 1, False, R), (7, 240, 80, 2, False, R),
    (5, 240, 80, 1, False, R), (5, 240, 80, 1, False, R), (5, 240, 80, 1, False, R), (5, 480, 96, 1, False, R),
    (5, 288, 96, 1, False, R), (5, 288, 96, 1, False, R), (5, 288, 96, 1, False, R), (7, 576, 192, 2, False, R),
    (7, 1152, 192, 1, False, R), (7, 576, 192, 1, False, R), (7, 576, 192, 1, False, R), (7, 1152, 320, 1, False, R),
)  # fmt: skip

_MNASNET = (
    (3, 3, 24, 3, 2),
    (5, 3, 40, 3, 2),
    (5, 6, 80, 3, 2),
    (3, 6, 96, 2, 1),
    (5, 6, 192, 4, 2),
    (3, 6, 320, 1, 1),
)
_MOBILENET_V2 = (
    (3, 6, 24, 2, 2), (3, 6, 32, 3, 2), (3, 6, 64, 4, 2), (3, 6, 96, 3, 1), (3, 6, 160, 3, 2), (3, 6, 320, 1, 1),
)  # fmt: skip
_EFFICIENTNET = (
    (3, 6, 24, 2, 2), (5, 6, 40, 2, 2), (3, 6, 80, 3, 2), (5, 6, 112, 3, 1), (5, 6, 192, 4, 2), (3, 6, 320, 1, 1),
)  # fmt: skip

NETWORKS: Mapping[str, tuple[BlockSpec, ...]] = MappingProxyType(
    {
        "mobilenet_v2": _network(32, R, _stages((3, 32, 16, 1, False, R), _MOBILENET_V2), 1280),
        "mobilenet_v3": _network(16, H, _MOBILENET_V3, 960, 1280),
        "mnasnet": _network(32, R, _stages((3, 32, 16, 1, False, R), _MNASNET), 1280),
        "proxylessnasnet": _network(32, R, _PROXYLESS, 1280),
        "efficientnet_b0": _network(32, H, _stages((3, 32, 16, 1, True, H), _EFFICIENTNET, H, True), 1280),
    }
)
"""By the name that the benchmark prints; 224 pixels, 1,000 classes."""
