"""Searching a tabular space: its figures as metrics, and how far what was found is from the best there is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from nas_edge.errors import BudgetError
from nas_edge.search.constraints import Constraint, describe
from nas_edge.search.metrics import FunctionMetric, Metric
from nas_edge.search.problem import Problem
from nas_edge.search.result import SearchResult
from nas_edge.spaces import Population
from nas_edge.spaces.tabular import TabularSpace


@dataclass(frozen=True, eq=False)
class Regret:
    """What was found beside the best architecture that the list has within the constraints.

    Attributes:
        objective: name of the metric.
        found, optimum: its figures.
        regret: how much worse than the optimum, in the metric's unit, 0 or more.
        rank: architectures within the constraints that are better.
        feasible: architectures within the constraints.
        arch: int8 [genes], the optimum, the first of several.

    """

    objective: str
    found: float
    optimum: float
    regret: float
    rank: int
    feasible: int
    arch: Population


def tabular_metrics(space: TabularSpace) -> dict[str, Metric]:
    """The metrics that a table holds, by name, straight from it; architectures that are not listed are an error."""
    return {
        figure.name: FunctionMetric(figure.name, figure.unit, partial(space.lookup, figure.name), figure.maximise)
        for figure in space.figures
    }


def tabular_objective(space: TabularSpace) -> str:
    """What to search for unless it is said: the first figure of which more is better, else the first."""
    return next((figure for figure in space.figures if figure.maximise), space.figures[0]).name


def tabular_regret(
    space: TabularSpace,
    metrics: Mapping[str, Metric],
    objective: str,
    constraints: tuple[Constraint, ...],
    found: float,
) -> Regret:
    """How far a figure of the objective is from the best in the table.

    Raises:
        BudgetError: nothing that is listed meets the constraints.

    """
    problem = Problem(space, metrics, (objective,), constraints)
    rows = np.flatnonzero(problem.violation(space.rows) <= 0)
    if not len(rows):
        raise BudgetError(f"none of {space.size()} architectures of {space.name!r} meets {describe(constraints)}")
    sign = 1.0 if metrics[objective].maximise else -1.0
    gain = sign * problem.values(objective, space.rows[rows])
    best = int(gain.argmax())
    regret = max(float(gain[best]) - sign * found, 0.0)
    rank = int((gain > sign * found).sum())
    return Regret(objective, found, float(sign * gain[best]), regret, rank, len(rows), space.rows[rows[best]])


def regret(result: SearchResult) -> Regret | None:
    """How far a result is from the known optimum; None where the space is no table."""
    space = result.space
    if not isinstance(space, TabularSpace):
        return None
    found = float(result.figures[result.objective])
    return tabular_regret(space, tabular_metrics(space), result.objective, tuple(result.constraints), found)
