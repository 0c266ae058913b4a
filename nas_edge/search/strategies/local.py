"""Local search with restarts (White et al., "Exploring the Loss Landscape in Neural Architecture Search", 2021; Den
Ottelander et al., "Local Search is a Remarkably Strong Baseline for Neural Architecture Search", 2021).

Neighbours of an architecture (one gene or one stage's depth changed) are evaluated in random order, some at a time; the
best of such a batch becomes the current one where it is better. Where no neighbour is, the climb starts again: from a
random architecture, as in these papers, or from the best of all with a few genes changed (iterated local search,
Lourenço et al., 2003), which a budget makes the better choice: good networks under a limit are two changes apart, one
that costs and one that saves. Several climb side by side, so that arrays are long. Neighbours that break limits further
than the current one are never evaluated. It searches a trained supernet through a surrogate; the papers looked
benchmarks up.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas_edge.errors import QuantityError
from nas_edge.search.constraints import order
from nas_edge.search.problem import Problem
from nas_edge.search.strategies.base import register_strategy
from nas_edge.search.strategies.moves import single_moves
from nas_edge.search.strategies.variants import spread
from nas_edge.search.strategies.visited import Visited
from nas_edge.spaces import Population

Float = NDArray[np.float64]

RESTART_ATTEMPTS = 8  # places to start from that are compared before anything is spent


@dataclass(frozen=True)
class LocalOptions:
    """Options of local search.

    Attributes:
        climbers: climbs side by side.
        initial: random architectures at the start; the climbs begin at the best of them.
        batch: neighbours evaluated at once in each climb; the best of them counts. 1 is "first improvement", a batch as
            large as a neighbourhood "best improvement".
        kicked_genes: expected number of genes of the best that are drawn anew for a restart.
        random_restarts: share of restarts from random architectures.

    """

    climbers: int = 4
    initial: int = 200
    batch: int = 20
    kicked_genes: float = 4.0
    random_restarts: float = 0.1

    def __post_init__(self) -> None:
        for name in ("climbers", "initial", "batch"):
            if getattr(self, name) < 1:
                raise QuantityError(f"option {name} must be at least 1, not {getattr(self, name)}")
        if not self.kicked_genes > 0 or not 0 <= self.random_restarts <= 1:
            raise QuantityError("options must keep kicked_genes > 0 and random_restarts in 0 to 1")


@register_strategy("local", LocalOptions)
class LocalSearch:
    """Where each climb stands (nowhere: violation infinite), its untried neighbours, and the best of all."""

    def __init__(self, problem: Problem, options: LocalOptions, rng: np.random.Generator) -> None:
        self._problem, self._options, self._rng = problem, options, rng
        self._visited = Visited(problem.space, rng)
        nothing = np.zeros((0, len(problem.space.genes)), np.int8)
        self._rows, self._gain, self._violation = nothing, np.zeros(0), np.zeros(0)
        self._untried: list[Population] = []
        self._asked, self._climber = nothing, np.zeros(0, np.intp)
        self._best: tuple[Population, float, float] | None = None
        self._begun = False

    def ask(self, limit: int) -> Population:
        """Untried neighbours of where each climb stands, or where it starts again."""
        if not self._begun:
            self._begun = True
            return self._visited.fresh(spread(self._problem.space, min(limit, self._options.initial), self._rng))
        for stuck in [c for c, untried in enumerate(self._untried) if not len(untried)]:
            self._violation[stuck], self._gain[stuck] = np.inf, -np.inf
            self._untried[stuck] = self._restart()
        batches = [untried[: self._options.batch] for untried in self._untried]
        self._untried = [untried[self._options.batch :] for untried in self._untried]
        rows = np.concatenate(batches)
        climber = np.repeat(np.arange(len(batches)), [len(batch) for batch in batches])
        # Climbs may have neighbours in common.
        new = self._visited.new(rows)[:limit]
        self._asked, self._climber = rows[new], climber[new]
        return self._asked if len(new) else self._visited.sample(min(limit, self._options.batch))

    def tell(self, population: Population, objectives: Float, violation: Float) -> None:
        """Each climb moves where it is better; what was not asked for is where climbs may begin."""
        if not len(population):
            return
        self._visited.add(population)
        gain = objectives[:, 0]
        best_first = order(gain, violation)
        top = int(best_first[0])
        if self._best is None or (violation[top], -gain[top]) < (self._best[2], -self._best[1]):
            self._best = population[top], float(gain[top]), float(violation[top])
        if not np.array_equal(population, self._asked):
            self._begin(population, gain, violation)
            return
        climber, first = np.unique(self._climber[best_first], return_index=True)
        best = best_first[first]
        more = (violation[best] == self._violation[climber]) & (gain[best] > self._gain[climber])
        moves = (violation[best] < self._violation[climber]) | more
        self._move(climber[moves], population[best[moves]], gain[best[moves]], violation[best[moves]])

    def _begin(self, rows: Population, gain: Float, violation: Float) -> None:
        """Climb from the best of these and of where the climbs stand."""
        rows = np.concatenate([self._rows, rows])
        gain, violation = np.concatenate([self._gain, gain]), np.concatenate([self._violation, violation])
        chosen = order(gain, violation)[: self._options.climbers]
        self._rows, self._gain, self._violation = rows[chosen], gain[chosen], violation[chosen]
        self._untried = [rows[:0]] * len(chosen)
        self._move(np.arange(len(chosen)), self._rows, self._gain, self._violation)

    def _move(self, climber: NDArray[np.intp], rows: Population, gain: Float, violation: Float) -> None:
        """Stand on these and look around: at what is new and does not break the limits further, in random order."""
        if not len(climber):
            return
        self._rows[climber], self._gain[climber], self._violation[climber] = rows, gain, violation
        around, parent = single_moves(self._problem.space, rows)
        shuffled = self._rng.permutation(self._visited.new(around))
        within = self._problem.violation(around[shuffled]) <= violation[parent[shuffled]]
        around, parent = around[shuffled[within]], parent[shuffled[within]]
        for i, c in enumerate(climber):
            self._untried[c] = around[parent == i]

    def _restart(self) -> Population:
        """One architecture: the best one kicked, or a random one; of several such that which breaks limits least."""
        space, best = self._problem.space, self._best
        if best is None or self._rng.random() < self._options.random_restarts:
            rows = spread(space, RESTART_ATTEMPTS, self._rng)
        else:
            rate = min(0.5, self._options.kicked_genes / len(space.genes))
            rows = space.mutate(np.repeat(best[0][None], RESTART_ATTEMPTS, axis=0), self._rng, rate)
        fresh = self._visited.fresh(rows)
        return fresh[self._problem.violation(fresh).argsort(kind="stable")[:1]]
