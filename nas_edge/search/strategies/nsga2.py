"""NSGA-II (Deb et al., "A Fast and Elitist Multiobjective Genetic Algorithm", 2002), for any number of objectives.

Elitist: of parents and children those survive that lie on the better fronts, the last of these thinned out by crowding
distance. Parents win binary tournaments by front, then by crowding; what breaks constraints is dominated by what meets
them. Variation is the space's own (uniform crossover, mutation), and nothing is evaluated twice, as in
NSGA-Net (Lu et al., 2019). It searches a trained supernet through a surrogate; NSGA-Net trained what it found.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas_edge.errors import QuantityError
from nas_edge.search.nondominated import crowding, fronts
from nas_edge.search.problem import Problem
from nas_edge.search.strategies.base import register_strategy
from nas_edge.search.strategies.variants import spread
from nas_edge.search.strategies.visited import Visited
from nas_edge.spaces import Population

Float = NDArray[np.float64]

ATTEMPTS = 8  # rounds of children without enough new ones before random ones are drawn


@dataclass(frozen=True)
class Nsga2Options:
    """Options of NSGA-II.

    Attributes:
        population: survivors of a generation, and children.
        crossover: share of children that have two parents.
        mutated_genes: expected number of genes drawn anew in a child.

    """

    population: int = 100
    crossover: float = 0.5
    mutated_genes: float = 2.0

    def __post_init__(self) -> None:
        if self.population < 2:
            raise QuantityError(f"option population must be at least 2, not {self.population}")
        if not 0 <= self.crossover <= 1 or not self.mutated_genes > 0:
            raise QuantityError("options must keep crossover in 0 to 1 and mutated_genes > 0")


@register_strategy("nsga2", Nsga2Options)
class Nsga2:
    """Survivors with their objectives, violation, front and crowding distance."""

    def __init__(self, problem: Problem, options: Nsga2Options, rng: np.random.Generator) -> None:
        self._space, self._options, self._rng = problem.space, options, rng
        self._rate = min(0.5, options.mutated_genes / len(problem.space.genes))
        self._visited = Visited(problem.space, rng)
        self._rows = np.zeros((0, len(problem.space.genes)), np.int8)
        self._gains = np.zeros((0, len(problem.objectives)))
        self._violation = np.zeros(0)
        self._place = np.zeros(0, np.intp)
        self._begun = False

    @property
    def survivors(self) -> Population:
        """Int8 [n, genes]."""
        return self._rows

    def ask(self, limit: int) -> Population:
        """The next children; random architectures at the start and where children bring nothing new."""
        wanted, missing = min(limit, self._options.population), self._options.population - len(self._rows)
        if not self._begun and missing > 0:
            rows = self._visited.fresh(spread(self._space, min(limit, missing), self._rng))
        else:
            rows = self._rows[:0]
            for _ in range(ATTEMPTS):
                rows = self._visited.fresh(np.concatenate([rows, self._children(wanted + wanted // 4)]))[:wanted]
                if len(rows) == wanted:
                    break
        self._begun = True
        return rows if len(rows) else self._visited.sample(wanted)

    def tell(self, population: Population, objectives: Float, violation: Float) -> None:
        """Survival by front, then by crowding distance."""
        self._visited.add(population)
        self._rows = np.concatenate([self._rows, population])
        self._gains = np.concatenate([self._gains, objectives])
        self._violation = np.concatenate([self._violation, violation])
        front = fronts(self._gains, self._violation, enough=self._options.population)
        kept = np.lexsort((-crowding(self._gains, front), front))[: self._options.population]
        self._rows, self._gains, self._violation = self._rows[kept], self._gains[kept], self._violation[kept]
        # What the last front lost counts in the tournaments.
        front = front[kept]
        best_first = np.lexsort((-crowding(self._gains, front), front))
        self._place = np.empty(len(kept), np.intp)
        self._place[best_first] = np.arange(len(kept))

    def _children(self, n: int) -> Population:
        """Of winners of binary tournaments."""
        if not len(self._rows):
            return self._rows
        drawn = self._rng.integers(len(self._rows), size=(2, n, 2))
        won = np.take_along_axis(drawn, self._place[drawn].argmin(axis=2)[..., None], axis=2)[..., 0]
        one, other = self._rows[won[0]], self._rows[won[1]]
        two = self._rng.random(n) < self._options.crossover
        rows = np.where(two[:, None], self._space.crossover(one, other, self._rng), one)
        return self._space.mutate(rows, self._rng, self._rate)
