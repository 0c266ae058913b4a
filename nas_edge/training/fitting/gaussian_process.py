"""Accuracy as a Gaussian process over architectures: what a few hundred noisy labels say, and no more.

Two networks are alike that have like widths, resolutions, MACs and parameters (a smooth function of few figures says
most about accuracy), more so where they also share their genes; each choice of a gene has a linear effect besides.
How far likeness reaches, how much each part weighs and how noisy the labels are is found by the greatest marginal
likelihood under weak priors (Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006, chapter 5).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from nas_edge.accuracy import FeatureLayout
from nas_edge.spaces import Population, SearchSpace

Float = NDArray[np.float64]

_CLASSES = 10  # MACs and parameters of the classifier hardly matter here
_JITTER = 1e-6
_STEPS = 40  # of the likelihood's ascent
_LEAST, _MOST = -6.0, 3.0  # of logarithms: beyond, kernels are singular in double precision
# Of logarithms, for standardised figures and labels: (mean, standard deviation).
_REACH, _SMOOTH, _LINEAR, _NOISE = (0.7, 1.2), (-0.3, 1.5), (-1.0, 1.5), (-1.2, 1.0)


@dataclass(frozen=True)
class Traits:
    """What networks are compared by, from any population of one space.

    Attributes:
        space: of the architectures.
        centre, spread: float64 [traits], of the population that the traits were made for.
        groups: columns of each group; the last one holds the one-hot genes, the others one figure each.

    """

    space: SearchSpace
    centre: Float
    spread: Float
    groups: tuple[slice, ...]

    @classmethod
    def of(cls, space: SearchSpace, population: Population) -> Traits:
        """Standardised on a population."""
        raw = _raw_traits(space, population)
        genes = FeatureLayout.of(space).size
        figures = raw.shape[1] - genes
        spread = raw.std(axis=0)
        groups = (*(slice(i, i + 1) for i in range(figures)), slice(figures, figures + genes))
        return cls(space, raw.mean(axis=0), np.where(spread > 1e-9, spread, 1.0), groups)

    def __call__(self, population: Population) -> Float:
        """float64 [n, traits]; each group of columns has about unit variance in all."""
        traits: Float = (_raw_traits(self.space, population) - self.centre) / self.spread
        for group in self.groups:
            traits[:, group] /= np.sqrt(group.stop - group.start)
        return traits


def _raw_traits(space: SearchSpace, population: Population) -> Float:
    """Logarithms of genes that are never absent, of MACs and of parameters; one-hot genes."""
    layout = FeatureLayout.of(space)
    whole = [i for i, (name, _) in enumerate(layout.genes) if "." not in name]
    figures = [np.log(np.array(layout.genes[i][1])[population[:, i] - 1]) for i in whole]
    figures += [np.log(space.macs(population, _CLASSES)), np.log(space.params(population, _CLASSES))]
    return np.concatenate([np.stack(figures, axis=1), layout.one_hot(population).astype(np.float64)], axis=1)


@dataclass(frozen=True)
class GaussianProcess:
    """A fitted process: its mean is the prediction.

    Attributes:
        traits: of architectures.
        seen: float64 [n, traits] of those it was fitted to.
        at: float64 [parameters], logarithms: reaches of the figures, their weight; reaches of figures and genes, their
            weight; weight of the linear part; noise.
        weights: float64 [n], of each one's kernel in the mean.
        centre, spread: of the labels.
        left_out: float64 [n], by how much each label is missed by what the others say, as a fraction of 1.

    """

    traits: Traits
    seen: Float
    at: Float
    weights: Float
    centre: float
    spread: float
    left_out: Float

    @classmethod
    def fit(cls, traits: Traits, population: Population, accuracy: Float) -> GaussianProcess:
        """Fit to labels, float64 [n], of architectures, int8 [n, genes]."""
        from scipy.linalg import cho_factor, cho_solve
        from scipy.optimize import minimize

        seen, centre, spread = traits(population), float(accuracy.mean()), float(accuracy.std()) or 1.0
        labels = (accuracy - centre) / spread
        parts = _parts(traits.groups, seen, seen)
        figures = len(traits.groups) - 1
        priors = [*[_REACH] * figures, _SMOOTH, *[_REACH] * (figures + 1), _SMOOTH, _LINEAR, _NOISE]
        mean, deviation = np.array(priors).T
        found = minimize(
            partial(_loss, labels=labels, parts=parts, mean=mean, deviation=deviation),
            mean, jac=True, method="L-BFGS-B", bounds=[(_LEAST, _MOST)] * len(mean), options={"maxiter": _STEPS},
        )  # fmt: skip
        kernel = _kernel(found.x, parts)[0] + (np.exp(2 * found.x[-1]) + _JITTER) * np.eye(len(labels))
        factor = cho_factor(kernel, lower=True)
        weights = cho_solve(factor, labels)
        # Rasmussen and Williams, section 5.4.2.
        left_out = spread * weights / np.diag(cho_solve(factor, np.eye(len(labels))))
        return cls(traits, seen, found.x, weights, centre, spread, left_out)

    def predict(self, population: Population) -> Float:
        """Mean of the accuracy as a fraction, float64 [n]."""
        kernel = _kernel(self.at, _parts(self.traits.groups, self.traits(population), self.seen))[0]
        mean: Float = self.centre + self.spread * (kernel @ self.weights)
        return mean

    @property
    def noise(self) -> float:
        """Standard deviation of the labels around the function, as a fraction of 1."""
        return float(self.spread * np.exp(self.at[-1]))


@dataclass(frozen=True)
class _Parts:
    """What a kernel of two sets of architectures is made of.

    Attributes:
        distances: float64 [groups, n, m], squared, of each group.
        products: float64 [n, m], of the genes.

    """

    distances: Float
    products: Float


def _parts(groups: tuple[slice, ...], a: Float, b: Float) -> _Parts:
    def distance(group: slice) -> Float:
        x, y = a[:, group], b[:, group]
        squared = (x**2).sum(axis=1)[:, None] + (y**2).sum(axis=1)[None] - 2 * x @ y.T
        positive: Float = np.maximum(squared, 0)  # rounding may leave less
        return positive

    return _Parts(np.stack([distance(group) for group in groups]), a[:, groups[-1]] @ b[:, groups[-1]].T)


def _kernel(at: Float, parts: _Parts) -> tuple[Float, list[Float]]:
    """The kernel, float64 [n, m], and its derivative by each parameter but the noise; a constant is part of it."""
    groups = len(parts.distances)
    kernel, slopes, start = np.ones_like(parts.products), list[Float](), 0
    for used in (groups - 1, groups):
        nearness = np.exp(-2 * at[start : start + used])
        smooth = np.exp(2 * at[start + used] - np.tensordot(nearness, parts.distances[:used], 1) / 2)
        kernel += smooth
        slopes += [smooth * parts.distances[i] * nearness[i] for i in range(used)]
        slopes.append(2 * smooth)
        start += used + 1
    linear = np.exp(2 * at[start]) * parts.products
    return kernel + linear, [*slopes, 2 * linear]


def _loss(at: Float, labels: Float, parts: _Parts, mean: Float, deviation: Float) -> tuple[float, Float]:
    """Negative logarithm of likelihood times prior (but for constants) and its gradient."""
    from scipy.linalg import cho_factor, cho_solve

    noise = np.exp(2 * at[-1])
    kernel, slopes = _kernel(at, parts)
    factor = cho_factor(kernel + (noise + _JITTER) * np.eye(len(labels)), lower=True)
    weights = cho_solve(factor, labels)
    rest = cho_solve(factor, np.eye(len(labels))) - np.outer(weights, weights)
    pull = (at - mean) / deviation
    value = labels @ weights / 2 + np.log(np.diag(factor[0])).sum() + (pull**2).sum() / 2
    gradient = [(rest * slope).sum() / 2 for slope in slopes] + [np.trace(rest) * noise]
    return float(value), np.array(gradient) + pull / deviation
