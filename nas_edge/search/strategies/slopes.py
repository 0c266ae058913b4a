"""A metric as a differentiable function of relaxed architectures, whatever it is that can be seen of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas_edge.search.metrics import Gradient, Metric, Monotone
from nas_edge.search.strategies.relaxation import ExpectedSum, Relaxation

Float = NDArray[np.float64]

Relaxed = Callable[[Float], tuple[Float, Float]]
"""Probabilities, float64 [n, size], to figures [n] and their derivatives [n, size]."""

_STEP = 1e-4  # of a sum, for the derivative of a rising function of it


def relaxed(metric: Metric, relaxation: Relaxation) -> Relaxed | None:
    """A sum over terms as its exact expectation, a rising function of one by the chain rule, another by its gradient.

    None for a metric that shows neither: then `ridge` fits what was told of it.
    """
    if metric.costs is not None:
        return ExpectedSum(relaxation, metric.costs)
    if metric.monotone is not None:
        return _rising(metric.monotone, relaxation)
    if metric.gradient is not None:
        return _by_mixture(metric.gradient, relaxation)
    return None


def ridge(one_hot: Float, figures: Float, relaxation: Relaxation, strength: float = 1.0) -> Relaxed:
    """A linear fit to architectures (float64 [n, features]) and their figures [n]: itself its own expectation."""
    middle, mean = one_hot.mean(axis=0), float(figures.mean())
    centred = one_hot - middle
    gram = centred.T @ centred + strength * np.eye(one_hot.shape[1])
    slope = np.linalg.solve(gram, centred.T @ (figures - mean))

    def linear(mixture: NDArray[np.floating[Any]]) -> tuple[Float, Float]:
        return mean + (mixture - middle) @ slope, np.broadcast_to(slope, mixture.shape)

    return _by_mixture(linear, relaxation)


def _rising(metric: Monotone, relaxation: Relaxation) -> Relaxed:
    expected = ExpectedSum(relaxation, metric.costs)

    def figure(probabilities: Float) -> tuple[Float, Float]:
        sums, slope = expected(probabilities)
        step = _STEP * np.maximum(np.abs(sums), 1e-12)
        rise = (metric.function(sums + step) - metric.function(sums - step)) / (2 * step)
        return metric.function(sums), rise[:, None] * slope

    return figure


def _by_mixture(gradient: Gradient, relaxation: Relaxation) -> Relaxed:
    def figure(probabilities: Float) -> tuple[Float, Float]:
        values, slope = gradient(relaxation.mixture(probabilities))
        return values, relaxation.from_mixture(probabilities, slope)

    return figure
