"""Do inherited weights rank subnets as training each alone does? Kendall's tau, and how sure it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas_edge.accuracy import kendall_tau, noise_ceiling
from nas_edge.spaces import Population, SearchSpace

RESAMPLES = 2000
QUARTILES = 4
_POOL = 4000
_MOST_IMAGES_RESAMPLED = 300

Bits = NDArray[np.bool_]
Interval = tuple[float, float]


def subnets_by_quartile(space: SearchSpace, num_classes: int, each: int, seed: int) -> Population:
    """Random architectures, int8 [4 * each, genes]: `each` in every quartile of the space's MACs, small ones first.

    Quartiles are those of 4,000 random architectures; within a quartile each of them is as likely as another.
    """
    rng = np.random.default_rng([seed, 5])
    pool = np.unique(space.sample(_POOL, rng), axis=0)
    macs = space.macs(pool, num_classes)
    quarters = np.array_split(np.argsort(macs, kind="stable"), QUARTILES)
    chosen = np.concatenate([rng.choice(quarter, each, replace=False) for quarter in quarters])
    rows: Population = pool[chosen[np.argsort(macs[chosen], kind="stable")]]
    return rows


@dataclass(frozen=True)
class Agreement:
    """How two ways to get a network's accuracy agree.

    Attributes:
        tau: Kendall's tau-b over the subnets.
        over_subnets: 95 % bootstrap interval, subnets drawn again: what other subnets of the space might give.
        over_images: the same for these subnets, images drawn again: what the labels' noise makes of it.
        ceiling: the tau that the labels' noise lets two ways reach that agree perfectly.
        noise: standard deviation of one label of either way around the true difference of two subnets, 0..1.
        gap: mean of the second way's accuracy less the first's.
    """

    tau: float
    over_subnets: Interval
    over_images: Interval
    ceiling: float
    noise: tuple[float, float]
    gap: float

    @classmethod
    def of(cls, inherited: Bits, alone: Bits, seed: int = 0) -> Agreement:
        """From right and wrong answers, bool [subnets, images, views] each, of the same images and views.

        Raises:
            ValueError: fewer than 3 subnets or 4 images.
        """
        a, b = _per_image(inherited), _per_image(alone)
        rng = np.random.default_rng([seed, 6])
        first, second = noise_ceiling(inherited, seed=seed), noise_ceiling(alone, seed=seed)
        # Each ceiling is tau of measured with true accuracies; Greiner's relation makes a correlation of it.
        reached = np.sin(np.pi / 2 * first.tau) * np.sin(np.pi / 2 * second.tau)
        return cls(
            tau=kendall_tau(a.mean(axis=1), b.mean(axis=1)),
            over_subnets=_interval(_drawn_subnets(a.mean(axis=1), b.mean(axis=1), rng)),
            over_images=_interval(_drawn_images(a, b, rng)),
            ceiling=float(2 / np.pi * np.arcsin(reached)),
            noise=(first.rmse, second.rmse),
            gap=float(b.mean() - a.mean()),
        )


def _per_image(bits: Bits) -> NDArray[np.float64]:
    """Share of right answers over views, float64 [subnets, images]."""
    shares: NDArray[np.float64] = bits.astype(np.float64).reshape(len(bits), bits.shape[1], -1).mean(axis=2)
    return shares


def _drawn_subnets(a: NDArray[np.float64], b: NDArray[np.float64], rng: np.random.Generator) -> Iterator[float]:
    for chosen in rng.integers(len(a), size=(RESAMPLES, len(a))):
        if len(np.unique(chosen)) > 2:
            yield kendall_tau(a[chosen], b[chosen])


def _drawn_images(a: NDArray[np.float64], b: NDArray[np.float64], rng: np.random.Generator) -> Iterator[float]:
    """The same images for both ways: what is hard for one is hard for the other."""
    images = a.shape[1]
    for _ in range(_MOST_IMAGES_RESAMPLED):
        weight = np.bincount(rng.integers(images, size=images), minlength=images)
        yield kendall_tau(a @ weight, b @ weight)


def _interval(taus: Iterator[float]) -> Interval:
    low, high = np.quantile(np.fromiter(taus, np.float64), [0.025, 0.975])
    return float(low), float(high)
