"""Search: the most accurate network within the budgets; measured on the devices that can be reached."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from nas_edge.errors import BudgetError, ConfigError, FormatError, NasEdgeError
from nas_edge.pipeline.running.directory import run_path, writing
from nas_edge.pipeline.searching.aims import Aim
from nas_edge.pipeline.searching.answer import report_of, slack_notes
from nas_edge.pipeline.searching.course import Chosen, Course
from nas_edge.pipeline.searching.figures import AccuracyFigure, FrontPoint
from nas_edge.pipeline.searching.report import SearchReport
from nas_edge.pipeline.searching.request import SearchRequest
from nas_edge.pipeline.searching.source import is_table
from nas_edge.pipeline.searching.state import SearchState
from nas_edge.pipeline.searching.task import SearchTask, prepare
from nas_edge.pipeline.searching.writing import write_run
from nas_edge.progress import Progress, silent
from nas_edge.search.journal import SearchJournal
from nas_edge.spaces import Population
from nas_edge.units import format_ms

if TYPE_CHECKING:
    from nas_edge.pipeline.searching.confirming import Confirmed
    from nas_edge.pipeline.searching.tabular import TabularReport
    from nas_edge.pipeline.searching.verification import Verification
    from nas_edge.profiling import Measurement, Protocol
    from nas_edge.search.result import SearchResult
    from nas_edge.spreading import Spread

_CANDIDATES_LIMIT_S, _CHOSEN_LIMIT_S = 15.0, 20.0
_MEASURED_POINTS = 9  # of a front
_CONFIRMED = 4  # accepted candidates whose own file is tried


def search_flow(
    request: SearchRequest, progress: Progress = silent, spread: Spread | None = None
) -> SearchReport | TabularReport:
    """Search, verify where that is wanted and possible, and write the run's directory.

    A run that was cut leaves `<run>.unfinished`; the same request with the same directory goes on from there.

    Args:
        request: what is searched.
        progress: told how far it is.
        spread: over what true evaluations are spread, None for this machine's cores; the result is the same.

    Raises:
        ConfigError: no budget, options that exclude each other, an unwritable directory. UnknownNameError: no such
        target, bundle, strategy or metric. BudgetError: nothing in the space meets the budgets. DeviceError,
        MeasurementError: it was to be verified and cannot be. SpaceError: resolutions or genes that the space lacks.

    """
    if spread is not None and not request.evaluate:
        raise ConfigError("--workers and --cluster spread true evaluations: they go with --evaluate")
    if is_table(request.space):
        from nas_edge.pipeline.searching.tabular import search_table

        return search_table(request, progress)
    begun = time.monotonic()
    task = prepare(request, progress)
    path = run_path(request.out, task.aims[0].target.name, resumed=True)
    state = SearchState(path)
    try:
        state.begin(replace(request, out=path))
        if request.evaluate:
            from nas_edge.pipeline.searching.refining import refinable

            task = refinable(task, progress)
        course = Course([*task.source.notes, *_notes(task)])
        try:
            if request.evaluate:
                from nas_edge.pipeline.searching.refining import refine

                task, note = refine(task, state, progress, spread)
                course.notes.append(note)
            if task.verified:
                chosen = _verified(task, state, course, progress)
            else:
                chosen = _predicted(task, course, progress, _journal(task, state, course))
            chosen = _counted(task, chosen, course, progress)
        except KeyboardInterrupt:
            if not state.worthwhile:
                raise
            chosen = _so_far(task, course, progress)
        report = report_of(task, path, chosen, course)
        with writing(path, over_interrupted=True) as directory:
            write_run(task, report, course.last, directory, time.monotonic() - begun)
    except NasEdgeError as error:
        if state.found and isinstance(error, FormatError):
            raise  # what is damaged is named, and the rest is still worth something
        # A mistake is the same mistake when it is made again.
        if not state.worthwhile or error.exit_code != 1:
            state.finish()
            raise
        raise type(error)(f"{error}; nothing measured is lost: nas-edge search --resume {path}") from error
    except BaseException:
        if not state.worthwhile:
            state.finish()
        raise
    finally:
        for bench in {id(aim.bench): aim.bench for aim in task.aims if aim.bench is not None}.values():
            bench.close()
    if not report.interrupted:
        state.finish()
    return report


def _notes(task: SearchTask) -> list[str]:
    """What the targets have to say, each with its name where there are several."""
    several = len(task.aims) > 1
    return [f"{aim.name}: {note}" if several else note for aim in task.aims for note in aim.notes]


# Without a device ------------------------------------------------------------------------------------------------


def _predicted(task: SearchTask, course: Course, progress: Progress, journal: SearchJournal | None = None) -> Chosen:
    request = task.request
    result = course.count(task.search(progress=progress, journal=journal))
    course.notes += slack_notes(task, result)
    if request.pareto:
        course.front = _front(result, [{}] * len(result.front))
    return Chosen(result.best, AccuracyFigure(result.figures["accuracy"], proxy=task.source.proxy))


def _so_far(task: SearchTask, course: Course, progress: Progress) -> Chosen:
    """Interrupted while something was measured: the best by what is predicted, within its bounds; it takes no time."""
    course.interrupted = True
    unmeasured = replace(task, aims=tuple(replace(aim, bench=None) for aim in task.aims))
    try:
        return _predicted(unmeasured, course, progress)
    except BudgetError:
        raise KeyboardInterrupt from None  # what was measured is kept, and may still show that it can be met


def _journal(task: SearchTask, state: SearchState, course: Course) -> SearchJournal:
    """What was evaluated before the search was cut; nothing where that would be another search by now."""
    path, identity = state.path("search"), task.identity()
    try:
        return SearchJournal(path, identity)
    except (ConfigError, FormatError):
        shutil.rmtree(path, ignore_errors=True)
        course.notes.append(
            "what was kept of a search that was cut is damaged, or of other options, tables or predictors: searched "
            "from the start"
        )
        return SearchJournal(path, identity)


def _counted(task: SearchTask, chosen: Chosen, course: Course, progress: Progress) -> Chosen:
    """What was chosen, or the next best that holds, as firmware for the microcontrollers among the targets."""
    if not any(aim.target.microcontroller for aim in task.aims):
        return chosen
    from nas_edge.pipeline.searching.counting import confirm_counted, counted_aims, missing_note

    aims = counted_aims(task)
    if not aims:
        course.notes += [note for note in [missing_note(task)] if note]
        return chosen
    found = confirm_counted(task, aims, _next_best(task, chosen, course.last), progress)
    course.notes += found.notes
    timed = any(aim.budget.latency_ms is not None for aim in task.aims)
    verified = found.met and not timed and found.accuracy.measured is not None
    return replace(chosen, arch=found.arch, accuracy=found.accuracy, verified=verified, counted=found.figures)


def _next_best(task: SearchTask, chosen: Chosen, last: SearchResult | None) -> list[Population]:
    """What was chosen, and points of the front behind it, int8 [genes] each."""
    if last is None or task.request.pareto:
        return [chosen.arch]
    metric = task.metrics()[task.objectives[0]]
    gains = np.asarray(metric(last.front), np.float64) * (1 if metric.maximise else -1)
    own = float(np.asarray(metric(chosen.arch[None]), np.float64)[0]) * (1 if metric.maximise else -1)
    behind = [last.front[i] for i in np.argsort(-gains) if gains[i] < own]
    return [chosen.arch, *behind[: _CONFIRMED - 1]]


# On a device -----------------------------------------------------------------------------------------------------


def _verified(task: SearchTask, state: SearchState, course: Course, progress: Progress) -> Chosen:
    request = task.request
    limited = any(aim.bench is not None and aim.budget.latency_ms is not None for aim in task.aims)
    if request.pareto:
        return _measured_front(task, state, course, progress)
    if request.min_accuracy is not None and not request.objective:
        return _at_accuracy(task, state, course, progress)
    if not limited:
        result = course.count(task.search(progress=progress))
        course.notes += slack_notes(task, result)
        return _confirmed(task, [result.best], state, course, progress)
    from nas_edge.pipeline.searching.verification import close_loop

    wide = _protocol(task, "default", _CANDIDATES_LIMIT_S)

    def measure(aim: Aim, archs: Sequence[Population], told: Progress) -> list[Measurement]:
        from nas_edge.pipeline.searching.confirming import seeded_sitting

        return seeded_sitting(task, aim, archs, wide, state, told)

    loop = close_loop(task, measure, progress)
    course.last, course.rounds = loop.last, loop.rounds
    course.evaluations, course.search_s = loop.evaluations, loop.search_s
    if loop.last is not None:
        course.notes += slack_notes(task, loop.last)
    accepted = [candidate.arch for candidate in loop.accepted()][:_CONFIRMED]
    if not accepted:
        return _missed(task, loop, course)
    return _confirmed(task, accepted, state, course, progress)


def _confirmed(
    task: SearchTask, archs: Sequence[Population], state: SearchState, course: Course, progress: Progress
) -> Chosen:
    """The first architecture whose own file meets the budgets, with its accuracy."""
    from nas_edge.pipeline.searching.confirming import confirm

    found: Confirmed | None = confirm(task, archs, _protocol(task, "thorough", _CHOSEN_LIMIT_S), state, progress)
    assert found is not None
    course.notes += found.notes
    measured = found.accuracy.measured is not None or task.source.bundle is None
    if not found.met:
        course.notes.append("with its own weights the network is measured to miss the budget")
    elif not measured:
        course.notes.append("not verified: the latency is measured, the accuracy is predicted alone")
    return Chosen(found.arch, found.accuracy, dict(found.measurements), found.met and measured, met=found.met)


def _missed(task: SearchTask, loop: Verification, course: Course) -> Chosen:
    """Nothing was measured to fit within the rounds: the nearest candidate, called NOT MET."""
    nearest = loop.nearest()
    if nearest is None:
        raise BudgetError(f"latency {', '.join(map(format_ms, loop.limits.values()))}: nothing was measured to meet it")
    name = max(loop.limits, key=lambda name: nearest.measurements[name].upper95_ms / loop.limits[name])
    course.notes.append(
        f"nothing met {format_ms(loop.limits[name])} in {loop.rounds} rounds; the nearest has a 95 % upper limit of "
        f"{format_ms(nearest.measurements[name].upper95_ms)}: allow more --rounds, or close other programs"
    )
    predicted = float(task.metrics()["accuracy"](nearest.arch[None])[0])
    accuracy = AccuracyFigure(predicted, proxy=task.source.proxy)
    return Chosen(nearest.arch, accuracy, dict(nearest.measurements))


def _at_accuracy(task: SearchTask, state: SearchState, course: Course, progress: Progress) -> Chosen:
    """The least latency at an accuracy that is measured: what the predictor promised too much is asked for on top."""
    wanted = task.request.min_accuracy
    assert wanted is not None
    asked, best = wanted, None
    for _ in range(task.request.rounds):
        try:
            result = course.count(task.search(progress=progress, min_accuracy=asked))
        except BudgetError:
            if best is None:
                raise
            break
        course.rounds += 1
        chosen = _confirmed(task, [result.best], state, course, progress)
        measured = chosen.accuracy.measured
        if measured is None or not chosen.verified:
            return chosen
        if best is None or measured > (best.accuracy.measured or 0):
            best = chosen
        if measured >= wanted:
            return chosen
        asked += wanted - measured
    assert best is not None
    measured = best.accuracy.measured or 0.0
    course.notes.append(
        f"no network was measured to reach {100 * wanted:.1f} % in {course.rounds} rounds; the best reaches "
        f"{100 * measured:.1f} %"
    )
    return replace(best, verified=False)


def _measured_front(task: SearchTask, state: SearchState, course: Course, progress: Progress) -> Chosen:
    """Points along the front are timed, correct the predictors, and are timed again along the corrected front."""
    from nas_edge.pipeline.searching.confirming import seeded_sitting
    from nas_edge.pipeline.searching.verification import Candidate, recalibrated

    aims, protocol = task.aims, _protocol(task, "default", _CANDIDATES_LIMIT_S)
    known: dict[bytes, dict[str, float]] = {}
    for _ in range(2):
        result = course.count(task.search(aims, progress=progress))
        rows = [row for row in _spread(result) if row.tobytes() not in known]
        if not rows or result.interrupted:
            break
        sittings = {
            aim.name: seeded_sitting(task, aim, rows, protocol, state, progress)
            for aim in aims
            if aim.bench is not None
        }
        measured = [
            Candidate(row, 0.0, {name: found[i] for name, found in sittings.items()}) for i, row in enumerate(rows)
        ]
        aims = tuple(recalibrated(task, a, np.stack(rows), measured) if a.name in sittings else a for a in aims)
        known |= {one.arch.tobytes(): {name: one.ms(name) for name in sittings} for one in measured}
        course.rounds += 1
    assert course.last is not None
    course.front = _front(course.last, [known.get(row.tobytes(), {}) for row in course.last.front])
    return _confirmed(task, [course.last.best], state, course, progress)


def _spread(result: SearchResult) -> list[Population]:
    """The knee, and points evenly along the front: int8 [genes] each, distinct."""
    at = np.unique(np.linspace(0, len(result.front) - 1, _MEASURED_POINTS).round().astype(int))
    rows = [result.best, *result.front[at]]
    return [row for i, row in enumerate(rows) if not any(np.array_equal(row, other) for other in rows[:i])]


def _front(result: SearchResult, measured: Sequence[dict[str, float]]) -> tuple[FrontPoint, ...]:
    return tuple(
        FrontPoint(
            result.space.to_json(row),
            {name: float(result.front_figures[name][i]) for name in result.objectives},
            measured[i],
            bool((row == result.best).all()),
        )
        for i, row in enumerate(result.front)
    )


def _protocol(task: SearchTask, effort: str, limit_s: float) -> Protocol:
    """A protocol that ends in time on a machine that is never quiet as well; what it rests on is then said."""
    from nas_edge.pipeline.devices.bench import protocol_for

    request = task.request
    return replace(protocol_for(effort, request.regime, request.statistic, request.seed), time_limit_s=limit_s)
