"""The search itself: ask a strategy, evaluate, tell it; and say so where a budget cannot be met or changes nothing."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nas_edge import units
from nas_edge.errors import BudgetError, QuantityError
from nas_edge.progress import Progress, silent
from nas_edge.search.archive import Archive
from nas_edge.search.constraints import Constraint, describe
from nas_edge.search.extremes import extreme
from nas_edge.search.metrics import Metric
from nas_edge.search.pareto import pareto_front
from nas_edge.search.problem import Problem
from nas_edge.search.result import SearchResult, Slack
from nas_edge.search.strategies.base import make_strategy
from nas_edge.spaces import Population, Space

CANDIDATES = 64
SLACK_EVALUATIONS = 4000
PROGRESS_EVERY_S = 0.2


def search(
    space: Space,
    metrics: Mapping[str, Metric],
    constraints: Sequence[Constraint],
    *,
    objective: str = "accuracy",
    strategy: str = "auto",
    options: Mapping[str, Any] | object | None = None,
    evaluations: int = 50_000,
    seed: int = 0,
    start: Population | None = None,
    progress: Progress = silent,
) -> SearchResult:
    """Find the architecture with the best objective that meets all constraints.

    Args:
        space: where to search; restrict it to fix resolutions or genes.
        metrics: by name (`build_metrics`): of the objective, the constraints, and any others to be reported.
        constraints: any number.
        objective: the metric to be made best: greatest or least, as the metric says.
        strategy: a registered strategy, or "auto": every architecture of a space that has at most `evaluations`
            of them, else evolution.
        options: of the strategy: its dataclass, or a mapping.
        evaluations: most architectures whose objective is computed (a doubtful slack takes up to 4,000 more).
        seed: of all randomness; the same seed gives the same result.
        start: int8 [n, genes], architectures to begin with.
        progress: called a few times a second.

    Raises:
        BudgetError: no architecture meets the constraints; the least figure there is, or the nearest architecture.
        UnknownNameError: a metric, strategy or option. QuantityError: evaluations, seed or an option out of range.
        FormatError: a metric gives NaN.

    """
    began = time.perf_counter()
    if evaluations < 1:
        raise QuantityError(f"evaluations must be at least 1, not {evaluations}")
    if seed < 0:
        raise QuantityError(f"the seed must not be negative, not {seed}")
    problem = Problem(space, metrics, (objective,), tuple(constraints))
    known = _known(space, start)
    _refuse_impossible(problem, known, seed)
    if strategy == "auto":
        strategy = "exhaustive" if space.size() <= evaluations else "evolution"
    archive = Archive()
    if strategy != "exhaustive":
        evaluations = max(evaluations - len(known), 0)
    else:
        known = known[:0]
    trace = _run(problem, archive, strategy, options, evaluations, known, np.random.default_rng(seed), progress)
    if not len(archive.best(1)):
        raise BudgetError(_nearest(problem, archive))
    slack = _slack(problem, archive, seed, complete=strategy == "exhaustive")
    best = archive.best(CANDIDATES)
    front_metric, front = _front(problem, archive)
    return SearchResult(
        space=space,
        objective=objective,
        constraints=problem.constraints,
        best=archive.rows[best[0]],
        figures={name: float(problem.values(name, archive.rows[best[:1]])[0]) for name in metrics},
        candidates=archive.rows[best],
        front=front,
        front_metric=front_metric,
        front_figures={name: problem.values(name, front) for name in metrics},
        slack=slack,
        strategy=strategy,
        seed=seed,
        evaluations=len(archive.rows),
        wall_s=time.perf_counter() - began,
        trace=tuple(trace),
    )


def _known(space: Space, start: Population | None) -> Population:
    """Where to begin: what was given, the smallest and the largest, each once."""
    rows = np.stack([space.smallest(), space.largest()])
    if start is not None and len(start):
        rows = np.concatenate([space.repair(start), rows])
    _, first = np.unique(rows, axis=0, return_index=True)
    return rows[np.sort(first)]


def _run(
    problem: Problem,
    archive: Archive,
    strategy: str,
    options: Mapping[str, Any] | object | None,
    evaluations: int,
    known: Population,
    rng: np.random.Generator,
    progress: Progress,
) -> list[tuple[int, float]]:
    """Evaluate `known`, then what the strategy asks for, into the archive."""
    proposer = make_strategy(strategy, problem, rng, options)
    rows, done, best = known, 0, -np.inf
    trace: list[tuple[int, float]] = []
    sign = 1.0 if problem.metrics[problem.objectives[0]].maximise else -1.0
    shown = time.perf_counter()
    total = evaluations + len(known)
    while True:
        if len(rows):
            gains, excess = problem.gains(rows), problem.excess(rows)
            violation = np.maximum(excess, 0.0).sum(axis=1)
            archive.add(rows, gains[:, 0], excess)
            proposer.tell(rows, gains, violation)
            done += len(rows)
            best = max(best, float(np.max(gains[:, 0], where=violation <= 0, initial=-np.inf)))
            if np.isfinite(best):
                trace.append((done, sign * best))
        now = time.perf_counter()
        if now - shown >= PROGRESS_EVERY_S:
            shown = now
            progress(done, total, f"searching {problem.space.name}: {describe(problem.constraints)}")
        rows = proposer.ask(total - done) if done < total else rows[:0]
        if not len(rows):
            return trace


def _figure(metric: Metric, value: float) -> str:
    """A value as a person reads it."""
    if metric.unit == "ms":
        return units.format_ms(value)
    text = units.format_count(value) if abs(value) >= 1000 else f"{value:.4g}"
    return f"{text} {metric.unit}".rstrip()


def _refuse_impossible(problem: Problem, known: Population, seed: int) -> None:
    """Raise BudgetError where a single constraint is beyond every architecture."""
    if not problem.constraints or (problem.violation(known) <= 0).any():
        return
    for constraint in problem.constraints:
        metric = problem.metrics[constraint.metric]
        end = extreme(problem.space, constraint.metric, metric, least=constraint.upper, seed=seed)
        if constraint.excess(np.array([end.figure]))[0] > 0:
            most = "least" if constraint.upper else "greatest"
            raise BudgetError(
                f"{constraint.metric} {constraint.op} {_figure(metric, constraint.limit)} cannot be met: the {most} "
                f"{'' if end.exact else 'found '}in space {problem.space.name!r} is {_figure(metric, end.figure)}, "
                f"by {problem.space.to_json(end.arch)}"
            )


def _nearest(problem: Problem, archive: Archive) -> str:
    """What to say where each constraint can be met, but nothing that was found meets them all."""
    nearest = archive.nearest()
    row = archive.rows[nearest]
    broken = []
    for i, constraint in enumerate(problem.constraints):
        if archive.excess[nearest, i] > 0:
            metric = problem.metrics[constraint.metric]
            value = float(problem.values(constraint.metric, row[None])[0])
            wanted = f"{constraint.op} {_figure(metric, constraint.limit)} is wanted"
            off = f"{archive.excess[nearest, i]:.1%} off"
            broken.append(f"{constraint.metric} is {_figure(metric, value)} ({wanted}, {off})")
    return (
        f"none of {len(archive.rows)} architectures of {problem.space.name!r} meets all of "
        f"{describe(problem.constraints)}: the nearest, {problem.space.to_json(row)}, fails where {', '.join(broken)}"
    )


def _slack(problem: Problem, archive: Archive, seed: int, *, complete: bool) -> tuple[Slack, ...]:
    """Constraints without which nothing better is found; what such a look finds within them is kept too.

    No look is needed where the archive is `complete`.
    """
    found = []
    for i, constraint in enumerate(problem.constraints):
        best = int(archive.best(1)[0])
        others = np.delete(archive.excess, i, axis=1)
        beyond = (archive.excess[:, i] > 0) & (others <= 0).all(axis=1)
        if (archive.gain[beyond] > archive.gain[best]).any():
            continue
        if complete:
            value = problem.values(constraint.metric, archive.rows[best][None])
            found.append(Slack(constraint, float(value[0])))
            continue
        # Nothing better was met beyond the limit, but the search did not look there: look.
        lifted, look = problem.without([constraint]), Archive()
        known = archive.rows[archive.best(CANDIDATES)]
        known = np.concatenate([known, problem.space.largest()[None]])
        rng = np.random.default_rng([seed, i])
        _run(lifted, look, "evolution", None, SLACK_EVALUATIONS, known, rng, silent)
        archive.add(look.rows, look.gain, problem.excess(look.rows))
        top = int(look.best(1)[0])
        value = problem.values(constraint.metric, look.rows[top][None])
        if constraint.excess(value)[0] <= 0:
            found.append(Slack(constraint, float(value[0])))
    return tuple(found)


def _front(problem: Problem, archive: Archive) -> tuple[str, Population]:
    """Best objective for each figure of the first constraint; just the best where there is no constraint."""
    if not problem.constraints:
        return "", archive.rows[archive.best(1)]
    allowed = np.flatnonzero((archive.excess[:, 1:] <= 0).all(axis=1))
    front = pareto_front(archive.gain[allowed], archive.excess[allowed, 0])
    return problem.constraints[0].metric, archive.rows[allowed[front]]
