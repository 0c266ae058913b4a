"""The best that there is, where it can be known: by listing the space, or by an integer program."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from nas_edge.errors import MissingExtraError, SpaceError
from nas_edge.search.constraints import Constraint
from nas_edge.search.infeasible import refuse_impossible
from nas_edge.search.problem import Problem

LISTED_UP_TO = 1_000_000
_BOUND_LIMIT_S = 60.0
_CHUNK = 100_000


@dataclass(frozen=True)
class KnownOptimum:
    """How good the objective can be within a budget.

    Attributes:
        value: in the metric's unit.
        exact: attained; otherwise nothing is better than it.
        how: "listed" or "integer program".

    """

    value: float
    exact: bool
    how: str


def known_optimum(problem: Problem) -> KnownOptimum | None:
    """The optimum of the first objective; None where the space is too large to list and the objective not additive."""
    if problem.space.size() <= LISTED_UP_TO:
        return _listed(problem)
    from nas_edge.search.optimum import upper_bound

    try:
        bound = upper_bound(problem, _BOUND_LIMIT_S)
    except (SpaceError, MissingExtraError):
        return None
    return KnownOptimum(bound.value, bound.exact, "integer program") if np.isfinite(bound.value) else None


def _listed(problem: Problem) -> KnownOptimum | None:
    rows, best = problem.space.enumerate(LISTED_UP_TO), -np.inf
    for start in range(0, len(rows), _CHUNK):
        part = rows[start : start + _CHUNK]
        part = part[problem.violation(part) <= 0]
        if len(part):
            best = max(best, float(problem.gains(part)[:, 0].max()))
    sign = 1.0 if problem.metrics[problem.objectives[0]].maximise else -1.0
    return KnownOptimum(sign * best, True, "listed") if np.isfinite(best) else None


def refuse_hopeless(problem: Problem, budgets: Mapping[str, tuple[Constraint, ...]], seed: int) -> None:
    """Raise BudgetError where a budget is beyond every architecture."""
    known = np.stack([problem.space.smallest(), problem.space.largest()])
    for constraints in budgets.values():
        refuse_impossible(Problem(problem.space, problem.metrics, problem.objectives, constraints), known, seed)
