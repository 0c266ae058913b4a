"""Budgets that cannot be met: which, by how much, and the nearest architecture."""

from __future__ import annotations

import json

import numpy as np

from nas_edge import units
from nas_edge.errors import BudgetError
from nas_edge.search.archive import Archive
from nas_edge.search.constraints import Constraint
from nas_edge.search.extremes import extreme
from nas_edge.search.metrics import Metric
from nas_edge.search.problem import Problem
from nas_edge.spaces import Population

FAR = 9.0  # a relative excess that is easier to read as a multiple


def refuse_impossible(problem: Problem, known: Population, seed: int) -> None:
    """Raise BudgetError where a constraint is beyond every architecture, or two on one metric exclude each other.

    Args:
        problem: what is searched.
        known: int8 [n, genes], looked at first: where one meets all constraints there is nothing to refuse.
        seed: of the short search for a least figure that cannot be computed.

    """
    if not problem.constraints or (problem.violation(known) <= 0).any():
        return
    _refuse_empty_ranges(problem)
    for constraint in problem.constraints:
        metric = problem.metrics[constraint.metric]
        end = extreme(problem.space, constraint.metric, metric, least=constraint.upper, seed=seed)
        excess = float(constraint.excess(np.array([end.figure]))[0])
        if excess > 0:
            most = "least" if constraint.upper else "greatest"
            raise BudgetError(
                f"{bound(constraint, metric)} cannot be met: the {most} {'' if end.exact else 'found '}in space "
                f"{problem.space.name!r} is {figure(metric, end.figure)}, {_off(excess)}, by "
                f"{_arch(problem, end.arch)}"
            )


def _refuse_empty_ranges(problem: Problem) -> None:
    for least in problem.constraints:
        for most in problem.constraints:
            if least.metric == most.metric and most.upper and not least.upper and least.limit > most.limit:
                metric = problem.metrics[most.metric]
                apart = figure(metric, least.limit - most.limit)
                raise BudgetError(f"{bound(least, metric)} and {bound(most, metric)} exclude each other, by {apart}")


def refuse_contradiction(problem: Problem, archive: Archive) -> None:
    """Raise BudgetError where each constraint can be met alone, but nothing in the archive meets them all."""
    if len(archive.feasible):
        return
    nearest = archive.nearest()
    row = archive.rows[nearest]
    broken = []
    for i, constraint in enumerate(problem.constraints):
        if archive.excess[nearest, i] > 0:
            metric = problem.metrics[constraint.metric]
            value = float(problem.values(constraint.metric, row[None])[0])
            limit = f"{constraint.op} {figure(metric, constraint.limit)} is wanted"
            off = _off(float(archive.excess[nearest, i]))
            broken.append(f"{constraint.metric} is {figure(metric, value)} ({limit}, {off})")
    wanted = ", ".join(bound(constraint, problem.metrics[constraint.metric]) for constraint in problem.constraints)
    moved = "a limit at that figure is met" if len(broken) == 1 else "limits at those figures are met together"
    raise BudgetError(
        f"none of {len(archive.rows)} architectures of {problem.space.name!r} meets all of {wanted}: the nearest, "
        f"{_arch(problem, row)}, fails where {', '.join(broken)}; {moved}"
    )


def bound(constraint: Constraint, metric: Metric) -> str:
    """A constraint as a person reads it."""
    return f"{constraint.metric} {constraint.op} {figure(metric, constraint.limit)}"


def figure(metric: Metric, value: float) -> str:
    """A value as a person reads it."""
    if metric.unit == "ms":
        return units.format_ms(value)
    if metric.unit == "bytes":
        return units.format_bytes(value)
    # Tables that others made may hold percents.
    if metric.name == "accuracy" and not metric.unit and abs(value) <= 1:
        return f"{100 * value:.2f} %"
    text = units.format_count(value) if abs(value) >= 1000 else f"{value:.4g}"
    return f"{text} {metric.unit}".rstrip()


def _off(excess: float) -> str:
    """By how much a limit is missed, relative to it."""
    return f"{excess:.1%} off" if excess < FAR else f"{1 + excess:,.0f} times as much"


def _arch(problem: Problem, row: Population) -> str:
    return json.dumps(problem.space.to_json(row), separators=(",", ":"))
