"""Accuracy where little is measured yet: a prior's line, and a Gaussian process for what it leaves over.

The mean of the process is a line over figures that each promise more accuracy the greater they are (the score of a
zero-cost proxy, log MACs). Its slopes are found by least squares and never fall below 0: a few labels may put a figure
aside, but not turn it round. What the line leaves is learnt as always, so that the prior counts for less the more is
measured (Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006, section 2.7). Where labels are missed
by less without the line, each by what the others say, there is none: the process knows MACs already.

What that is worth is printed by `tests/benchmarks/test_zero_cost.py` for every embedded bundle.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas_edge.spaces import Population
from nas_edge.training.fitting.gaussian_process import GaussianProcess, Traits

Float = NDArray[np.float64]

Prior = Callable[[Population], Float]
"""int8 [n, genes] to float64 [n, figures], each of which promises more accuracy the greater it is."""

MIN_GUIDED = 10  # labels; a line over two figures and its noise are told apart by no fewer


@dataclass(frozen=True, eq=False)
class GuidedProcess:
    """A Gaussian process whose mean is a rising line over a prior's figures.

    Attributes:
        prior: gives the figures of any architectures.
        slopes: float64 [figures], none below 0; all 0 without a line.
        rest: the process of what the line leaves over; the line's offset is in it.

    """

    prior: Prior
    slopes: Float
    rest: GaussianProcess

    @classmethod
    def fit(cls, traits: Traits, population: Population, accuracy: Float, prior: Prior) -> GuidedProcess:
        """Fit to labels, float64 [n], of architectures, int8 [n, genes]."""
        from scipy.optimize import nnls

        figures = prior(population)
        spread = figures.std(axis=0)
        units = np.where(spread > 1e-9, spread, 1.0)
        slopes = nnls((figures - figures.mean(axis=0)) / units, accuracy - accuracy.mean())[0] / units
        plain = GaussianProcess.fit(traits, population, accuracy)
        guided = GaussianProcess.fit(traits, population, accuracy - figures @ slopes)
        # The slopes have seen every label: their number is taken off.
        freedom = (len(accuracy) - np.count_nonzero(slopes)) / len(accuracy)
        if (guided.left_out**2).mean() < freedom**2 * (plain.left_out**2).mean():
            return cls(prior, slopes, guided)
        return cls(prior, np.zeros_like(slopes), plain)

    def predict(self, population: Population) -> Float:
        """Mean of the accuracy as a fraction, float64 [n]."""
        mean: Float = self.prior(population) @ self.slopes + self.rest.predict(population)
        return mean
