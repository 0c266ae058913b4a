"""Aging evolution (Real et al., "Regularized Evolution for Image Classifier Architecture Search", 2019: AmoebaNet).

A population is a queue. In each cycle the best of a random sample becomes a parent, its mutated child is added, and the
oldest dies, however good it is: only what is found again and again stays. Here it searches a trained supernet through a
surrogate; the paper trained every child. Two things are added: cycles are proposed in batches (a batch of 1 is the
paper's), and children over a limit are drawn anew before anything is spent on them, as Once-for-All's finder does.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nas_edge.errors import QuantityError
from nas_edge.search.constraints import order
from nas_edge.search.problem import Problem
from nas_edge.search.strategies.base import register_strategy
from nas_edge.search.strategies.variants import mutants, spread
from nas_edge.spaces import Population

Float = NDArray[np.float64]


@dataclass(frozen=True)
class AgingOptions:
    """Options of aging evolution.

    Attributes:
        population: architectures alive (P of the paper); 0 for a tenth of the evaluations, at most 400.
        sample: of them, drawn with replacement, whose best becomes a parent (S).
        batch: cycles proposed at once, from the same population; at most `population`; 0 for an eighth of it.
        mutated_genes: expected number of genes drawn anew in a child, which always differs from its parent.
        attempts: mutations of a parent, of which the first counts that breaks the limits no more than it does.

    """

    population: int = 0
    sample: int = 10
    batch: int = 0
    mutated_genes: float = 1.0
    attempts: int = 8

    def __post_init__(self) -> None:
        for name, least in (("population", 0), ("sample", 1), ("batch", 0), ("attempts", 1)):
            if getattr(self, name) < least:
                raise QuantityError(f"option {name} must be at least {least}, not {getattr(self, name)}")
        if self.batch > self.population > 0:
            raise QuantityError(f"option batch must be at most the population of {self.population}, not {self.batch}")
        if not self.mutated_genes > 0:
            raise QuantityError(f"option mutated_genes must be above 0, not {self.mutated_genes}")

    def sized(self, evaluations: int) -> AgingOptions:
        """These, with figures for all that is left to the number of evaluations."""
        alive = self.population or max(min(400, max(10, evaluations // 10)), self.batch)
        return replace(self, population=alive, batch=self.batch or max(1, alive // 8))


@register_strategy("aging", AgingOptions)
class AgingEvolution:
    """A queue of architectures, oldest first."""

    def __init__(self, problem: Problem, options: AgingOptions, rng: np.random.Generator) -> None:
        self._problem, self._options, self._rng = problem, options, rng
        self._rate = min(0.5, options.mutated_genes / len(problem.space.genes))
        self._rows = np.zeros((0, len(problem.space.genes)), np.int8)
        self._gain, self._violation = np.zeros(0), np.zeros(0)

    @property
    def alive(self) -> Population:
        """The population, oldest first: int8 [n, genes]."""
        return self._rows

    def ask(self, limit: int) -> Population:
        """Random architectures until the population is full, then children of tournaments' winners."""
        if not self._options.population or not self._options.batch:
            self._options = self._options.sized(limit)
        missing = self._options.population - len(self._rows)
        if missing > 0:
            return spread(self._problem.space, min(limit, missing), self._rng)
        parents = self._winners(min(limit, self._options.batch))
        rows, violation = self._rows[parents], self._violation[parents]
        return mutants(self._problem, rows, violation, self._rate, self._options.attempts, self._rng)

    def tell(self, population: Population, objectives: Float, violation: Float) -> None:
        """Add the youngest; the oldest die."""
        alive = self._options.population or len(self._rows) + len(population)
        self._rows = np.concatenate([self._rows, population])[-alive:]
        self._gain = np.concatenate([self._gain, objectives[:, 0]])[-alive:]
        self._violation = np.concatenate([self._violation, violation])[-alive:]

    def _winners(self, n: int) -> NDArray[np.intp]:
        """Indices of the best of `n` samples."""
        best_first = order(self._gain, self._violation)
        place = np.empty(len(best_first), np.intp)
        place[best_first] = np.arange(len(best_first))
        drawn = self._rng.integers(len(place), size=(n, self._options.sample))
        winners: NDArray[np.intp] = best_first[place[drawn].min(axis=1)]
        return winners
