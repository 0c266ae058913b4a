"""Weights, biases and multipliers in the order in which the kernels read them (`kernels/nas_kernels.h`).

One order serves all backends. Two outputs lie byte by byte beside each other, so that Arm's SXTB16 takes a pair of
either out of one word, and Helium's VLD2 sixteen of each. Depthwise weights lie channel by channel.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas_edge.mcu.graph import Int8Layer
from nas_edge.memory.layers import LayerKind

READAHEAD_BYTES = 32
"""Bytes after the last weights of a program that kernels may read, and do not use."""


def packed_weights(item: Int8Layer) -> NDArray[np.int8]:
    """Weights as one row of bytes; empty for layers without.

    Depthwise [channels][k x k], all others [ceil(outputs / 2)][depth rounded up to 4][2].
    """
    if item.weights is None:
        return np.zeros(0, np.int8)
    if item.layer.kind is LayerKind.DEPTHWISE:
        return np.ascontiguousarray(item.weights.transpose(2, 0, 1)).ravel()
    rows = _padded(_padded(item.weights.reshape(item.layer.out_channels, -1), 0, 2), 1, 4)
    return np.ascontiguousarray(rows.reshape(-1, 2, rows.shape[1]).transpose(0, 2, 1)).ravel()


def packed_biases(item: Int8Layer) -> NDArray[np.int32]:
    """Biases, zeros up to a multiple of 4 (one entry for a mean); empty for sums."""
    return np.zeros(0, np.int32) if item.requantise is None else _entries(item, item.requantise.bias)


def packed_multipliers(item: Int8Layer) -> NDArray[np.int32]:
    """Multipliers, zeros up to a multiple of 4 (one entry for a mean); empty for sums."""
    return np.zeros(0, np.int32) if item.requantise is None else _entries(item, item.requantise.multiplier)


def _entries(item: Int8Layer, values: NDArray[np.int32]) -> NDArray[np.int32]:
    return values if item.layer.kind is LayerKind.POOL else _padded(values, 0, 4)


def _padded(array: NDArray[Any], axis: int, multiple: int) -> NDArray[Any]:
    """Zeros at the end of an axis, up to a multiple."""
    missing = -array.shape[axis] % multiple
    return np.pad(array, [(0, missing if i == axis else 0) for i in range(array.ndim)])
