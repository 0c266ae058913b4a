"""Fast non-dominated sorting and crowding of NSGA-II (Deb et al., 2002), as array operations.

Objectives are maximised throughout: one point dominates another where it is nowhere less and somewhere greater.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
Ranks = NDArray[np.int64]


def fronts(points: Float, violation: Float | None = None, *, enough: int | None = None) -> Ranks:
    """The front that each point lies on, 0 for what nothing dominates, by constrained domination.

    What meets the constraints lies before all that does not; of the latter the lesser violation lies before the
    greater. Two objectives cost a sort and O(n) a front, more of them O(n^2).

    Args:
        points: float64 [n, objectives], all to be maximised. Equal points share a front.
        violation: float64 [n], 0 where all constraints are met.
        enough: points that have to be told apart: fronts after the one that completes them count as one.

    Returns:
        int64 [n].

    """
    enough = len(points) if enough is None else enough
    if violation is None or not (violation > 0).any():
        return _unconstrained(points, enough)
    rank = np.empty(len(points), np.int64)
    feasible = violation <= 0
    rank[feasible] = _unconstrained(points[feasible], enough)
    first = rank[feasible].max() + 1 if feasible.any() else 0
    rank[~feasible] = first + np.unique(violation[~feasible], return_inverse=True)[1]
    return rank


def _unconstrained(points: Float, enough: int) -> Ranks:
    if not len(points):
        return np.zeros(0, np.int64)
    if points.shape[1] == 1:
        return np.unique(-points[:, 0], return_inverse=True)[1].astype(np.int64)
    return _two(points, enough) if points.shape[1] == 2 else _many(points, enough)


def _two(points: Float, enough: int) -> Ranks:
    """Peel staircases: along descending first objectives a front is where the second reaches a new height."""
    by_first = np.lexsort((-points[:, 1], -points[:, 0]))
    ordered = points[by_first]
    new = np.append(True, (ordered[1:] != ordered[:-1]).any(axis=1))
    group, starts = np.cumsum(new) - 1, np.flatnonzero(new)
    sizes = np.diff(np.append(starts, len(points)))
    height, left = ordered[starts, 1], np.arange(len(starts))
    rank = np.empty(len(starts), np.int64)
    front, found = 0, 0
    while len(left):
        if found >= enough:
            rank[left] = front
            break
        top = np.maximum.accumulate(height)
        rises = np.append(True, top[1:] > top[:-1])
        rank[left[rises]] = front
        found += int(sizes[left[rises]].sum())
        left, height = left[~rises], height[~rises]
        front += 1
    result = np.empty(len(points), np.int64)
    result[by_first] = rank[group]
    return result


def dominates(points: Float, others: Float) -> NDArray[np.bool_]:
    """Whether each of `points` dominates each of `others`: bool [n, m] of float64 [n, objectives], [m, objectives]."""
    nowhere_less = np.ones((len(points), len(others)), bool)
    somewhere_greater = np.zeros((len(points), len(others)), bool)
    for one, other in zip(points.T, others.T, strict=True):
        nowhere_less &= one[:, None] >= other
        somewhere_greater |= one[:, None] > other
    return nowhere_less & somewhere_greater


def _many(points: Float, enough: int) -> Ranks:
    """Peel by counting for each point how many of those left dominate it."""
    worse = dominates(points, points)
    by_how_many = worse.sum(axis=0)
    rank = np.full(len(points), -1, np.int64)
    front, found = 0, 0
    while found < enough and found < len(points):
        here = np.flatnonzero((by_how_many == 0) & (rank < 0))
        rank[here] = front
        by_how_many -= worse[here].sum(axis=0)
        found += len(here)
        front += 1
    rank[rank < 0] = front
    return rank


def crowding(points: Float, front: Ranks) -> Float:
    """Crowding distance of each point within its front, float64 [n]; infinite at both ends of every objective.

    The sum over objectives of the distance between both neighbours, as a share of the front's extent.

    Args:
        points: float64 [n, objectives].
        front: int64 [n], as `fronts` gives them.

    """
    distance = np.zeros(len(points))
    if not len(points):
        return distance
    for values in points.T:
        by_value = np.lexsort((values, front))
        value, of = values[by_value], front[by_value]
        first = np.flatnonzero(np.append(True, of[1:] != of[:-1]))
        last = np.append(first[1:], len(of)) - 1
        extent = np.repeat(value[last] - value[first], last - first + 1)
        gap = np.zeros(len(of))
        gap[1:-1] = value[2:] - value[:-2]
        share = np.divide(gap, extent, out=np.zeros(len(of)), where=extent > 0)
        share[first] = share[last] = np.inf
        distance[by_value] += share
    return distance
