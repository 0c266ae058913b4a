"""Climbs side by side: each from one architecture to better ones near it, by combinations of small changes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nas_edge.search.constraints import order
from nas_edge.search.problem import Problem
from nas_edge.search.strategies.combinations import Steps, combined
from nas_edge.search.strategies.linear import LinearModel
from nas_edge.search.strategies.moves import Moves
from nas_edge.search.strategies.visited import Visited
from nas_edge.spaces import Population

Float = NDArray[np.float64]


class Climbs:
    """Where each climb stands.

    Attributes:
        rows: int8 [climbs, genes].
        gain, violation: float64 [climbs].
        failures: [climbs], rounds since a climb last went higher.

    """

    def __init__(
        self, problem: Problem, model: LinearModel, visited: Visited, neighbours: int, counts: tuple[int, ...]
    ) -> None:
        """No climbs yet.

        Args:
            problem: to be solved.
            model: that learns elsewhere what is told.
            visited: what was evaluated already.
            neighbours: of an architecture that the model looks at.
            counts: combinations of one, two, three ... changes that a climb tries in a round.

        """
        self._problem, self._model, self._visited = problem, model, visited
        self._neighbours, self._counts = neighbours, counts
        self._moves = Moves.of(problem.space, both=True)
        self.rows = np.zeros((0, len(problem.space.genes)), np.int8)
        self.gain, self.violation = np.zeros(0), np.zeros(0)
        self.failures = np.zeros(0, np.intp)

    def __len__(self) -> int:
        return len(self.rows)

    def add(self, rows: Population, gain: Float, violation: Float) -> None:
        """Climb from these as well."""
        self.rows = np.concatenate([self.rows, rows])
        self.gain, self.violation = np.concatenate([self.gain, gain]), np.concatenate([self.violation, violation])
        self.failures = np.concatenate([self.failures, np.zeros(len(rows), np.intp)])

    def drop(self, which: NDArray[np.bool_]) -> None:
        """End these climbs."""
        self.rows, self.gain, self.violation = self.rows[~which], self.gain[~which], self.violation[~which]
        self.failures = self.failures[~which]

    def propose(self) -> tuple[Population, NDArray[np.intp]]:
        """Combinations of changes that promise most, int8 [n, genes], and the climb that each is of."""
        problem = self._problem
        if not len(self):
            return self.rows, np.zeros(0, np.intp)
        moves = self._moves
        possible = moves.possible(problem.space, self.rows)
        # The possible moves of each row first, as many columns as the row with the most needs.
        which = np.argsort(~possible, axis=1, kind="stable")[:, : possible.sum(axis=1).max()]
        possible = np.take_along_axis(possible, which, axis=1)
        moved = moves.apply(self.rows, which)
        weights = self._model.around(self.rows, self.gain, self._neighbours)
        gains = self._model.differences(weights, self.rows, moved)
        start = problem.excess(self.rows)
        costs = np.zeros((*possible.shape, start.shape[1]))
        costs[possible] = problem.excess(moved[possible]) - start[np.nonzero(possible)[0]]
        steps = Steps(self.rows, moved, possible, gains, costs, -start, moves.unit[which])
        rows, climb = combined(steps, self._counts, self._visited.new)
        # Two changes may not go together: a list of architectures may lack what they make.
        listed = problem.space.is_valid(rows)
        rows, climb = rows[listed], climb[listed]
        # The sum of single costs is not always the cost of all together.
        within = problem.violation(rows) <= self.violation[climb]
        return rows[within], climb[within]

    def move(self, population: Population, climb: NDArray[np.intp], gain: Float, violation: Float) -> None:
        """Each climb goes to the best of its own where that is better.

        Args:
            population: int8 [n, genes], what was evaluated.
            climb: [n], the climb that each is of.
            gain: float64 [n].
            violation: float64 [n].

        """
        self.failures += 1
        best_first = order(gain, violation)
        mine, first = np.unique(climb[best_first], return_index=True)
        best = best_first[first]
        equal = violation[best] == self.violation[mine]
        higher = (violation[best] < self.violation[mine]) | (equal & (gain[best] > self.gain[mine]))
        mine, best = mine[higher], best[higher]
        self.rows[mine], self.gain[mine], self.violation[mine] = population[best], gain[best], violation[best]
        self.failures[mine] = 0
