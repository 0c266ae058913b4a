"""The arrow back: candidates are measured on the devices, correct the predictors, and the search goes again.

A round searches with the point estimates, times the best candidates near the budgets in one sitting a device, and
recalibrates the predictors with what was measured. It ends when no search promises more than what has been measured
to fit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nas_edge.errors import BudgetError
from nas_edge.pipeline.searching.aims import Aim
from nas_edge.pipeline.searching.task import SearchTask
from nas_edge.progress import Progress, silent
from nas_edge.search.result import SearchResult
from nas_edge.spaces import Population

if TYPE_CHECKING:
    from nas_edge.profiling import Measurement

CANDIDATES = 7
# Of the limit, at which a front's best point is taken. The first lies beyond: where the predictor is too high there,
# only a measurement can tell.
_SHARES_OF_BUDGET = (1.025, 1.0, 0.985, 0.97, 0.95, 0.9, 0.85)
_LEAST_GAIN = 5e-4  # relative improvement that a further round must promise
_TIGHTER = 0.97

Measure = Callable[[Aim, Sequence[Population], Progress], "list[Measurement]"]
"""Times architectures on one target's device in one sitting."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """A measured architecture.

    Attributes:
        arch: int8 [genes].
        gain: its predicted objective, greater is better.
        measurements: by name of the target.

    """

    arch: Population
    gain: float
    measurements: Mapping[str, Measurement]

    def ms(self, name: str) -> float:
        """The protocol's estimator on one target."""
        measurement = self.measurements[name]
        return measurement.estimate_ms(measurement.protocol.statistic)

    def worst_share(self, limits: Mapping[str, float]) -> float:
        """Greatest 95 % upper limit over its budget: at most 1 where all are met."""
        return max(self.measurements[name].upper95_ms / limit for name, limit in limits.items())


@dataclass
class Verification:
    """The state of the loop.

    Attributes:
        aims: with predictors as corrected so far.
        limits: budgets in ms of the targets that are measured, by name.
        candidates: all that were measured.
        rounds: done.
        evaluations, search_s: of all searches.
        last: the latest search.

    """

    aims: tuple[Aim, ...]
    limits: Mapping[str, float]
    candidates: list[Candidate] = field(default_factory=list)
    rounds: int = 0
    evaluations: int = 0
    search_s: float = 0.0
    last: SearchResult | None = None

    def accepted(self) -> list[Candidate]:
        """Those whose 95 % upper limits meet the budgets, best objective first."""
        met = [candidate for candidate in self.candidates if candidate.worst_share(self.limits) <= 1]
        return sorted(met, key=lambda candidate: (-candidate.gain, candidate.worst_share(self.limits)))

    def nearest(self) -> Candidate | None:
        """That which misses its budgets by the least; None where nothing was measured."""
        return min(self.candidates, key=lambda candidate: candidate.worst_share(self.limits), default=None)

    def measured(self, arch: Population) -> bool:
        """Whether an architecture has been timed already."""
        return any(np.array_equal(candidate.arch, arch) for candidate in self.candidates)


def close_loop(task: SearchTask, measure: Measure, progress: Progress = silent) -> Verification:
    """Measure and search again until the best network that is measured to fit cannot be bettered.

    Args:
        task: with at least one target that is measured and has a latency budget.
        measure: times architectures in one sitting.
        progress: told about searches and measuring.

    Returns:
        Everything measured; nothing is `accepted` where nothing met the budgets within the rounds. Ctrl-C ends the
        loop early where something did.

    Raises:
        BudgetError: the predictors, as measurements corrected them, say that nothing can fit.

    """
    budgets = {aim.name: aim.budget.latency_ms for aim in task.aims if aim.bench is not None}
    limits = {name: limit for name, limit in budgets.items() if limit is not None}
    state = Verification(task.aims, limits)
    tight = dict(limits)
    try:
        for number in range(1, task.request.rounds + 1):
            if not _round(task, state, tight, measure, _in_round(progress, number, task.request.rounds)):
                break
    except KeyboardInterrupt:
        if not state.accepted():
            raise
    return state


def _round(
    task: SearchTask, state: Verification, tight: dict[str, float], measure: Measure, progress: Progress
) -> bool:
    """One search and one sitting on each device; false where there is nothing left to find."""
    metric_of = {aim.name: task.metric_of("latency", aim) for aim in task.aims}
    try:
        found = task.search(state.aims, {metric_of[name]: limit for name, limit in tight.items()}, progress)
    except BudgetError:
        if state.accepted():
            return False
        raise
    state.last = found
    state.evaluations += found.evaluations
    state.search_s += found.wall_s
    accepted = state.accepted()
    if accepted and _gain(task, state, found.best[None])[0] < accepted[0].gain + _LEAST_GAIN * abs(accepted[0].gain):
        return False
    chosen = [arch for arch in _candidates(found, tight, metric_of) if not state.measured(arch)]
    if not chosen:
        for name in tight:  # all that promised to fit has been measured and did not, by a little
            tight[name] *= _TIGHTER
        return not accepted
    rows = np.stack(chosen)
    gains = _gain(task, state, rows)
    measured = {aim.name: measure(aim, chosen, progress) for aim in state.aims if aim.name in state.limits}
    new = [
        Candidate(arch, float(gain), {name: found[i] for name, found in measured.items()})
        for i, (arch, gain) in enumerate(zip(chosen, gains, strict=True))
    ]
    state.candidates += new
    state.rounds += 1
    state.aims = tuple(recalibrated(task, aim, rows, new) if aim.name in measured else aim for aim in state.aims)
    for name, limit in state.limits.items():
        # An interval has a width: what is predicted to fit exactly is measured to miss by half of it.
        widths = [candidate.measurements[name].upper95_ms / candidate.ms(name) for candidate in new]
        tight[name] = limit / float(np.median(widths))
    return not found.interrupted


def recalibrated(task: SearchTask, aim: Aim, rows: Population, candidates: Sequence[Candidate]) -> Aim:
    """An aim whose predictors know what was measured of `rows`, int8 [n, genes], each in its own precision."""
    space = task.source.space
    measured_ms = np.array([candidate.ms(aim.name) for candidate in candidates])
    for number, precision in enumerate(task.precisions, 1):
        mine = rows[:, 0] == number if space.precisions else np.ones(len(rows), bool)
        if mine.any():
            predictor = aim.predictors[precision].recalibrated(space.of_base(rows[mine]), measured_ms[mine])
            aim = aim.with_predictor(precision, predictor)
    return aim


def _gain(task: SearchTask, state: Verification, rows: Population) -> NDArray[np.float64]:
    """The first objective of each row, greater is better, float64 [n]."""
    name = task.objectives[0]
    metric = task.metrics(state.aims)[name]
    values = np.asarray(metric(rows), np.float64)
    return values if metric.maximise else -values


def _candidates(found: SearchResult, tight: Mapping[str, float], metric_of: Mapping[str, str]) -> list[Population]:
    """The best, and points of the front about the limit and below: int8 [genes] each, distinct."""
    chosen = [found.best]
    along = next((name for name, metric in metric_of.items() if metric == found.front_metric and name in tight), None)
    if along is None:
        return chosen
    ms = found.front_figures[found.front_metric]
    for share in _SHARES_OF_BUDGET:
        below = np.flatnonzero(ms <= tight[along] * share)
        if len(below):
            arch = found.front[below[np.argmax(ms[below])]]
            if not any(np.array_equal(arch, other) for other in chosen):
                chosen.append(arch)
    return chosen[:CANDIDATES]


def _in_round(progress: Progress, number: int, rounds: int) -> Progress:
    def told(done: float, total: float, text: str) -> None:
        progress(done, total, f"round {number} of at most {rounds}: {text}")

    return told
