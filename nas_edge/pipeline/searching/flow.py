"""Search: the most accurate network within a budget; measured on the device where it can be reached."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas_edge.errors import BudgetError, ConfigError, DataError, UnknownNameError
from nas_edge.files import write_text
from nas_edge.latency import LatencyPredictor
from nas_edge.pipeline.bundle import ACCURACY, HEADER, PREDICTOR, WEIGHTS, Bundle, load_bundle
from nas_edge.pipeline.running.directory import PARETO, run_path, write_manifest, write_result, writing
from nas_edge.pipeline.searching.report import AccuracyFigure, LatencyFigure, SearchReport, SearchRequest
from nas_edge.pipeline.searching.verification import Candidate, Found, Verification, verify
from nas_edge.pipeline.tables.commands import prediction_origin, table_share, this_machine
from nas_edge.pipeline.tables.finding import FoundTable, load_table_for
from nas_edge.pipeline.targets import Target, load_target
from nas_edge.progress import Progress, silent
from nas_edge.search.constraints import Constraint
from nas_edge.search.metrics import Metric, MetricContext, TargetSources, build_metrics
from nas_edge.search.run import search
from nas_edge.spaces import Population, SearchSpace
from nas_edge.units import format_count, format_ms

if TYPE_CHECKING:
    from nas_edge.accuracy import AccuracyPredictor
    from nas_edge.pipeline.bench import Bench
    from nas_edge.profiling import Measurement
    from nas_edge.search.result import SearchResult, Slack

_SEARCHED_PRECISION = "fp32"
_CANDIDATES_LIMIT_S, _CHOSEN_LIMIT_S = 15.0, 20.0
_METRICS = ("accuracy", "latency", "macs", "params")


@dataclass
class _Work:
    """What one search works with, and what it has to say."""

    request: SearchRequest
    target: Target
    bundle: Bundle
    space: SearchSpace
    accuracy: AccuracyPredictor
    table: FoundTable
    predictor: LatencyPredictor
    bench: Bench | None
    notes: list[str] = field(default_factory=list)
    last: SearchResult | None = None

    def search(self, predictor: LatencyPredictor, limit_ms: float | None, confidence: float, progress: Progress) -> Any:
        """One search under a predictor and a limit."""
        context = MetricContext(
            self.space, self.bundle.num_classes, self.accuracy, TargetSources(predictor), confidence=confidence
        )
        metrics: dict[str, Metric] = build_metrics(_METRICS, context)
        self.last = search(
            self.space, metrics, self.constraints(limit_ms), evaluations=self.request.evaluations,
            seed=self.request.seed, progress=progress,
        )  # fmt: skip
        return self.last

    def constraints(self, limit_ms: float | None) -> list[Constraint]:
        """All budgets; the latency's first: the front is along it."""
        limits = {"latency": limit_ms, "macs": self.request.macs, "params": self.request.params}
        return [Constraint(name, "<=", limit) for name, limit in limits.items() if limit is not None]


def search_flow(request: SearchRequest, progress: Progress = silent) -> SearchReport:
    """Search, verify where that is wanted and possible, and write the run's directory.

    Raises:
        ConfigError: no budget, a confidence out of range, an unwritable directory. UnknownNameError: no such target or
        bundle. BudgetError: nothing in the space meets the budget. DeviceError, MeasurementError: it was to be verified
        and cannot be. SpaceError: resolutions that the bundle was not trained at.

    """
    begun = time.monotonic()
    work = _prepare(request, progress)
    path = run_path(request.out, work.target.name)
    with writing(path) as directory:
        report = _verified(work, path, progress) if work.bench is not None else _predicted(work, path, progress)
        _write(work, report, directory, time.monotonic() - begun)
    return report


# Preparing -----------------------------------------------------------------------------------------------------


def _prepare(request: SearchRequest, progress: Progress) -> _Work:
    if request.latency_ms is None and request.macs is None and request.params is None:
        raise ConfigError("a search needs a budget: --latency 5ms, --macs 60M or --params 2M, or several of them")
    if not 0.5 <= request.confidence < 1:
        raise ConfigError(f"confidence must be at least 0.5 and below 1, not {request.confidence:g}")
    for name, value, known in (
        ("statistic", request.statistic, ("median", "p90", "p95", "p99")),
        ("regime", request.regime, ("hot", "cold")),
    ):
        if value not in known:
            raise UnknownNameError(name, value, known)
    target = load_target(request.target)
    precision = request.precision or target.precision
    if precision != _SEARCHED_PRECISION:
        raise ConfigError(
            f"precision {precision!r}: this version searches in {_SEARCHED_PRECISION}, in which bundles are measured; "
            f"add --precision {_SEARCHED_PRECISION}"
        )
    if precision != target.precision:
        target = target.model_copy(update={"precision": precision})
    bundle = load_bundle(request.bundle)
    space = bundle.space
    if request.resolutions is not None:
        space = space.restrict(resolutions=request.resolutions)
    bench = _bench(request, target)
    table = load_table_for(target, request.regime)
    notes = list(table.notes)
    if not table.own and bench is not None:
        table = _first_contact(target, bundle, progress)
        notes = [*table.notes, f"first contact: a few networks were timed, once; kept in {table.path}"]
    elif not table.own and target.device.kind == "local":
        notes.append("run once without --no-verify: a minute of measuring replaces the model")
    if bench is None and request.statistic not in (table.table.header.statistic, "median"):
        raise ConfigError(
            f"statistic {request.statistic!r}: the table of {target.name!r} holds the "
            f"{table.table.header.statistic}; other statistics are measured: add --verify"
        )
    predictor = LatencyPredictor.of(table.table, space, bundle.num_classes)
    return _Work(request, target, bundle, space, bundle.accuracy_predictor(), table, predictor, bench, notes)


def _bench(request: SearchRequest, target: Target) -> Bench | None:
    """The device, None where nothing is to be measured. Raises DeviceError where --verify asks for the impossible."""
    if request.verify is False or (request.verify is None and target.device.kind != "local"):
        return None
    from nas_edge.pipeline.bench import open_bench

    return open_bench(target)


def _first_contact(target: Target, bundle: Bundle, progress: Progress) -> FoundTable:
    from nas_edge.pipeline.tables.measuring import first_contact

    def told(done: float, total: float, text: str) -> None:
        progress(done, total, f"first contact with {target.name}, once, about a minute: {text}")

    return first_contact(target, bundle.space, bundle.num_classes, progress=told)


# Searching -----------------------------------------------------------------------------------------------------


def _predicted(work: _Work, path: Path, progress: Progress) -> SearchReport:
    request = work.request
    result: SearchResult = work.search(work.predictor, request.latency_ms, request.confidence, progress)
    latency = _latency(work, result.best, None)
    accuracy = AccuracyFigure(float(work.accuracy.predict(result.best[None])[0]))
    work.notes += _slack_notes(request, result.slack)
    return _report(work, path, result.best, accuracy, latency, False, None, (result.evaluations, result.wall_s))


def _verified(work: _Work, path: Path, progress: Progress) -> SearchReport:
    request, bench = work.request, work.bench
    assert bench is not None
    from nas_edge.pipeline.bench import protocol_for
    from nas_edge.pipeline.seeded import seeded_model

    # Candidates are compared with each other, what is chosen with the budget. On a machine that is never quiet both
    # end in time; what they rest on is then said.
    wide = replace(
        protocol_for("default", request.regime, request.statistic, request.seed), time_limit_s=_CANDIDATES_LIMIT_S
    )
    protocol = replace(
        protocol_for("thorough", request.regime, request.statistic, request.seed), time_limit_s=_CHOSEN_LIMIT_S
    )

    def measure(archs: Sequence[Population], told: Progress) -> list[Measurement]:
        models = {f"candidate-{i}": seeded_model(work.space, a, work.bundle.num_classes) for i, a in enumerate(archs)}
        return list(bench.measure(models, wide, work.target.precision, told).values())

    if request.latency_ms is None:
        result: SearchResult = work.search(work.predictor, None, 0.5, progress)
        work.notes += _slack_notes(request, result.slack)
        state = Verification(work.predictor, evaluations=result.evaluations, search_s=result.wall_s)
        found = _confirm(work, [result.best], protocol, progress)
    else:

        def once(predictor: LatencyPredictor, limit_ms: float) -> Found:
            result: SearchResult = work.search(predictor, limit_ms, 0.5, progress)
            return Found(result.best, result.front, result.evaluations, result.wall_s)

        state = verify(
            work.predictor, request.latency_ms, once, work.accuracy.predict, measure, request.rounds, progress
        )
        if work.last is not None:
            work.notes += _slack_notes(request, work.last.slack)
        found = _confirm(work, [c.arch for c in state.accepted(request.latency_ms)], protocol, progress)
        if found is None:
            return _missed(work, path, state)
    assert found is not None
    arch, measurement, accuracy = found
    if measurement.disturbed:
        work.notes.append("other programs disturbed the measurement; close them and search again")
    latency = _latency(work, arch, measurement)
    measured = accuracy.measured is not None
    counts = (state.evaluations, state.search_s)
    return _report(work, path, arch, accuracy, latency, measured, state, counts)


def _confirm(
    work: _Work, archs: Sequence[Population], protocol: Any, progress: Progress
) -> tuple[Population, Measurement, AccuracyFigure] | None:
    """The first architecture whose own file, with its trained weights, is measured to meet the budget."""
    if not archs:
        return None
    assert work.bench is not None
    progress(0, 3, "confirming with the trained weights")
    from nas_edge.export.onnx_file import build_model
    from nas_edge.pipeline.networks import subnet_of_bundle

    limit = work.request.latency_ms
    for arch in archs:
        net = subnet_of_bundle(work.bundle, arch)
        model = build_model(net, classes=work.bundle.classes)
        measurement = work.bench.measure({"chosen": model}, protocol, work.target.precision, progress)["chosen"]
        if limit is None or measurement.upper95_ms <= limit:
            return arch, measurement, _measured_accuracy(work, arch, net, progress)
    return None


def _measured_accuracy(work: _Work, arch: Population, net: Any, progress: Progress) -> AccuracyFigure:
    from nas_edge.pipeline.evaluate_flow import accuracy_of
    from nas_edge.pipeline.networks import bundle_dataset

    predicted = float(work.accuracy.predict(arch[None])[0])
    progress(1, 3, "measuring the accuracy")
    try:
        split = bundle_dataset(work.bundle, None).splits["search"]
    except DataError as error:
        work.notes.append(f"the accuracy could not be measured: {error}")
        return AccuracyFigure(predicted)
    found = accuracy_of(net, work.bundle, split)
    return AccuracyFigure(predicted, found.accuracy, found.interval(), len(found.labels))


def _missed(work: _Work, path: Path, state: Verification) -> SearchReport:
    """Nothing was measured to fit within the rounds: the nearest candidate, called NOT MET."""
    limit = work.request.latency_ms
    assert limit is not None
    nearest: Candidate | None = min(state.candidates, key=lambda c: c.upper95_ms, default=None)
    if nearest is None:
        raise BudgetError(f"latency <= {format_ms(limit)}: nothing could be measured to meet it")
    work.notes.append(
        f"nothing met {format_ms(limit)} in {state.rounds} rounds; the nearest has a 95 % upper limit of "
        f"{format_ms(nearest.upper95_ms)}: allow more --rounds, or close other programs"
    )
    latency = _latency(work, nearest.arch, nearest.measurement)
    counts = (state.evaluations, state.search_s)
    return _report(work, path, nearest.arch, AccuracyFigure(nearest.accuracy), latency, False, state, counts)


# Reporting -----------------------------------------------------------------------------------------------------


def _latency(work: _Work, arch: Population, measurement: Measurement | None) -> LatencyFigure:
    confidence = work.request.confidence
    prediction = work.predictor.predict(arch[None], confidence)
    exact = float(prediction.exact_share[0])
    header = work.table.table.header
    statistic = header.statistic if measurement is None else work.request.statistic
    return LatencyFigure(
        predicted=float(prediction.point[0]),
        low=float(prediction.low[0]),
        high=float(prediction.high[0]),
        confidence=confidence,
        interval=prediction.interval,
        measured=None if measurement is None else measurement.estimate_ms(work.request.statistic),
        upper95=None if measurement is None else measurement.upper95_ms,
        origin=prediction_origin(work.table, exact) if measurement is None else measurement.origin.kind.value,
        origin_text="" if measurement is None else measurement.origin.describe(this_machine()),
        what=f"{work.request.regime} {statistic}",
    )


def _slack_notes(request: SearchRequest, slack: Sequence[Slack]) -> list[str]:
    # A verified search aims a little below the budget; what was asked for is what is told.
    asked = {"latency": request.latency_ms, "macs": request.macs, "params": request.params}
    notes = []
    for found in slack:
        name, own = found.constraint.metric, found.binds_below
        limit = asked.get(name) or found.constraint.limit
        show = format_ms if name == "latency" else format_count
        notes.append(
            f"the budget of {show(limit)}{'' if name == 'latency' else f' {name}'} is slack: any from {show(own)} on "
            "gives the same network"
        )
    return notes


def _report(
    work: _Work,
    path: Path,
    arch: Population,
    accuracy: AccuracyFigure,
    latency: LatencyFigure,
    verified: bool,
    state: Verification | None,
    counts: tuple[int, float],
) -> SearchReport:
    space, classes = work.space, work.bundle.num_classes
    exact = float(work.predictor.predict(arch[None], 0.5).exact_share[0])
    data = space.to_json(arch)
    return SearchReport(
        request=work.request,
        run=path,
        target=work.target.name,
        space=space.name,
        resolution=int(data["r"]),
        arch=data,
        accuracy=accuracy,
        latency=latency,
        macs=float(space.macs(arch[None], classes)[0]),
        params=float(space.params(arch[None], classes)[0]),
        verified=verified,
        verification_asked=work.bench is not None,
        evaluations=counts[0],
        wall_s=round(counts[1], 4),
        rounds=state.rounds if state else 0,
        basis=table_share(work.table, exact),
        notes=tuple(work.notes),
    )


def _write(work: _Work, report: SearchReport, directory: Path, wall_s: float) -> None:
    request = work.request
    budget = {"latency_ms": request.latency_ms, "macs": request.macs, "params": request.params}
    accuracy, latency = report.accuracy, report.latency
    result = {
        **report.to_json(),
        "target": report.target,
        "bundle": str(work.bundle.path.resolve()) if Path(request.bundle).is_dir() else request.bundle,
        "precision": work.target.precision,
        "space": report.space,
        "num_classes": work.bundle.num_classes,
        "budget": {name: value for name, value in budget.items() if value is not None},
        "confidence": request.confidence,
        "statistic": request.statistic,
        "regime": request.regime,
        "interval": latency.interval,
        "upper95_ms": latency.upper95,
        "origin": latency.origin_text,
        "accuracy_interval95": accuracy.interval,
        "accuracy_images": accuracy.images,
        "basis": work.predictor.describe() | {"text": report.basis},
        "rounds": report.rounds,
        "notes": list(report.notes),
    }
    write_result(directory, result, report.arch | {"space": report.space, "num_classes": work.bundle.num_classes})
    _write_front(work, directory)
    inputs = {
        "target": work.target.path,
        **{name: work.bundle.path / name for name in (HEADER, WEIGHTS, ACCURACY, PREDICTOR)},
        **({"table": work.table.path} if work.table.path else {}),
    }
    inputs = {role: file for role, file in inputs.items() if file.exists()}
    write_manifest(directory, {"search": request.seed}, inputs, wall_s)


def _write_front(work: _Work, directory: Path) -> None:
    """`pareto.csv`: not dominated in accuracy and the first budget's metric, beyond the budget as well."""
    import json

    if work.last is None:
        return
    figures, text = work.last.front_figures, io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["accuracy", "latency_ms", "macs", "params", "arch"])
    for i, row in enumerate(work.last.front):
        numbers = [f"{figures[name][i]:.6g}" for name in _METRICS]
        writer.writerow([*numbers, json.dumps(work.space.to_json(row), separators=(",", ":"))])
    write_text(directory / PARETO, text.getvalue())
