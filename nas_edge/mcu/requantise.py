"""From real scales to the integers of `Requantise` and `Addition`, and what they compute.

A code is rounded once, half up: (accumulator x multiplier + 2^31) >> 32, one SMMLAR on a Cortex-M4. TFLite rounds
twice, ONNX Runtime in float32; all are within one code of each other.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from nas_edge.mcu.graph import Addition, Requantise

_INT32 = 2**31 - 1
_LARGEST_LEFT = 30
_LARGEST_RATIO = 2.0**20  # of scales in a sum: beyond it a difference of one code saturates anyway


def requantise(accumulators: NDArray[np.int64], to: Requantise) -> NDArray[np.int8]:
    """Codes [..., outputs] of int32 accumulators (held as int64) [..., outputs]."""
    values = scaled(accumulators, to) + to.zero
    return np.clip(values, to.low, to.high).astype(np.int8)


def scaled(accumulators: NDArray[np.int64], to: Requantise) -> NDArray[np.int64]:
    """round(accumulator x scale), half up; neither zero point nor bounds. What logits are."""
    most = _INT32 >> to.left
    shifted = np.clip(accumulators, -most - 1, most) << to.left
    result: NDArray[np.int64] = (shifted * to.multiplier.astype(np.int64) + 2**31) >> 32
    return result


def multipliers(scales: NDArray[np.float64]) -> tuple[NDArray[np.int32], int]:
    """`multiplier` and `left` of `Requantise` for scales (each input scale x weight scale / output scale).

    Left is 0 below 0.5. Where it is not, a scale of 2^30 and more is taken for 2^30: either saturates all but 0.
    """
    largest = float(scales.max())
    left = 0 if largest < 0.5 else min(math.floor(math.log2(largest)) + 2, _LARGEST_LEFT)
    codes = np.rint(scales * 2.0 ** (32 - left))
    if codes.max() > _INT32 and left < _LARGEST_LEFT:  # just below a power of two
        left += 1
        codes = np.rint(scales * 2.0 ** (32 - left))
    return np.minimum(codes, _INT32).astype(np.int32), left


def logit_multipliers(
    scales: NDArray[np.float64], bias: NDArray[np.int32], weights: NDArray[np.int8]
) -> tuple[NDArray[np.int32], int, float]:
    """`multiplier`, `left` and the one scale of int32 logits: as fine as 32 bits allow for every possible input.

    Args:
        scales: of the accumulators [outputs]: input scale x weight scale.
        bias: where they start.
        weights: [outputs, inputs].

    """
    most = int((np.abs(bias.astype(np.int64)) + 128 * np.abs(weights.astype(np.int64)).sum(axis=1)).max())
    left = max(0, 31 - most.bit_length())
    common = float(scales.max()) * 2.0 ** (1 - left) * (1 + 2.0**-30)  # a multiplier of just below 2^31
    return np.rint(scales / common * 2.0 ** (32 - left)).astype(np.int32), left, common


def folded_bias(bias: NDArray[np.int64], weights: NDArray[np.int8], zero: int) -> NDArray[np.int32]:
    """Where accumulators start: bias - zero x (sum of weights), so that products are code x weight.

    Args:
        bias: codes [outputs], of scale input scale x weight scale.
        weights: [outputs, ...].
        zero: zero point of the input.

    Biases beyond what 32 bits hold together with any sum of products are cut there; they saturate all the same.

    """
    rows = weights.reshape(len(weights), -1).astype(np.int64)
    most = _INT32 - 128 * np.abs(rows).sum(axis=1)
    folded: NDArray[np.int32] = np.clip(bias - zero * rows.sum(axis=1), -most, most).astype(np.int32)
    return folded


def addition(a: tuple[float, int], b: tuple[float, int], to: tuple[float, int], low: int, high: int) -> Addition:
    """The sum of two tensors, each given as (scale, zero point), as precise as 32 bits allow."""
    # Beyond the largest ratio both shrink alike, so that the sum keeps its sign.
    finest = max(to[0], max(a[0], b[0]) / _LARGEST_RATIO)
    ratios = [scale / finest for scale in (a[0], b[0])]
    shift = min(math.floor(math.log2(2**31 / (256 * sum(ratios) + 132))), 24)
    a_multiplier, b_multiplier = (round(ratio * 2**shift) for ratio in ratios)
    offset = (to[1] << shift) + (1 << shift >> 1) - a[1] * a_multiplier - b[1] * b_multiplier
    return Addition(a_multiplier, b_multiplier, offset, shift, low, high)
