"""Fronts of what cannot be bettered in one respect without loss in another, and their knee."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nas_edge.search.nondominated import dominates

Float = NDArray[np.float64]

_BLOCK = 4096


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


def non_dominated(gains: Float) -> NDArray[np.intp]:
    """Indices of the non-dominated points of any number of objectives, one of equal points.

    Args:
        gains: float64 [n, m], all to be maximised.

    Returns:
        Indices, by descending first objective.

    """
    if gains.shape[1] == 1:
        return np.argmax(gains[:, 0], keepdims=True) if len(gains) else np.zeros(0, np.intp)
    if gains.shape[1] == 2:
        return pareto_front(gains[:, 0], -gains[:, 1])[::-1]
    # From the greatest sum on nothing later dominates anything earlier: each block is held against the front so far.
    _, first = np.unique(gains, axis=0, return_index=True)
    order = first[np.argsort(-gains[first].sum(axis=1), kind="stable")]
    front = order[:0]
    for start in range(0, len(order), _BLOCK):
        block = order[start : start + _BLOCK]
        if len(front):
            block = block[~_dominated(gains[block], gains[front])]
        block = block[~_dominated(gains[block], gains[block])]
        front = np.concatenate([front, block])
    return front[np.lexsort((*-gains[front].T[::-1],))]


def _dominated(points: Float, others: Float) -> NDArray[np.bool_]:
    """Bool [n]: whether some other dominates each point; in chunks, to bound memory."""
    step = max(1, 2**22 // max(len(others), 1))
    parts = [dominates(others, points[start : start + step]).any(axis=0) for start in range(0, len(points), step)]
    result: NDArray[np.bool_] = np.concatenate([np.zeros(0, bool), *parts])
    return result


def knee(gains: Float) -> int:
    """The point of a front where more of one objective begins to cost much of another.

    That which lies farthest beyond the hyperplane through the front's ends, objectives scaled to 0 to 1 (the normal
    boundary's farthest point, Das 1999).

    Args:
        gains: float64 [n, m] of a front, all to be maximised, n at least 1.

    Returns:
        Its index. The first point where the front has no extent.

    """
    low, span = gains.min(axis=0), np.ptp(gains, axis=0)
    scaled = (gains - low) / np.where(span > 0, span, 1.0)
    return int(np.argmax(scaled[:, span > 0].sum(axis=1))) if (span > 0).any() else 0
