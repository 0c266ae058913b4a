"""Quantiles over visits and their upper confidence limits. Visits, not runs, are the independent draws: runs of one
visit share its cache state, clock and neighbours.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_Z95 = 1.6448536269514722
_RESAMPLES = 1000


def quantile_ms(visits: Sequence[Sequence[float]], q: float) -> float:
    """Quantile of all runs of all visits, each visit weighing the same."""
    values, weights = _weighted(visits)
    return float(_weighted_quantile(values, weights[None], q)[0])


def upper_limit_ms(visits: Sequence[Sequence[float]], q: float, seed: int = 0) -> float:
    """One-sided 95 % upper confidence limit of `quantile_ms`: bootstrap over visits (Davison and Hinkley, 1997,
    section 3.8), its half-width widened as Student's t is for few visits. Infinite for a single visit.
    """
    n = len(visits)
    if n < 2:
        return math.inf
    values, weights = _weighted(visits)
    owner = np.repeat(np.arange(n), [len(v) for v in visits])
    order = np.argsort(values, kind="stable")
    values, weights, owner = values[order], weights[order], owner[order]
    rng = np.random.default_rng(seed)
    counts = np.stack([np.bincount(row, minlength=n) for row in rng.integers(n, size=(_RESAMPLES, n))])
    estimates = _weighted_quantile(values, weights * counts[:, owner], q)
    estimate = float(_weighted_quantile(values, weights[None], q)[0])
    width = max(float(np.quantile(estimates, 0.95)) - estimate, 0.0)
    return estimate + width * student_t95(n - 1) / _Z95 * math.sqrt(n / (n - 1))


def relative_half_width(visit_values: Sequence[float]) -> float:
    """Cheap 95 % two-sided half-width of an estimate relative to it, from the scatter of the visits' own quantiles.

    It decides when to stop; `upper_limit_ms` is what is reported. 1.25 is the median's loss of efficiency, 1.19 leads
    from the 95 % to the 97.5 % quantile.
    """
    n = len(visit_values)
    if n < 3:
        return math.inf
    each = np.asarray(visit_values, np.float64)
    error = 1.25 * float(each.std(ddof=1)) / math.sqrt(n)
    return 1.19 * student_t95(n - 1) * error / float(np.median(each))


def student_t95(degrees: int) -> float:
    """95 % quantile of Student's t (Hill, 1970, expansion; exact for 1 and 2 degrees)."""
    if degrees == 1:
        return 6.313751514675043
    if degrees == 2:
        return 2.919985580353726
    z, v = _Z95, float(degrees)
    first = (z**3 + z) / (4 * v)
    second = (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2)
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * v**3)
    return z + first + second + third


def _weighted(visits: Sequence[Sequence[float]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    values = np.concatenate([np.asarray(visit, np.float64) for visit in visits])
    weights = np.concatenate([np.full(len(visit), 1 / len(visit)) for visit in visits])
    return values, weights


def _weighted_quantile(values: NDArray[np.float64], weights: NDArray[np.float64], q: float) -> NDArray[np.float64]:
    """Quantile under each row of weights [rows, n]: the middle of the first and last value that qualify."""
    order = np.argsort(values, kind="stable")
    cumulative = np.cumsum(weights[:, order], axis=1)
    total = cumulative[:, -1:]
    position = q * total
    tiny = 1e-9 * total
    low = np.argmax(cumulative >= position - tiny, axis=1)
    high = np.argmax(cumulative >= np.minimum(position + tiny, total), axis=1)
    sorted_values = values[order]
    middle: NDArray[np.float64] = (sorted_values[low] + sorted_values[high]) / 2
    return middle
