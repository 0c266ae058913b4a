"""Courses of `islands` and `lagrangian` whose limits are moved as they go."""

from __future__ import annotations

from nas_edge.search.problem import Problem
from nas_edge.search.separable import Slots
from nas_edge.search.strategies.islands import Islands
from nas_edge.search.strategies.knapsack import Knapsacks
from nas_edge.search.strategies.lagrangian import Lagrangian
from nas_edge.search.strategies.limits import slot_limit


class _Course:
    """Of what islands and prices have in common: their limits can be moved."""

    _slots: Slots
    _knapsacks: Knapsacks

    def move(self, problem: Problem) -> None:
        """Go on under the limits of this problem, which are on the same metrics."""
        limits = [slot_limit(self._slots, limit, problem.metrics[limit.metric]) for limit in problem.constraints]
        self._knapsacks.limit(limits)


class IslandCourse(_Course, Islands):
    """`Islands` under limits that move."""


class PriceCourse(_Course, Lagrangian):
    """`Lagrangian` under limits that move."""
