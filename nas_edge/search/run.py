"""The search itself: ask a strategy, evaluate, tell it; and say so where a budget cannot be met or changes nothing."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas_edge.errors import QuantityError
from nas_edge.progress import Progress, silent
from nas_edge.search.archive import Archive
from nas_edge.search.checking import checked
from nas_edge.search.constraints import Constraint, describe, total_violation
from nas_edge.search.infeasible import refuse_contradiction, refuse_impossible
from nas_edge.search.journal import SearchJournal
from nas_edge.search.metrics import Metric
from nas_edge.search.pareto import knee, non_dominated, pareto_front
from nas_edge.search.problem import Problem
from nas_edge.search.result import SearchResult, Slack
from nas_edge.search.strategies.base import Strategy, make_strategy
from nas_edge.search.strategies.fitting import fitting_strategy
from nas_edge.search.strategies.moves import single_moves
from nas_edge.spaces import Population
from nas_edge.spaces.base import Space

CANDIDATES = 64
SLACK_EVALUATIONS = 4000
PROGRESS_EVERY_S = 0.2
SNAPSHOTS = 40  # of a front, on its way


def search(
    space: Space,
    metrics: Mapping[str, Metric],
    constraints: Sequence[Constraint],
    *,
    objective: str | Sequence[str] = "accuracy",
    strategy: str = "auto",
    options: Mapping[str, Any] | object | None = None,
    evaluations: int = 50_000,
    seed: int = 0,
    start: Population | None = None,
    journal: SearchJournal | None = None,
    look_for_slack: bool = True,
    progress: Progress = silent,
) -> SearchResult:
    """Find the architecture with the best objective that meets all constraints; a front for several objectives.

    Ctrl-C ends the search early with the best so far, if anything met the constraints by then.

    Args:
        space: where to search; restrict it to fix resolutions or genes.
        metrics: by name (`build_metrics`): of the objectives, the constraints, and any others to be reported.
        constraints: any number.
        objective: the metric to be made best: greatest or least, as the metric says. Several for a Pareto front.
        strategy: a registered strategy, or "auto": every architecture of a space that has at most `evaluations`
            of them; else what fits the problem (`fitting_strategy`).
        options: of the strategy: its dataclass, or a mapping.
        evaluations: most architectures whose objectives are computed (a doubtful slack takes up to 4,000 more).
        seed: of all randomness; the same seed gives the same result.
        start: int8 [n, genes], architectures to begin with.
        journal: figures known from a search that was cut, and where those of this one are kept.
        look_for_slack: whether to spend evaluations on budgets that may change nothing; not where strategies are
            compared at equal evaluations.
        progress: called a few times a second.

    Raises:
        BudgetError: no architecture meets the constraints; the least figure there is, or the nearest architecture.
        UnknownNameError: a metric, strategy or option. QuantityError: evaluations, seed or an option out of range.
        FormatError: a metric gives NaN, or the journal is of another course. StrategyError: the strategy proposes what
        is not in the space.

    """
    began = time.perf_counter()
    if evaluations < 1:
        raise QuantityError(f"evaluations must be at least 1, not {evaluations}")
    if seed < 0:
        raise QuantityError(f"the seed must not be negative, not {seed}")
    objectives = (objective,) if isinstance(objective, str) else tuple(objective)
    problem = Problem(space, metrics, objectives, tuple(constraints))
    known = _known(space, start)
    refuse_impossible(problem, known, seed)
    shown = _shown(problem)
    if strategy == "auto":
        strategy = "exhaustive" if space.size() <= evaluations else _fitting(shown, options)
    if strategy != "exhaustive":
        evaluations = max(evaluations - len(known), 0)
    else:
        known = known[:0]
    archive = Archive()
    proposer = make_strategy(strategy, shown, np.random.default_rng(seed), options)
    course = _run(problem, archive, strategy, proposer, evaluations, known, journal, progress)
    refuse_contradiction(problem, archive)
    complete = strategy == "exhaustive" and not course.interrupted
    unasked = course.interrupted or len(objectives) > 1 or not look_for_slack
    slack = () if unasked else _slack(problem, archive, seed, complete=complete)
    candidates, front_metric, front = _answer(problem, archive)
    return SearchResult(
        space=space,
        objectives=objectives,
        constraints=problem.constraints,
        best=candidates[0],
        figures={name: float(problem.values(name, candidates[:1])[0]) for name in metrics},
        candidates=candidates,
        front=front,
        front_metric=front_metric,
        front_figures={name: problem.values(name, front) for name in metrics},
        slack=slack,
        strategy=strategy,
        seed=seed,
        evaluations=len(archive.rows),
        wall_s=time.perf_counter() - began,
        trace=course.trace,
        interrupted=course.interrupted,
        fronts=_fronts(problem, archive) if len(objectives) > 1 else (),
    )


def _own_floors(problem: Problem) -> list[Constraint]:
    """Floors on what is made great anyway: they ask nothing more of a strategy, but few can search under them."""
    name = problem.objectives[0]
    if len(problem.objectives) > 1 or not problem.metrics[name].maximise:
        return []
    return [constraint for constraint in problem.constraints if constraint.metric == name and not constraint.upper]


def _shown(problem: Problem) -> Problem:
    """What a strategy is shown of a problem."""
    floors = _own_floors(problem)
    return problem.without(floors) if floors else problem


def _fitting(problem: Problem, options: Mapping[str, Any] | object | None) -> str:
    """The strategy for a problem; options without a strategy's name are evolution's, or NSGA-II's."""
    if not options:
        return fitting_strategy(problem)
    return "evolution" if len(problem.objectives) == 1 else "nsga2"


@dataclass(frozen=True)
class _Course:
    """(evaluations, best objective so far) wherever it became better, and whether it was ended by Ctrl-C."""

    trace: tuple[tuple[int, float], ...]
    interrupted: bool


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
    name: str,
    proposer: Strategy,
    evaluations: int,
    known: Population,
    journal: SearchJournal | None = None,
    progress: Progress = silent,
) -> _Course:
    """Evaluate `known`, then what the strategy asks for, into the archive."""
    trace: list[tuple[int, float]] = []
    try:
        _ask_and_tell(problem, archive, name, proposer, evaluations, known, journal, progress, trace)
    except BaseException as error:
        # A search that ends is soon done again; one that is cut must not lose what it has.
        if journal is not None:
            journal.save()
        if not isinstance(error, KeyboardInterrupt) or archive.empty or not len(archive.feasible):
            raise
        return _Course(tuple(trace), True)
    return _Course(tuple(trace), False)


def _ask_and_tell(
    problem: Problem,
    archive: Archive,
    name: str,
    proposer: Strategy,
    evaluations: int,
    known: Population,
    journal: SearchJournal | None,
    progress: Progress,
    trace: list[tuple[int, float]],
) -> None:
    """The loop; `trace` is filled as it goes."""
    rows, done, best = known, 0, -np.inf
    floors = _own_floors(problem)
    asked = [constraint not in floors for constraint in problem.constraints]
    sign = 1.0 if problem.metrics[problem.objectives[0]].maximise else -1.0
    shown = time.perf_counter()
    total = evaluations + len(known)
    while True:
        if len(rows):
            gains, excess = _evaluated(problem, rows, journal)
            violation = total_violation(excess)
            archive.add(rows, gains, excess)
            proposer.tell(rows, gains, total_violation(excess[:, asked]) if floors else violation)
            allowed = np.where(violation <= 0, gains[:, 0], -np.inf)
            so_far = np.maximum.accumulate(np.append(best, allowed))
            rises = np.flatnonzero(so_far[1:] > so_far[:-1])
            trace += [(done + int(i) + 1, sign * float(allowed[i])) for i in rises]
            done, best = done + len(rows), float(so_far[-1])
        now = time.perf_counter()
        if now - shown >= PROGRESS_EVERY_S:
            shown = now
            progress(done, total, f"searching {problem.space.name}: {describe(problem.constraints)}")
        rows = checked(problem.space, name, proposer.ask(total - done), total - done) if done < total else rows[:0]
        if not len(rows):
            return


def _evaluated(
    problem: Problem, rows: Population, journal: SearchJournal | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Gains [n, objectives] and excess [n, constraints], from the journal where it has them."""
    recalled = journal.recall(rows) if journal is not None else None
    if recalled is not None:
        return recalled
    gains, excess = problem.gains(rows), problem.excess(rows)
    if journal is not None:
        journal.record(rows, gains, excess)
    return gains, excess


def _slack(problem: Problem, archive: Archive, seed: int, *, complete: bool) -> tuple[Slack, ...]:
    """Constraints without which nothing better is found; what such a look finds within them is kept too.

    No look is needed where the archive is `complete`.
    """
    found = []
    for i, constraint in enumerate(problem.constraints):
        if constraint.metric in problem.objectives:
            continue  # the best figure there is says nothing of its limit
        best = int(archive.best(1)[0])
        others = np.delete(archive.excess, i, axis=1)
        beyond = (archive.excess[:, i] > 0) & (others <= 0).all(axis=1)
        if (archive.gain[beyond] > archive.gain[best]).any():
            continue
        if complete:
            value = problem.values(constraint.metric, archive.rows[best][None])
            found.append(Slack(constraint, float(value[0])))
            continue
        # Nothing better was met beyond the limit, but the search did not look there. Mostly a step is enough.
        lifted, look = problem.without([constraint]), Archive()
        shown = _shown(lifted)
        if _better_by_a_step(problem, lifted, archive.rows[best], archive.gain[best], constraint):
            continue
        known = archive.rows[archive.best(CANDIDATES)]
        known = np.concatenate([known, problem.space.largest()[None]])
        name = fitting_strategy(shown)
        proposer = make_strategy(name, shown, np.random.default_rng([seed, i]))
        if _run(lifted, look, name, proposer, SLACK_EVALUATIONS, known).interrupted:
            break
        archive.add(look.rows, look.gains, problem.excess(look.rows))
        top = int(look.best(1)[0])
        # Of several that are as good the one that was found says from where on the limit changes nothing.
        as_good = look.gain[top] <= archive.gain[best]
        value = problem.values(constraint.metric, (archive.rows[best] if as_good else look.rows[top])[None])
        if constraint.excess(value)[0] <= 0:
            found.append(Slack(constraint, float(value[0])))
    return tuple(found)


def _better_by_a_step(problem: Problem, lifted: Problem, best: Population, gain: float, constraint: Constraint) -> bool:
    """Whether one change of a network (int8 [genes]) makes it better beyond a limit, and within all others."""
    around, _ = single_moves(problem.space, best[None])
    beyond = constraint.excess(problem.values(constraint.metric, around)) > 0
    around = around[beyond & (lifted.violation(around) <= 0)]
    return len(around) > 0 and bool(lifted.gains(around)[:, 0].max() > gain)


def _answer(problem: Problem, archive: Archive) -> tuple[Population, str, Population]:
    """Candidates (the best first), the metric that the front is along, and the front in its ascending order."""
    if len(problem.objectives) == 1:
        # Looks for slack meet some of the best again.
        rows = archive.rows[archive.best(2 * CANDIDATES)]
        _, first = np.unique(rows, axis=0, return_index=True)
        return rows[np.sort(first)[:CANDIDATES]], *_front(problem, archive)
    feasible = archive.feasible
    gains = archive.gains[feasible]
    chosen = non_dominated(gains)
    at = knee(gains[chosen])
    along = problem.objectives[1]
    rows = archive.rows[feasible[chosen]]
    ascending = np.argsort(problem.values(along, rows), kind="stable")
    others = np.delete(np.arange(len(chosen)), at)[: CANDIDATES - 1]
    return rows[[at, *others]], along, rows[ascending]


def _fronts(problem: Problem, archive: Archive) -> tuple[tuple[int, NDArray[np.float64]], ...]:
    """Non-dominated objectives after ever more evaluations, (evaluations, [points, objectives]) each."""
    feasible, gains = archive.feasible, archive.gains
    signs = np.array([1.0 if problem.metrics[name].maximise else -1.0 for name in problem.objectives])
    ends = np.unique(np.geomspace(1, len(archive.rows), SNAPSHOTS).round().astype(int))
    found, front, before = [], gains[:0], 0
    for end in ends:
        front = np.concatenate([front, gains[feasible[(feasible >= before) & (feasible < end)]]])
        front = front[non_dominated(front)] if len(front) else front
        found.append((int(end), front * signs))
        before = end
    return tuple(found)


def _front(problem: Problem, archive: Archive) -> tuple[str, Population]:
    """Best objective for each figure of the first constraint; just the best where there is no constraint."""
    if not problem.constraints:
        return "", archive.rows[archive.best(1)]
    allowed = np.flatnonzero((archive.excess[:, 1:] <= 0).all(axis=1))
    front = pareto_front(archive.gain[allowed], archive.excess[allowed, 0])
    return problem.constraints[0].metric, archive.rows[allowed[front]]
