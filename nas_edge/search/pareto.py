"""Fronts of what cannot be bettered in one respect without loss in another."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]


def pareto_front(gain: Float, cost: Float) -> NDArray[np.intp]:
    """Indices of the non-dominated points of two objectives, by ascending cost; one of equal points.

    Args:
        gain: float64 [n], to be maximised.
        cost: float64 [n], to be minimised.

    Returns:
        Indices; both cost and gain are strictly ascending along them. O(n log n) (Kung et al., 1975).

    """
    if not len(gain):
        return np.zeros(0, np.intp)
    by_cost = np.lexsort((-gain, cost))
    best = np.maximum.accumulate(gain[by_cost])
    rises = np.append(True, best[1:] > best[:-1])
    front: NDArray[np.intp] = by_cost[rises]
    return front
