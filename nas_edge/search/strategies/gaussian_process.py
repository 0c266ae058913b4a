"""A Gaussian process over architectures: what a few hundred evaluations say about all the others, and how surely.

The kernel compares gene by gene and counts absence as a value like any other. With m(a, b) the share of weight of the
genes in which two architectures agree (weights positive, one for each gene, summing to one),

    k(a, b) = linear * m(a, b) + joint * exp((m(a, b) - 1) / reach)

The first part is additive over genes (Duvenaud and others, 2011), as networks nearly are; the second is the exponential
kernel over a weighted Hamming distance, the product over genes that COMBO (Oh and others, 2019) has for categories
without an order. Weights, variances, reach and noise maximise the marginal likelihood, by Adam over their logarithms
with analytic derivatives.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas_edge.search.strategies.adam import Adam

Float = NDArray[np.float64]
Index = NDArray[np.intp]

Worth = Callable[[Float, Float], Float]
"""Means and standard deviations [n] to what an evaluation is worth [n]."""

_JITTER = 1e-8
_SQUARE_DECAY = 0.99  # of Adam: a fit is short
_PULL = 0.02  # towards the prior, of each logarithm: with few data genes are alike


@dataclass(frozen=True, eq=False)
class OneHot:
    """How rows become vectors: one column for each value of each gene.

    Attributes:
        columns: gene of each, [features].
        values: value of each, [features].
        genes: number of genes.

    """

    columns: Index
    values: NDArray[np.int8]
    genes: int

    @classmethod
    def of(cls, values: list[NDArray[np.int8]]) -> OneHot:
        """Of the values that each gene can have, 0 included where it may be absent."""
        counts = [len(v) for v in values]
        return cls(np.repeat(np.arange(len(values)), counts), np.concatenate(values), len(values))

    def __call__(self, rows: NDArray[np.int8]) -> Float:
        """float64 [n, features] of int8 [n, genes]."""
        encoded: Float = (rows[:, self.columns] == self.values).astype(np.float64)
        return encoded


@dataclass(frozen=True, eq=False)
class Hyperparameters:
    """Of the kernel, as logarithms: what is optimised.

    Attributes:
        weights: float64 [genes], up to a constant.
        linear, joint, noise: variances, in units of the figures' variance.
        reach: of the joint part.

    """

    weights: Float
    linear: float = -0.7
    joint: float = -0.7
    noise: float = -5.0
    reach: float = -1.0

    def vector(self) -> Float:
        """All in one, float64 [genes + 4]."""
        return np.concatenate([self.weights, [self.linear, self.joint, self.noise, self.reach]])

    @classmethod
    def of(cls, vector: Float) -> Hyperparameters:
        """The inverse of `vector`, within reason."""
        linear, joint, noise, reach = (
            float(np.clip(value, low, high))
            for value, low, high in zip(vector[-4:], (-12, -12, -12, -5), (5, 5, 1, 3), strict=True)
        )
        return cls(np.clip(vector[:-4], -10, 10), linear, joint, noise, reach)

    def shares(self) -> Float:
        """Weights that sum to one, float64 [genes]."""
        raised = np.exp(self.weights - self.weights.max())
        shares: Float = raised / raised.sum()
        return shares


def likelihood(one_hot: OneHot, x: Float, y: Float, at: Hyperparameters) -> tuple[float, Float]:
    """Log marginal likelihood of standardised figures y [n] at x [n, features], and its derivative by `vector`."""
    n, shares = len(y), at.shares()
    agree = (x * shares[one_hot.columns]) @ x.T
    linear, joint, noise, reach = np.exp([at.linear, at.joint, at.noise, at.reach])
    near = np.exp((agree - 1.0) / reach)
    kernel = linear * agree + joint * near
    kernel[np.diag_indices(n)] += noise + _JITTER
    factor = np.linalg.cholesky(kernel)
    half = np.linalg.inv(factor)
    inverse = half.T @ half
    alpha = inverse @ y
    value = -0.5 * float(y @ alpha) - float(np.log(np.diag(factor)).sum()) - 0.5 * n * float(np.log(2 * np.pi))
    # d value = 0.5 * sum(outer * d kernel)
    outer = np.outer(alpha, alpha) - inverse
    by_agree = outer * (linear + joint / reach * near)
    by_feature = np.einsum("nf,nf->f", x, by_agree @ x)
    by_share = np.bincount(one_hot.columns, by_feature, one_hot.genes)
    slope = np.empty(one_hot.genes + 4)
    slope[:-4] = 0.5 * shares * (by_share - float(shares @ by_share))
    slope[-4] = 0.5 * linear * float((outer * agree).sum())
    slope[-3] = 0.5 * joint * float((outer * near).sum())
    slope[-2] = 0.5 * noise * float(np.trace(outer))
    slope[-1] = 0.5 * joint * float((outer * near * (1.0 - agree)).sum()) / reach
    return value, slope


def fitted(
    one_hot: OneHot, x: Float, y: Float, start: Hyperparameters, steps: int, learning_rate: float = 0.1
) -> Hyperparameters:
    """The best that `steps` of Adam from `start` meet, by likelihood less a slight pull towards alike genes."""
    prior = Hyperparameters(np.zeros(one_hot.genes)).vector()
    vector, best, best_value = start.vector(), start, -np.inf
    adam = Adam(learning_rate, square_decay=_SQUARE_DECAY)
    for _ in range(steps):
        at = Hyperparameters.of(vector)
        try:
            value, slope = likelihood(one_hot, x, y, at)
        except np.linalg.LinAlgError:
            break  # so little noise that the matrix is singular: keep what was good
        away = at.vector() - prior
        value -= 0.5 * _PULL * float(away @ away)
        slope = slope - _PULL * away
        if value > best_value:
            best, best_value = at, value
        vector = at.vector() + adam.step(slope)
    return best


class GaussianProcess:
    """The posterior given figures of some architectures.

    Args:
        one_hot: of the space.
        rows: int8 [n, genes].
        figures: float64 [n].
        at: hyper-parameters.

    """

    def __init__(self, one_hot: OneHot, rows: NDArray[np.int8], figures: Float, at: Hyperparameters) -> None:
        self._one_hot, self._at, self._shares = one_hot, at, at.shares()
        self._x = one_hot(rows) * self._shares[one_hot.columns]
        self._mean, self._scale = float(figures.mean()), max(float(figures.std()), 1e-12)
        kernel = self._kernel(one_hot(rows))
        self._noise = np.exp(at.noise) + _JITTER
        kernel[np.diag_indices(len(rows))] += self._noise
        self._half = np.linalg.inv(np.linalg.cholesky(kernel))
        self._alpha = self._half.T @ (self._half @ ((figures - self._mean) / self._scale))

    def _kernel(self, x: Float, other: Float | None = None) -> Float:
        """K of x [n, features] with the data, or with `other`, whose features are weighted."""
        agree = x @ (self._x if other is None else other).T
        at = self._at
        kernel: Float = np.exp(at.linear) * agree + np.exp(at.joint) * np.exp((agree - 1.0) / np.exp(at.reach))
        return kernel

    def predict(self, rows: NDArray[np.int8]) -> tuple[Float, Float]:
        """Mean and standard deviation of the figure itself, without noise, float64 [n] each."""
        known = self._kernel(self._one_hot(rows))
        mean = known @ self._alpha
        prior = float(np.exp(self._at.linear) + np.exp(self._at.joint))
        explained = ((known @ self._half.T) ** 2).sum(axis=1)
        deviation = np.sqrt(np.maximum(prior - explained, 1e-12))
        return self._mean + self._scale * mean, self._scale * deviation

    def spread_out(self, rows: NDArray[np.int8], count: int, worth: Worth) -> Index:
        """Indices of up to `count` rows, one after another, each as if those before had turned out as expected.

        Expected results leave the mean as it is and take away doubt, near what was chosen most (Ginsbourger and others,
        2010, "kriging believer"; Desautels and others, 2014).

        Args:
            rows: int8 [n, genes], candidates.
            count: how many.
            worth: of means and deviations [n], the acquisition.

        """
        features = self._one_hot(rows)
        known = self._kernel(features)
        mean = self._mean + self._scale * (known @ self._alpha)
        prior = float(np.exp(self._at.linear) + np.exp(self._at.joint))
        explained = known @ self._half.T
        variance = np.maximum(prior - (explained**2).sum(axis=1), 1e-12)
        weighted = features * self._shares[self._one_hot.columns]
        chosen: list[int] = []
        free = np.ones(len(rows), bool)
        believed = np.zeros((len(rows), 0))
        for _ in range(min(count, len(rows))):
            figures = np.where(free, worth(mean, self._scale * np.sqrt(variance)), -np.inf)
            best = int(np.argmax(figures))
            chosen.append(best)
            free[best] = False
            covariance = self._kernel(features, weighted[best : best + 1])[:, 0]
            covariance -= explained @ explained[best] + believed @ believed[best]
            column = covariance / np.sqrt(max(float(covariance[best]), 1e-12) + self._noise)
            believed = np.concatenate([believed, column[:, None]], axis=1)
            variance = np.maximum(variance - column**2, 1e-12)
        return np.array(chosen, np.intp)
