"""From sums of blocks to whole networks: `a + b * sum + c * parameter MB`, with leave-one-out fits for the interval.

The fixed term is what every block's own run adds or hides, the parameter term weights that miss the cache inside a
whole network. Intervals are jackknife+ (Barber et al., 2021) on ratios, because errors grow with the network.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_ROUNDS = 12  # of reweighting
_RIDGE = 1e-6


@dataclass(frozen=True)
class Calibration:
    """Affine correction fitted on whole networks.

    Attributes:
        coefficients: float64 [3]: a (ms), b, c (ms / MB).
        leave_one_out: float64 [m, 3], fitted without each network.
        ratios: float64 [m], measured / predicted by the fit that left that network out.

    """

    coefficients: Floats
    leave_one_out: Floats
    ratios: Floats

    @property
    def networks(self) -> int:
        """Number of whole networks behind the fit."""
        return len(self.ratios)

    def point(self, sum_ms: Floats, parameter_mb: Floats) -> Floats:
        """Whole-network latency in ms, float64 [n]."""
        point: Floats = _design(sum_ms, parameter_mb) @ self.coefficients
        # Far below every calibrated network a negative `a` must not make time run backwards.
        return np.maximum(point, 0.05 * sum_ms)

    def bound(self, sum_ms: Floats, parameter_mb: Floats, confidence: float) -> tuple[Floats, Floats]:
        """(low, high) float64 [n] each: jackknife+, one-sided at `confidence` on either side."""
        m = self.networks
        guesses = np.maximum(_design(sum_ms, parameter_mb) @ self.leave_one_out.T, 0.05 * sum_ms[:, None])
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
    design = _design(sum_ms, parameter_mb)
    # A single network cannot be left out: its own fit stands in, and its ratio says nothing.
    left_out_rows = 1.0 - np.eye(m) if m > 1 else np.ones((1, 1))
    without = np.vstack([np.ones((1, m)), left_out_rows]) * weights
    for terms in (3, 2, 1):
        if m < {3: 6, 2: 3, 1: 1}[terms]:
            continue
        fits = _robust(design, measured_ms, without, terms)
        positive = (design @ fits[0] > 0.05 * sum_ms).all()
        if terms == 1 or (positive and (fits[:, 1] > 0.05 * fits[0, 1]).all() and fits[0, 1] > 0):
            break
    leave_one_out = fits[1:]
    left_out = np.maximum((design * leave_one_out).sum(axis=1), 0.05 * sum_ms)
    return Calibration(fits[0], leave_one_out, measured_ms / left_out)


def _design(sum_ms: Floats, parameter_mb: Floats) -> Floats:
    return np.stack([np.ones_like(sum_ms), sum_ms, parameter_mb], axis=1)


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
