"""Medians, quartiles and paired tests over seeds. A run that found nothing counts as worse than any that did."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]

_EXACT_UP_TO = 200  # pairs; beyond, the normal approximation is as good as exact


@dataclass(frozen=True)
class Spread:
    """Median and quartiles; None where they fall among runs that found nothing."""

    median: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Paired:
    """One strategy against another, seed by seed.

    Attributes:
        wins, ties, losses: numbers of seeds.
        difference: median of the paired differences in favour of the first; None where it is not finite.
        p: two-sided, of Wilcoxon's signed-rank test.

    """

    wins: int
    ties: int
    losses: int
    difference: float | None
    p: float


def spread(gains: Float) -> Spread:
    """Median and quartiles of float64 [n], all to be maximised, -inf for runs that found nothing."""
    with np.errstate(invalid="ignore"):
        low, median, high = np.quantile(gains, [0.25, 0.5, 0.75])
    return Spread(_finite(median), _finite(low), _finite(high))


def paired(gains: Float, others: Float) -> Paired:
    """Compare float64 [n] with float64 [n], pair by pair, all to be maximised."""
    with np.errstate(invalid="ignore"):
        difference = np.nan_to_num(gains - others, nan=0.0, posinf=np.inf, neginf=-np.inf)
        middle = _finite(float(np.median(difference)))
    wins, losses = int((difference > 0).sum()), int((difference < 0).sum())
    return Paired(wins, len(gains) - wins - losses, losses, middle, signed_rank_p(difference))


def signed_rank_p(differences: Float) -> float:
    """Two-sided p of Wilcoxon's signed-rank test (Wilcoxon, 1945): are differences symmetric around 0?

    Zeros are left out, tied sizes share their mean rank; exact under the ranks that there are, by counting all
    assignments of signs. Normal approximation above 200 pairs.

    Args:
        differences: float64 [n], infinite ones allowed.

    """
    differences = differences[differences != 0]
    n = len(differences)
    if not n:
        return 1.0
    _, inverse, counts = np.unique(np.abs(differences), return_inverse=True, return_counts=True)
    last = counts.cumsum()
    doubled = (2 * last - counts + 1)[inverse]  # twice the mean rank of each, a whole number
    positive = int(doubled[differences > 0].sum())
    if n > _EXACT_UP_TO:
        deviation = math.sqrt(float((doubled.astype(float) ** 2).sum()) / 4)
        off = max(0.0, abs(positive - doubled.sum() / 2) - 0.5)
        return math.erfc(off / deviation / math.sqrt(2))
    share = np.zeros(int(doubled.sum()) + 1)
    share[0] = 1.0
    for rank in doubled:
        with_it = np.zeros_like(share)
        with_it[rank:] = share[:-rank]
        share = (share + with_it) / 2
    return min(1.0, 2 * min(float(share[: positive + 1].sum()), float(share[positive:].sum())))


def least_p(pairs: int) -> float:
    """The least two-sided p that so many pairs can give."""
    return min(1.0, 2.0 ** (1 - pairs))


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for their number (Holm, 1979), in the given order."""
    adjusted = [0.0] * len(p_values)
    most = 0.0
    for rank, i in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        most = max(most, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = most
    return adjusted


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
