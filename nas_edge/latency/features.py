"""What a block's time is made of: launches and work, as numbers that no device enters."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nas_edge.spaces import Activation, BlockSpec, Kind

Floats = NDArray[np.float64]

LAUNCHES = 5
"""Columns of the launch part, which come first."""

MACS_COLUMNS = (5, 6, 9)
"""Columns that hold all MACs: of expansion, depthwise and projection (or any other convolution)."""

KERNEL_5, KERNEL_7 = 7, 8
"""Columns of what depthwise convolutions of these kernels take beyond the others, for each multiply-add."""

_VECTOR = 16
_TILES = (6, 12)  # pixels that a matrix kernel works on at once (XNNPACK, ONNX Runtime: 6 or 12 rows)
_CACHES = (2.0**18, 2.0**20, 2.0**22)  # bytes: of the usual sizes of L2 and shared caches
_BIG_WEIGHTS = 2.0**20


def features(blocks: Sequence[BlockSpec]) -> Floats:
    """Launches, then work in millions (of MACs, elements or bytes): float64 [n, 32], none negative."""
    return np.array([_features(block) for block in blocks], np.float64).reshape(len(blocks), -1)


def _features(block: BlockSpec) -> tuple[float, ...]:
    inside, outside = block.height * block.width, block.out_height * block.out_width
    swish = block.activation is Activation.H_SWISH
    mid, kernel = block.mid_channels, block.kernel
    if block.kind is not Kind.INVERTED_RESIDUAL:
        macs, wide = block.macs / 1e6, _padded(block.out_channels, _VECTOR) / block.out_channels
        moved_in, moved_out = inside * block.in_channels / 1e6, outside * block.out_channels / 1e6
        return (
            *(1, 1, 0, swish, 0),
            *(0, 0, 0, 0, macs, macs * (wide - 1), 0, 0, moved_in, moved_out, moved_out * swish),
            *(block.weight_bytes / 1e6, 0, 0, 0),
            *(macs * (_padded(outside, tile) / outside - 1) for tile in _TILES),
            *_misses(block),
            *(0, 0, macs * (block.in_channels % _VECTOR) / block.in_channels),
            *_pixels(block),
        )
    expand = inside * block.in_channels * mid / 1e6 if block.expands else 0.0
    depthwise, project = outside * mid * kernel**2 / 1e6, outside * mid * block.out_channels / 1e6
    waste = expand * (_padded(mid, _VECTOR) / mid - 1)
    waste += project * (_padded(block.out_channels, _VECTOR) / block.out_channels - 1)
    moved_mid, moved_dw = inside * mid / 1e6, outside * mid / 1e6
    return (
        *(1, 2 + block.expands, block.se, swish * (1 + block.expands), block.residual),
        *(expand, depthwise, depthwise * (kernel == 5), depthwise * (kernel == 7), project, waste),
        *(moved_mid, moved_dw, inside * block.in_channels / 1e6, outside * block.out_channels / 1e6),
        *(moved_mid * swish, block.weight_bytes / 1e6, moved_dw * block.se),
        *(depthwise * (block.stride > 1), 2 * mid * block.se_channels / 1e6),
        *(
            expand * (_padded(inside, tile) / inside - 1) + project * (_padded(outside, tile) / outside - 1)
            for tile in _TILES
        ),
        *_misses(block),
        *_ragged(block),
        *_pixels(block),
    )


def _ragged(block: BlockSpec) -> tuple[float, ...]:
    """What is left over of a vector of channels: kernels for 8 bits do it one by one, at many times the price.

    Multiply-adds of the depthwise convolution, elements that are read and written, multiply-adds of the expansion.
    """
    inside, outside = block.height * block.width, block.out_height * block.out_width
    rest, mid = block.mid_channels % _VECTOR, block.mid_channels
    expand = inside * mid * (block.in_channels % _VECTOR) / 1e6 if block.expands else 0.0
    return outside * rest * block.kernel**2 / 1e6, (inside + outside) * rest / 1e6, expand


def _pixels(block: BlockSpec) -> tuple[float, ...]:
    """What each output pixel costs however many channels it has: values gathered for a dense convolution, pointers of a
    depthwise one, pixels that a layer goes over. In 8 bits a stem takes as long for 8 channels as for 32.
    """
    inside, outside = block.height * block.width, block.out_height * block.out_width
    if block.kind is Kind.INVERTED_RESIDUAL:
        return 0, outside * block.kernel**2 / 1e6, (inside * block.expands + 2 * outside) / 1e6
    gathered = outside * block.kernel**2 * block.in_channels / 1e6 if block.kernel > 1 else 0.0
    return gathered, 0, outside / 1e6


def _misses(block: BlockSpec) -> tuple[float, ...]:
    """MB of the greatest activation beyond each cache size, and of weights beyond 1 MB."""
    inside, outside = block.height * block.width, block.out_height * block.out_width
    greatest = 4.0 * max(inside * block.mid_channels, inside * block.in_channels, outside * block.out_channels)
    beyond = (max(0.0, greatest - size) / 1e6 for size in _CACHES)
    return (*beyond, max(0.0, block.weight_bytes - _BIG_WEIGHTS) / 1e6)


def _padded(count: int, step: int) -> int:
    return -(-count // step) * step
