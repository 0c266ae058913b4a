"""Pillow's bilinear resize of arrays in numpy: pictures that are numbers already need no Pillow.

Bit for bit, but for tall pictures that shrink, where Pillow 13 turns the order of the two passes round and a byte may
differ by one. Source: `libImaging/Resample.c` of Pillow: antialiased weights in 22-bit fixed point, first along the
rows, then along the columns, each rounded to bytes.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Box = tuple[float, float, float, float]

_BITS = 32 - 8 - 2


def resize(pixels: NDArray[np.uint8], side: int, box: Box) -> NDArray[np.uint8]:
    """The part `box` (left, upper, right, lower) of uint8 [h, w, 3] as [side, side, 3]."""
    height, width = pixels.shape[:2]
    left, upper, right, lower = box
    if width != side or left or right != side:
        pixels = _rounded(np.einsum("ox,hxc->hoc", _weights(width, left, right, side), pixels, optimize=True))
    if height != side or upper or lower != side:
        pixels = _rounded(np.einsum("oy,ywc->owc", _weights(height, upper, lower, side), pixels, optimize=True))
    return pixels


def _rounded(sums: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Whole numbers in fixed point, exact in float64, as bytes."""
    scaled: NDArray[np.uint8] = np.floor((sums + (1 << (_BITS - 1))) / (1 << _BITS)).clip(0, 255).astype(np.uint8)
    return scaled


@lru_cache(maxsize=256)
def _weights(size: int, start: float, end: float, out: int) -> NDArray[np.float64]:
    """[out, size]: whole numbers, the share of each input in each output times 2^22."""
    scale = (end - start) / out
    support = max(scale, 1.0)
    weights = np.zeros((out, size))
    for number in range(out):
        centre = start + (number + 0.5) * scale
        first, last = max(0, int(centre - support + 0.5)), min(size, int(centre + support + 0.5))
        shares = [max(0.0, 1 - abs((x - centre + 0.5) / support)) for x in range(first, last)]
        total = math.fsum(shares)
        weights[number, first:last] = [math.floor(0.5 + share / total * (1 << _BITS)) for share in shares]
    return weights
