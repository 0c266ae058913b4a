"""From sums of blocks to whole networks: `a + b * sum + c * third`, with leave-one-out fits for the interval.

The fixed term is what every block's own run adds or hides. A block alone finds its weights and its input in the cache,
within a network it does not: the third term is the network's parameters in MB where that is a matter of weights, or the
bend of a curve over the sum where large networks outgrow a cache that their neighbours on the machine use as well.
Which of the two is decided by leave-one-out error.

Intervals are jackknife+ (Barber et al., 2021) on ratios, because errors grow with the network.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_ROUNDS = 12  # of reweighting
_NETWORKS_FOR_TERMS = {2: 3, 3: 6}
_RIDGE = 1e-6


class Third(StrEnum):
    """What the third term of a calibration is proportional to."""

    PARAMETERS = "parameters"
    CURVE = "curve"


@dataclass(frozen=True)
class Calibration:
    """Correction fitted on whole networks.

    Attributes:
        coefficients: float64 [3]: a (ms), b, c (ms / MB, or none).
        leave_one_out: float64 [m, 3], fitted without each network.
        ratios: float64 [m], measured / predicted by the fit that left that network out.
        third: what c multiplies.
        reach_ms: greatest calibrated sum; the curve goes on as a straight line beyond it.

    """

    coefficients: Floats
    leave_one_out: Floats
    ratios: Floats
    third: Third
    reach_ms: float

    @property
    def networks(self) -> int:
        """Number of whole networks behind the fit."""
        return len(self.ratios)

    def point(self, sum_ms: Floats, parameter_mb: Floats) -> Floats:
        """Whole-network latency in ms, float64 [n]."""
        point: Floats = self._design(sum_ms, parameter_mb) @ self.coefficients
        # Far below every calibrated network a negative `a` must not make time run backwards.
        return np.maximum(point, 0.05 * sum_ms)

    def bound(self, sum_ms: Floats, parameter_mb: Floats, confidence: float) -> tuple[Floats, Floats]:
        """(low, high) float64 [n] each: jackknife+, one-sided at `confidence` on either side."""
        m = self.networks
        guesses = np.maximum(self._design(sum_ms, parameter_mb) @ self.leave_one_out.T, 0.05 * sum_ms[:, None])
        guesses *= self.ratios
        rank = math.ceil(confidence * (m + 1) - 1e-9)
        if rank <= m:
            guesses = np.partition(guesses, sorted({rank - 1, m - rank}), axis=1)
            return guesses[:, m - rank], guesses[:, rank - 1]
        # So few networks have no such quantile: go beyond the extremes as a normal law of the ratios would.
        spread = float(np.log(self.ratios).std(ddof=1)) if m > 1 else 0.1
        beyond = math.exp(normal_quantile(confidence) * spread * math.sqrt(1 + 1 / m) * (1 + 1.5 / m))
        low, high = guesses.min(axis=1), guesses.max(axis=1)
        middle = self.point(sum_ms, parameter_mb)
        return np.minimum(low, middle / beyond), np.maximum(high, middle * beyond)

    def _design(self, sum_ms: Floats, parameter_mb: Floats) -> Floats:
        return _design(sum_ms, parameter_mb, self.third, self.reach_ms)


def fit_calibration(
    sum_ms: Floats, parameter_mb: Floats, measured_ms: Floats, weights: Floats | None = None
) -> Calibration | None:
    """Fit on whole networks, robustly, with as many terms as their number supports (1, then 2 from 3, 3 from 6).

    Args:
        sum_ms: float64 [m], sums of the networks' blocks.
        parameter_mb: float64 [m], their weights in MB.
        measured_ms: float64 [m].
        weights: float64 [m], how much each counts; all alike by default.

    Returns:
        None without networks.

    """
    m = len(measured_ms)
    if m == 0:
        return None
    weights = np.ones(m) if weights is None else weights / weights.mean()
    reach_ms = float(sum_ms.max())
    # A single network cannot be left out: its own fit stands in, and its ratio says nothing.
    left_out_rows = 1.0 - np.eye(m) if m > 1 else np.ones((1, 1))
    without = np.vstack([np.ones((1, m)), left_out_rows]) * weights

    def fit(terms: int, third: Third) -> Calibration:
        design = _design(sum_ms, parameter_mb, third, reach_ms)
        fits = _robust(design, measured_ms, without, terms)
        left_out = np.maximum((design * fits[1:]).sum(axis=1), 0.05 * sum_ms)
        return Calibration(fits[0], fits[1:], measured_ms / left_out, third, reach_ms)

    if m >= _NETWORKS_FOR_TERMS[3]:
        both = [fit(3, third) for third in (Third.PARAMETERS, Third.CURVE)]
        sound = [one for one in both if _sound(one, sum_ms, parameter_mb)]
        if sound:  # of equally good ones the first
            return min(sound, key=lambda one: _left_out_error(one, weights))
    if m >= _NETWORKS_FOR_TERMS[2]:
        straight = fit(2, Third.PARAMETERS)
        if _sound(straight, sum_ms, parameter_mb):
            return straight
    return fit(1, Third.PARAMETERS)


def _left_out_error(calibration: Calibration, weights: Floats) -> float:
    """Mean squared log ratio; a wild network counts no more than three deviations. Rounded, so that ties are ties."""
    logs = np.abs(np.log(calibration.ratios))
    return round(float(np.average(np.minimum(logs, 3 * 1.4826 * np.median(logs)) ** 2, weights=weights)), 7)


def _sound(calibration: Calibration, sum_ms: Floats, parameter_mb: Floats) -> bool:
    """More blocks take more time under every one of the fits, and no network takes none."""
    a, b, c = np.vstack([calibration.coefficients[None], calibration.leave_one_out]).T
    steepest = b + 2.0 * c if calibration.third is Third.CURVE else b
    rises = (b > 0).all() and (steepest > 0).all()
    least = _design(sum_ms, parameter_mb, calibration.third, calibration.reach_ms) @ np.stack([a, b, c])
    return bool(rises and (least > 0.05 * sum_ms[:, None]).all())


def _design(sum_ms: Floats, parameter_mb: Floats, third: Third, reach_ms: float) -> Floats:
    """float64 [n, 3]: one, the sum, and the third term."""
    last = parameter_mb
    if third is Third.CURVE:
        last = np.where(sum_ms <= reach_ms, sum_ms**2 / reach_ms, 2.0 * sum_ms - reach_ms)
    return np.stack([np.ones_like(sum_ms), sum_ms, last], axis=1)


def _robust(design: Floats, measured_ms: Floats, weights: Floats, terms: int) -> Floats:
    """Huber-weighted relative least squares for each row of `weights`: float64 [rows, 3], unused terms 0."""
    order = [1, 0, 2][:terms]  # the sum first, then the constant, then the parameters
    x = design[:, order] / measured_ms[:, None]
    scale = np.sqrt((x**2).mean(axis=0)) + 1e-12
    x = x / scale
    prior = np.zeros(terms)
    prior[0] = scale[0]  # a sum that needs no correction, in scaled units
    robust = np.ones_like(weights)
    solution = np.zeros((len(weights), terms))
    for _ in range(_ROUNDS):
        used = weights * robust
        gram = np.einsum("bm,mi,mj->bij", used, x, x) + _RIDGE * np.eye(terms)
        right = np.einsum("bm,mi->bi", used, x) + _RIDGE * prior
        solution = np.linalg.solve(gram, right[:, :, None])[:, :, 0]
        residual = np.abs(solution @ x.T - 1.0)
        limit = np.maximum(1.345 * 1.4826 * _medians(residual, weights > 0), 0.005)[:, None]
        robust = np.minimum(1.0, limit / np.maximum(residual, 1e-12))
    result = np.zeros((len(weights), 3))
    result[:, order] = solution / scale
    return result


def _medians(values: Floats, kept: NDArray[np.bool_]) -> Floats:
    """Median of the kept values of each row (numpy's nanmedian drags in a module that takes longer than the fit)."""
    ordered = np.sort(np.where(kept, values, np.inf), axis=1)
    count, rows = kept.sum(axis=1), np.arange(len(values))
    middle: Floats = (ordered[rows, (count - 1) // 2] + ordered[rows, count // 2]) / 2
    return middle


def normal_quantile(probability: float) -> float:
    """Quantile of the standard normal law."""
    from statistics import NormalDist

    return NormalDist().inv_cdf(probability)
