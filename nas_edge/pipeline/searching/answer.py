"""From what a search came to to what a user is told."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from nas_edge.pipeline.devices.targets import ETHOS_U
from nas_edge.pipeline.searching.aims import Aim
from nas_edge.pipeline.searching.course import Chosen, Course
from nas_edge.pipeline.searching.figures import CostFigure, LatencyFigure
from nas_edge.pipeline.searching.memory_figure import memory_figure
from nas_edge.pipeline.searching.report import SearchReport
from nas_edge.pipeline.searching.task import SearchTask
from nas_edge.pipeline.tables.describing import prediction_origin, table_share, this_machine
from nas_edge.search.infeasible import bound, figure

if TYPE_CHECKING:
    from nas_edge.search.result import SearchResult


def slack_notes(task: SearchTask, result: SearchResult) -> list[str]:
    """Budgets that change nothing, each with the figure from where on."""
    # A verified search aims a little below the budget; what was asked for is what is told.
    asked = {constraint.metric: constraint.limit for constraint in task.constraints()}
    metrics = task.metrics()
    notes = []
    for found in result.slack:
        name = found.constraint.metric
        if task.implied(name):
            continue
        metric = metrics[name]
        budget = bound(replace(found.constraint, limit=asked.get(name, found.constraint.limit)), metric)
        own, until = figure(metric, found.binds_below), "on" if found.constraint.upper else "down"
        notes.append(f"the budget {budget} is slack: any from {own} {until} gives the same network")
    return notes


def report_of(task: SearchTask, path: Path, chosen: Chosen, course: Course) -> SearchReport:
    """All that is told of what was chosen; `path` is where the run will be."""
    from nas_edge.pipeline.searching.confirming import precision_of

    space, classes = task.source.space, task.source.num_classes
    row = chosen.arch[None]
    data = space.to_json(chosen.arch)
    metrics = task.metrics()
    shown = {"accuracy", "macs", "params", *(task.metric_of(n, a) for n in ("latency", "energy") for a in task.aims)}
    if course.interrupted:
        course.notes.append(f"interrupted: the best so far; to go on: nas-edge search --resume {path}")
    return SearchReport(
        request=task.request,
        run=path,
        space=space.name,
        resolution=int(data["r"]),
        precision=precision_of(task, chosen.arch).value,
        arch=data,
        accuracy=chosen.accuracy,
        latencies={aim.name: _latency(task, aim, chosen) for aim in task.aims},
        energies={aim.name: _energy(task, aim, chosen) for aim in task.aims if aim.energy},
        macs=float(space.macs(row, classes)[0]),
        params=float(space.params(row, classes)[0]),
        others={name: float(metrics[name](row)[0]) for name in task.names() if name not in shown},
        memory=memory_figure(task, chosen.arch),
        counted=chosen.counted,
        verified=chosen.verified,
        met=chosen.met,
        verification_asked=task.verified,
        evaluations=course.evaluations,
        wall_s=round(course.search_s, 4),
        rounds=course.rounds,
        front=course.front,
        interrupted=course.interrupted,
        verifying=_verifying_command(task, path),
        notes=tuple(dict.fromkeys(course.notes)),
    )


def _verifying_command(task: SearchTask, path: Path) -> str:
    """What shows on the device what was predicted; at the port of a board, by Arm's compiler for an Ethos-U."""
    unreached = [aim for aim in task.aims if not aim.target.reachable]
    if any(aim.target.microcontroller for aim in unreached):
        return shlex.join(["nas-edge", "profile", str(path), "--serial", "PORT"])
    if any(aim.target.runtime == ETHOS_U for aim in unreached):
        return shlex.join(["nas-edge", "profile", str(path)])
    return task.request.verifying_command([aim.name for aim in unreached])


def _latency(task: SearchTask, aim: Aim, chosen: Chosen) -> LatencyFigure:
    from nas_edge.pipeline.searching.confirming import precision_of

    request, precision = task.request, precision_of(task, chosen.arch)
    found = aim.tables[precision]
    prediction = aim.predictors[precision].predict(task.source.space.of_base(chosen.arch[None]), request.confidence)
    exact = float(prediction.exact_share[0])
    measurement = chosen.measurements.get(aim.name)
    statistic = found.table.header.statistic if measurement is None else request.statistic
    return LatencyFigure(
        predicted=float(prediction.point[0]),
        low=float(prediction.low[0]),
        high=float(prediction.high[0]),
        confidence=request.confidence,
        interval=prediction.interval,
        measured=None if measurement is None else measurement.estimate_ms(request.statistic),
        upper95=None if measurement is None else measurement.upper95_ms,
        origin=prediction_origin(found, exact) if measurement is None else measurement.origin.kind.value,
        origin_text="" if measurement is None else measurement.origin.describe(this_machine()),
        what=f"{request.regime} {statistic}",
        budget=aim.budget.latency_ms,
        basis=table_share(found, exact),
    )


def _energy(task: SearchTask, aim: Aim, chosen: Chosen) -> CostFigure:
    from nas_edge.pipeline.searching.confirming import precision_of

    precision = precision_of(task, chosen.arch)
    row = task.source.space.of_base(chosen.arch[None])
    prediction = aim.energy[precision].predict(row, task.request.confidence)
    origin = prediction_origin(aim.tables[precision], float(prediction.exact_share[0]))
    return CostFigure(float(prediction.point[0]), float(prediction.high[0]), "mJ", origin)
