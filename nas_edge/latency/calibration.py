"""From sums of blocks to whole networks: `a + b * work`, with leave-one-out fits for the interval.

The fixed term `a` is what every block's own run adds or hides. `work` is the sum of the blocks, and one thing more: a
block alone finds its weights and its input in the cache, within a network it does not. Where that is a matter of
weights, the network's parameters in MB are added to the sum; where large networks outgrow a cache that their
neighbours on the machine use as well, the sum is bent. Leave-one-out error decides which, if either.

Either way a prediction, and every bound of it, is a rising function of one sum over blocks: searches can prove what is
least. Intervals are jackknife+ (Barber et al., 2021) on ratios, because errors grow with the network.
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
_LEAST_SHARE = 0.05  # of the work, below which no prediction falls
_FOLDS = 60
_MANY = 100  # networks, from which on all fits are the same and only their ratios count


class Third(StrEnum):
    """What the third term of a calibration is proportional to."""

    PARAMETERS = "parameters"
    CURVE = "curve"


@dataclass(frozen=True)
class Calibration:
    """Correction fitted on whole networks.

    Attributes:
        coefficients: float64 [3]: a (ms), b, c (ms / MB, or none).
        leave_one_out: float64 [m, 2]: a and b fitted without each network, c / b kept.
        ratios: float64 [m], measured / predicted by the fit (of all three) that left that network out.
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

    @property
    def ms_per_mb(self) -> float:
        """What a MB of parameters adds to the work, in ms."""
        return float(self.coefficients[2] / self.coefficients[1]) if self.third is Third.PARAMETERS else 0.0

    def work(self, sum_ms: Floats, parameter_mb: Floats) -> Floats:
        """Sum of the blocks and what their parameters add, float64 [n]."""
        work: Floats = sum_ms + self.ms_per_mb * parameter_mb
        return work

    def point(self, work_ms: Floats) -> Floats:
        """Whole-network latency in ms, float64 [n]; rises with the work."""
        return _line(self.coefficients[None, :2], self._bent(work_ms), work_ms)[:, 0]

    def bound(self, work_ms: Floats, confidence: float) -> tuple[Floats, Floats]:
        """(low, high) float64 [n] each: jackknife+, one-sided at `confidence` on either side; rising with the work."""
        m = self.networks
        rank = confidence * (m + 1)
        if rank > m + 1e-9:
            return self._beyond(work_ms, confidence)
        # Between two order statistics: with few networks the next whole one covers several per cent too much.
        below, share = min(int(rank), m - 1), min(rank, m) - min(int(rank), m - 1)
        at = np.array([m - below - 1, m - below, below - 1, below])
        if m > _MANY:
            quantiles = self.point(work_ms)[:, None] * np.sort(self.ratios)[at]
        else:
            guesses = _line(self.leave_one_out, self._bent(work_ms), work_ms) * self.ratios
            quantiles = np.partition(guesses, sorted({*at.tolist()}), axis=1)[:, at]
        low = share * quantiles[:, 0] + (1 - share) * quantiles[:, 1]
        return low, share * quantiles[:, 3] + (1 - share) * quantiles[:, 2]

    def _beyond(self, work_ms: Floats, confidence: float) -> tuple[Floats, Floats]:
        """So few networks have no such quantile: beyond the extremes, as a normal law of the ratios would go."""
        m = self.networks
        guesses = _line(self.leave_one_out, self._bent(work_ms), work_ms) * self.ratios
        spread = float(np.log(self.ratios).std(ddof=1)) if m > 1 else 0.1
        beyond = math.exp(normal_quantile(confidence) * spread * math.sqrt(1 + 1 / m) * (1 + 1.5 / m))
        low, high = guesses.min(axis=1), guesses.max(axis=1)
        middle = self.point(work_ms)
        return np.minimum(low, middle / beyond), np.maximum(high, middle * beyond)

    def half_width(self, confidence: float) -> float:
        """Usual log(high / point) at a confidence, for sums with other errors."""
        work = np.array([0.5 * self.reach_ms])
        return max(0.0, float(np.log(self.bound(work, confidence)[1] / self.point(work))[0]))

    def _bent(self, work_ms: Floats) -> Floats:
        if self.third is not Third.CURVE:
            return work_ms
        bent: Floats = work_ms + self.coefficients[2] / self.coefficients[1] * _curve(work_ms, self.reach_ms)
        return bent


def fit_calibration(
    sum_ms: Floats,
    parameter_mb: Floats,
    measured_ms: Floats,
    weights: Floats | None = None,
    optimism: float = 1.0,
    most_terms: int = 3,
) -> Calibration | None:
    """Fit on whole networks, robustly, with as many terms as their number supports (1, then 2 from 3, 3 from 6).

    Args:
        sum_ms: float64 [m], sums of the networks' blocks.
        parameter_mb: float64 [m], their weights in MB.
        measured_ms: float64 [m].
        weights: float64 [m], how much each counts; all alike by default.
        optimism: by how much the logarithms of left-out ratios are too small, where the networks have already been
            used to make `sum_ms`.
        most_terms: 1 to 3.

    Returns:
        None without networks.

    """
    m = len(measured_ms)
    if m == 0:
        return None
    weights = np.ones(m) if weights is None else weights / weights.mean()
    reach_ms = float(sum_ms.max())
    fold = np.arange(m) % min(m, _FOLDS)
    # A single network cannot be left out: its own fit stands in, and its ratio says nothing.
    kept = (fold[None] != np.arange(fold.max() + 1)[:, None]).astype(np.float64) if m > 1 else np.ones((1, 1))
    without = np.vstack([np.ones((1, m)), kept]) * weights

    def fit(terms: int, third: Third) -> tuple[Calibration, Floats]:
        last = parameter_mb if third is Third.PARAMETERS else _curve(sum_ms, reach_ms)
        design = np.stack([np.ones(m), sum_ms, last], axis=1)
        fits = _robust(design, measured_ms, without, terms)
        left_out = np.maximum((design * fits[1:][fold]).sum(axis=1), _LEAST_SHARE * sum_ms)
        whole, lines = fits[0], fits[1:, :2]
        if terms == 3 and whole[1] > 0:
            bent = np.stack([np.ones(m), sum_ms + whole[2] / whole[1] * last], axis=1)
            lines = _robust(bent, measured_ms, without, 2)[1:, :2]
        ratios = (measured_ms / left_out) ** optimism
        return Calibration(whole, lines[fold], ratios, third, reach_ms), fits

    if m >= _NETWORKS_FOR_TERMS[3] and most_terms >= 3:
        both = [fit(3, third) for third in (Third.PARAMETERS, Third.CURVE)]
        sound = [one for one, fits in both if _sound(one, fits, sum_ms, parameter_mb)]
        if sound:  # of equally good ones the first
            return min(sound, key=lambda one: _left_out_error(one, weights))
    if m >= _NETWORKS_FOR_TERMS[2] and most_terms >= 2:
        straight, fits = fit(2, Third.PARAMETERS)
        if _sound(straight, fits, sum_ms, parameter_mb):
            return straight
    return fit(1, Third.PARAMETERS)[0]


def _left_out_error(calibration: Calibration, weights: Floats) -> float:
    """Mean squared log ratio; a wild network counts no more than three deviations. Rounded, so that ties are ties."""
    logs = np.abs(np.log(calibration.ratios))
    return round(float(np.average(np.minimum(logs, 3 * 1.4826 * np.median(logs)) ** 2, weights=weights)), 7)


def _sound(calibration: Calibration, fits: Floats, sum_ms: Floats, parameter_mb: Floats) -> bool:
    """More blocks and more parameters take more time under every one of the fits, and no network takes none."""
    slopes = np.concatenate([fits[:, 1], calibration.leave_one_out[:, 1]])
    if not (slopes > 0).all():
        return False
    if calibration.third is Third.CURVE:
        if not (fits[:, 1] + 2.0 * fits[:, 2] > 0).all():
            return False
    elif fits[0, 2] < 0:
        return False
    work = calibration.work(sum_ms, parameter_mb)
    lines = np.vstack([calibration.coefficients[None, :2], calibration.leave_one_out])
    least = lines[:, 0] + calibration._bent(work)[:, None] * lines[:, 1]
    return bool((least > _LEAST_SHARE * work[:, None]).all())


def _line(lines: Floats, bent_ms: Floats, work_ms: Floats) -> Floats:
    """float64 [n, lines]: a + b * bent; far below every calibrated network time must not run backwards."""
    rising: Floats = np.maximum(lines[:, 0] + bent_ms[:, None] * lines[:, 1], _LEAST_SHARE * work_ms[:, None])
    return rising


def _curve(sum_ms: Floats, reach_ms: float) -> Floats:
    """A parabola up to the reach, its tangent beyond."""
    curve: Floats = np.where(sum_ms <= reach_ms, sum_ms**2 / reach_ms, 2.0 * sum_ms - reach_ms)
    return curve


def _robust(design: Floats, measured_ms: Floats, weights: Floats, terms: int) -> Floats:
    """Huber-weighted relative least squares for each row of `weights`: float64 [rows, columns], unused terms 0."""
    order = [1, 0, 2][:terms]  # the sum first, then the constant, then the parameters
    x = design[:, order] / measured_ms[:, None]
    scale = np.sqrt((x**2).mean(axis=0)) + 1e-12
    x = x / scale
    prior = np.zeros(terms)
    prior[0] = scale[0]  # a sum that needs no correction, in scaled units
    robust = np.ones_like(weights)
    solution = np.zeros((len(weights), terms))
    outer = (x[:, :, None] * x[:, None, :]).reshape(len(x), -1)
    for _ in range(_ROUNDS):
        used = weights * robust
        gram = (used @ outer).reshape(-1, terms, terms) + _RIDGE * np.eye(terms)
        right = used @ x + _RIDGE * prior
        solution = np.linalg.solve(gram, right[:, :, None])[:, :, 0]
        residual = np.abs(solution @ x.T - 1.0)
        limit = np.maximum(1.345 * 1.4826 * _medians(residual, weights > 0), 0.005)[:, None]
        robust = np.minimum(1.0, limit / np.maximum(residual, 1e-12))
    result = np.zeros((len(weights), design.shape[1]))
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
