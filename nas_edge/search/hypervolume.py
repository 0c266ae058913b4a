"""Hypervolume: how much of the objective space a set of points dominates (Zitzler and Thiele, 1998). Exact."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nas_edge.search.pareto import non_dominated

Float = NDArray[np.float64]


def hypervolume(points: Float, reference: Float) -> float:
    """Volume between a reference point and all that the points dominate.

    Two objectives are swept; each more is sliced (Hypervolume by Slicing Objectives, While et al., 2006), which takes
    as many sweeps as there are non-dominated points for three objectives and grows steeply beyond.

    Args:
        points: float64 [n, objectives], all to be maximised; dominated ones and such as do not exceed the reference
            everywhere add nothing.
        reference: float64 [objectives], the worst corner.

    Returns:
        In the product of the objectives' units; 0 where there is no point.

    """
    points, reference = np.asarray(points, np.float64), np.asarray(reference, np.float64)
    if points.ndim != 2 or reference.shape != points.shape[1:]:
        raise ValueError(f"points {points.shape} need a reference for each objective, not {reference.shape}")
    beyond = (points - reference)[(points > reference).all(axis=1)]
    if not len(beyond):
        return 0.0
    return _volume(beyond[non_dominated(beyond)])


def _volume(points: Float) -> float:
    """Volume above the origin of positive points, float64 [n, objectives]."""
    if points.shape[1] == 1:
        return float(points.max())
    by_last = points[np.argsort(-points[:, -1], kind="stable")]
    if points.shape[1] == 2:
        widest = np.maximum.accumulate(by_last[:, 0])
        return float(by_last[:, 1] @ np.diff(widest, prepend=0.0))
    thickness = -np.diff(by_last[:, -1], append=0.0)
    return float(sum(thickness[k] * _volume(by_last[: k + 1, :-1]) for k in np.flatnonzero(thickness)))
