"""Search of sums over blocks: what prices on the limits choose, many times over. The default where all is such a sum.

Where the objective and all limits are (rising functions of) sums over blocks, each width and resolution is a
multiple-choice knapsack. Its Lagrangian relaxation prices the limits, and every block then chooses by itself (Fisher,
1981); what room is left is used greedily (see `knapsack`). How near that comes to the optimum is chance: so it is asked
again with noise on the values (perturb and maximise, Papandreou and Yuille, 2011), most often at the widths and
resolutions that gave the best. It proves nothing; `exact` does, and needs scipy. It looks inside the metrics, searches
a trained supernet through such a surrogate and trains nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas_edge.errors import QuantityError, SpaceError
from nas_edge.search.problem import Problem
from nas_edge.search.separable import Slots
from nas_edge.search.strategies.base import register_strategy
from nas_edge.search.strategies.blockwise import Blockwise, by_slot, log_uniform
from nas_edge.search.strategies.visited import Visited
from nas_edge.spaces import Population

Float = NDArray[np.float64]
Index = NDArray[np.intp]

ATTEMPTS = 4  # generations of nothing but known architectures before random ones are drawn


@dataclass(frozen=True)
class LagrangianOptions:
    """Options of the search by prices.

    Attributes:
        children: architectures of a generation.
        generations: after which it ends; 0 for as many as the evaluations allow.
        kept: share of the widths and resolutions that go on after each generation, at least one.
        least_noise, most_noise: of values, in standard deviations of them.

    """

    children: int = 2000
    generations: int = 16
    kept: float = 0.7
    least_noise: float = 0.003
    most_noise: float = 1.0

    def __post_init__(self) -> None:
        if self.children < 1 or self.generations < 0:
            raise QuantityError("options must keep children at least 1 and generations at least 0")
        if not 0 < self.kept <= 1 or not 0 < self.least_noise <= self.most_noise:
            raise QuantityError("options must keep kept above 0, at most 1, and 0 < least_noise <= most_noise")


def suits_lagrangian(problem: Problem) -> bool:
    """Whether objective and limits are such sums."""
    return not _lacking(problem)


def _lacking(problem: Problem) -> str:
    """What a problem lacks for this strategy, in words; empty where it lacks nothing."""
    if len(problem.objectives) > 1:
        return "there are several objectives"
    if lacking := Blockwise.lacking(problem):
        return lacking
    name = problem.objectives[0]
    additive = by_slot(Slots.of(problem.space), problem.metrics[name]) is not None
    return "" if additive else f"metric {name!r} is no sum over blocks"


@register_strategy("lagrangian", LagrangianOptions)
class Lagrangian:
    """Perturbed knapsacks at every width and resolution, then at the best of them.

    Raises:
        SpaceError: what the problem lacks for it.

    """

    def __init__(self, problem: Problem, options: LagrangianOptions, rng: np.random.Generator) -> None:
        lacking = _lacking(problem)
        if lacking:
            raise SpaceError(f"strategy 'lagrangian' cannot search this: {lacking}; use --strategy evolution")
        self._options, self._rng = options, rng
        self._blocks = Blockwise.of(problem)
        self._slots, self._knapsacks = self._blocks.slots, self._blocks.knapsacks()
        metric = problem.metrics[problem.objectives[0]]
        objective = by_slot(self._slots, metric)
        assert objective is not None
        each = objective.each if metric.maximise else -objective.each
        self._spread = each.std(axis=(0, 1)).astype(np.float32) + np.float32(1e-30)
        self._values = each.astype(np.float32)
        self._blocks.hide_repeated(self._values)
        self._visited = Visited(problem.space, rng)
        self._best: Float = np.full(len(self._slots.outer), -np.inf)
        self._generation = 0

    def ask(self, limit: int) -> Population:
        """The next generation."""
        n = min(limit, self._options.children)
        for _ in range(ATTEMPTS):
            if self._options.generations and self._generation == self._options.generations:
                return self._visited.sample(0)
            outer = self._promising()
            self._generation += 1
            rows = self._visited.fresh(self._filled(outer[np.arange(n) % len(outer)]))
            if len(rows):
                return rows
        return self._visited.sample(n)

    def tell(self, population: Population, objectives: Float, violation: Float) -> None:
        """The best at each width and resolution."""
        self._visited.add(population)
        within = violation <= 0
        np.maximum.at(self._best, self._slots.outer_of(population[within]), objectives[within, 0])

    def _promising(self) -> Index:
        """The best widths and resolutions, ever fewer."""
        count = max(1, round(len(self._best) * self._options.kept**self._generation))
        return np.argsort(-self._best, kind="stable")[:count]

    def _filled(self, outer: Index) -> Population:
        """Solutions of one knapsack for each width and resolution in `outer` [n], those within all limits."""
        options, n = self._options, len(outer)
        spread = self._spread[outer]
        noise = log_uniform(options.least_noise, options.most_noise, n, self._rng)
        values = self._values[:, :, outer]
        values += self._rng.standard_normal(values.shape, np.float32) * (spread * noise)
        filled = self._knapsacks.solve(values, np.zeros(values.shape[1:], np.float32), spread, outer)
        return self._blocks.fitting(outer, filled)
