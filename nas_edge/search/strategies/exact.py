"""Exact search of additive problems: the optimum with its proof, by an integer program.

The method is that of the multiple-choice knapsack formulations of architecture search (AOWS, Berman and others, 2020,
solve a relaxed one; BINAS, Nayman and others, 2021, show that binary programs over additive accuracy estimates find the
optimum). It looks inside the metrics: objective and constraints must be sums over the network's blocks, or rising
functions of such sums. It searches a trained supernet through such a surrogate and trains nothing. Where a surrogate is
not additive it says so and stops: then evolution searches, and nothing proves how far from the optimum it ends.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas_edge.errors import QuantityError
from nas_edge.search.optimum import GAP, ExactSolver, Optimum
from nas_edge.search.problem import Problem
from nas_edge.search.strategies.base import register_strategy
from nas_edge.spaces import Population


@dataclass(frozen=True)
class ExactOptions:
    """Options of exact search.

    Attributes:
        pool: architectures it gives at most: the optimum, the second best, and so on. Each is a program of its own.
        time_limit_s: for each of them. When it is over, the best so far is given without a proof, and results may
            differ from run to run; within it they never do.
        gap: relative difference of the objective that is not worth a proof; 0 for the very best. Spaces of at most
            10^6 architectures are always searched with 0.

    """

    pool: int = 5
    time_limit_s: float = 120.0
    gap: float = GAP

    def __post_init__(self) -> None:
        if not 0 <= self.gap < 1:
            raise QuantityError(f"option gap must be at least 0 and below 1, not {self.gap}")
        if self.pool < 1 or not 0 < self.time_limit_s < float("inf"):
            raise QuantityError("options must keep pool at least 1 and time_limit_s above 0 and finite")


@register_strategy("exact", ExactOptions)
class Exact:
    """The optimum first, then the next best ones.

    Where nothing meets the constraints it gives the architecture that comes nearest.

    Attributes:
        optima: what was found so far, with bounds; the first one's bound is the certificate of the whole search.

    Raises:
        SpaceError: a metric is not additive (it is named), or the space is a list of architectures.

    """

    def __init__(self, problem: Problem, options: ExactOptions, rng: np.random.Generator) -> None:
        self._options, self._space = options, problem.space
        self._solver = ExactSolver(problem, options.gap)
        self._done = False
        self.optima: list[Optimum] = []

    def ask(self, limit: int) -> Population:
        """The best one not given yet, or none."""
        nothing = np.zeros((0, len(self._space.genes)), np.int8)
        if self._done or limit < 1 or len(self.optima) == self._options.pool:
            return nothing
        found = self._solver.best(self._options.time_limit_s)
        self.optima.append(found)
        if found.arch is not None:
            self._solver.exclude(found.arch)
            return found.arch[None]
        self._done = True
        nearest = self._solver.nearest(self._options.time_limit_s) if len(self.optima) == 1 else None
        return nothing if nearest is None else nearest[None]

    def tell(self, population: Population, objectives: NDArray[np.float64], violation: NDArray[np.float64]) -> None:
        """Nothing is learnt: all is known beforehand."""
