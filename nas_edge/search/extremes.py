"""The least and greatest figure that a space allows for a metric, and the architecture that has it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nas_edge.search.checking import checked
from nas_edge.search.constraints import Constraint
from nas_edge.search.metrics import Metric
from nas_edge.search.problem import Problem
from nas_edge.search.separable import separable_extreme
from nas_edge.search.strategies.base import make_strategy
from nas_edge.search.strategies.fitting import fitting_strategy
from nas_edge.spaces import Population, Space

EVALUATIONS = 4000
LISTED = 20_000  # architectures of a space that are all looked at


@dataclass(frozen=True, eq=False)
class Extreme:
    """The least or greatest figure.

    Attributes:
        figure: in the metric's unit.
        arch: int8 [genes].
        exact: proven; otherwise the best of a short search.

    """

    figure: float
    arch: Population
    exact: bool


def extreme(space: Space, name: str, metric: Metric, *, least: bool, seed: int = 0) -> Extreme:
    """The least (or greatest) figure: exact where the space is small or the metric rises with a sum over terms.

    Otherwise it is the best of a short search.
    """
    if metric.monotone is not None:
        arch = separable_extreme(space, metric.monotone.costs, least=least)
        if arch is not None:
            return Extreme(float(metric(arch[None])[0]), arch, True)
    if space.size() <= LISTED:
        rows = space.enumerate(LISTED)
        figures = metric(rows)
        best = int(np.argmin(figures) if least else np.argmax(figures))
        return Extreme(float(figures[best]), rows[best], True)
    constraint = Constraint(name, "<=" if least else ">=", 1.0)
    problem = Problem(space, {name: metric}, (name,), ())
    sign = -1.0 if constraint.upper else 1.0
    chosen = fitting_strategy(problem)
    strategy = make_strategy(chosen, problem, np.random.default_rng(seed))
    arch, figure = space.smallest() if least else space.largest(), np.nan
    rows, used = np.stack([space.smallest(), space.largest()]), 0
    while len(rows):
        values = problem.values(name, rows)
        best = int(np.argmax(sign * values))
        if not sign * values[best] <= sign * figure:
            arch, figure = rows[best], float(values[best])
        strategy.tell(rows, sign * values[:, None], np.zeros(len(rows)))
        used += len(rows)
        left = EVALUATIONS - used
        rows = checked(space, chosen, strategy.ask(left), left) if left > 0 else rows[:0]
    return Extreme(figure, arch, False)
