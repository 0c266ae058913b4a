"""Profile: a network measured on its target, beside what was predicted for it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from nas_edge.errors import ConfigError, FormatError, NasEdgeError
from nas_edge.files import write_json
from nas_edge.pipeline.devices.targets import Target, load_target, target_names
from nas_edge.pipeline.report import Success
from nas_edge.pipeline.running.directory import Run, load_run
from nas_edge.progress import Progress, silent
from nas_edge.units import format_ms

if TYPE_CHECKING:
    from nas_edge.latency import LatencyPrediction, LatencyTable
    from nas_edge.profiling import Measurement
    from nas_edge.runtimes import Runtime
    from nas_edge.runtimes.layers import LayeredRuntime, LayerTime

PROFILE = "profile.json"
_SUFFIXES = (".onnx", ".tflite")
_MAX_MODEL_BYTES = 2**31
_SHOWN_LAYERS = 20
_WIDE_SPREAD = 0.05  # between visits, on a machine that was called quiet


@dataclass(frozen=True)
class ProfileReport(Success):
    """One measured network.

    Attributes:
        subject: the run or the file.
        target: where.
        measurement: every sample.
        predicted: ms: (point, low, high) at `confidence`, None for a file of which nothing is known.
        confidence: of the bounds.
        artefact: what was timed, in words.
        this_machine: identity of the machine at hand.
        layers: times of layers, where they were asked for.
        with_copies: ms, median of a run with its copies to and from a GPU; None where there are none.

    """

    subject: Path
    target: str
    measurement: Measurement
    predicted: tuple[float, float, float] | None
    confidence: float
    artefact: str
    this_machine: str
    layers: tuple[LayerTime, ...] = ()
    with_copies: float | None = None

    @property
    def error_percent(self) -> float | None:
        """Predicted against measured, positive where the prediction was too high."""
        m = self.measurement
        return None if self.predicted is None else 100 * (self.predicted[0] / m.estimate_ms(m.protocol.statistic) - 1)

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        m = self.measurement
        predicted = dict(zip(("point", "low", "high"), self.predicted, strict=True)) if self.predicted else None
        return {
            "subject": str(self.subject),
            "target": self.target,
            "artefact": self.artefact,
            "artefact_sha256": m.artefact_sha256,
            "latency_ms": {
                "median": m.median_ms,
                "p90": m.p90_ms,
                "p95": m.p95_ms,
                "p99": m.p99_ms,
                "upper95": m.upper95_ms,
                "statistic": str(m.protocol.statistic),
                "predicted": predicted,
                **({"with_copies": self.with_copies} if self.with_copies is not None else {}),
            },
            "spread": m.spread,
            "error_percent": self.error_percent,
            "runs": m.count,
            "regime": str(m.regime),
            "disturbed": m.disturbed,
            "quiet_share": m.quiet_share,
            "interference": asdict(m.interference),
            "reference_ratio": reference_ratio(m),
            "cores": list(m.cores),
            "governor": m.state.governor,
            "power_mode": m.state.power_mode,
            "clocks_locked": m.state.clocks_locked,
            "load": m.state.load,
            "runtime": f"{m.runtime} {m.runtime_version}",
            "precision": m.precision,
            "threads": m.threads,
            "origin": m.origin.to_json(),
            **({"layers": [asdict(layer) for layer in self.layers]} if self.layers else {}),
        }

    def lines(self) -> list[str]:
        """For a person."""
        m = self.measurement
        lines = [
            f"MEASURED   {format_ms(m.median_ms)} median, p90 {format_ms(m.p90_ms)}, p99 {format_ms(m.p99_ms)}, "
            f"spread {100 * m.spread:.1f} % ({m.regime}, {m.count} runs)"
        ]
        if m.protocol.statistic != "median":
            lines.append(f"{m.protocol.statistic:<10} {format_ms(m.estimate_ms(m.protocol.statistic))}")
        if self.predicted is not None and self.error_percent is not None:
            point, low, high = self.predicted
            lines.append(
                f"predicted  {format_ms(point)} ({format_ms(low)} to {format_ms(high)}): "
                f"{abs(self.error_percent):.1f} % {'above' if self.error_percent > 0 else 'below'} what was measured"
            )
        lines.append(
            f"with       {m.runtime} {m.runtime_version}, {m.precision}, {m.threads} thread{'s' * (m.threads != 1)}, "
            f"{self.artefact}"
        )
        if self.with_copies is not None:
            lines.append(f"copies     {format_ms(self.with_copies)} with those to the GPU and back, the above without")
        if m.state.clocks_locked is not None or m.state.power_mode:
            locked = {True: ", clocks locked", False: ", clocks NOT locked: sudo jetson_clocks", None: ""}
            lines.append(f"device     power mode {m.state.power_mode or 'unknown'}{locked[m.state.clocks_locked]}")
        lines.append(f"origin     {m.origin.describe(self.this_machine)}")
        if m.disturbed:
            lines.append(
                f"note       the machine was {100 * abs(reference_ratio(m) - 1):.0f} % "
                f"{'slower' if reference_ratio(m) > 1 else 'faster'} than when it is quiet, which was taken off; "
                f"{m.interference.describe()}"
            )
        elif m.spread > _WIDE_SPREAD:
            lines.append("note       other programs disturbed the measurement; close them and profile again")
        return lines + self._of_layers()

    def _of_layers(self) -> list[str]:
        from nas_edge.runtimes.layers import slowest

        if not self.layers:
            return []
        whole = sum(layer.ms for layer in self.layers)
        lines = [f"layers     {len(self.layers)}, together {format_ms(whole)} while being watched; the slowest:"]
        for layer in slowest(self.layers, _SHOWN_LAYERS):
            kind = f"  {layer.kind}" if layer.kind else ""
            lines.append(f"{format_ms(layer.ms):>12} {layer.ms / whole:6.1%}  {layer.name}{kind}")
        return lines


def reference_ratio(measurement: Measurement) -> float:
    """How the machine was while it measured: median of the reference kernel over its quiet value."""
    return median(visit.reference_ratio for visit in measurement.used_visits)


def profile_flow(
    subject: Path,
    target: str | None = None,
    *,
    host: str | None = None,
    serial: str | None = None,
    runtime: str | None = None,
    regime: str = "hot",
    statistic: str = "median",
    effort: str = "thorough",
    per_layer: bool = False,
    seed: int = 0,
    progress: Progress = silent,
) -> ProfileReport:
    """Measure a run's network, or an ONNX or `.tflite` file, on a target. A run keeps the result as `profile.json`.

    Where the target's table was measured on this very machine, times are brought to the state in which it was quiet
    then: the figure is the one that the table, and a search that was verified, speak of.

    Args:
        subject: directory of a run, or a file.
        target: by default the run's, else local.
        host: "[user@]address[:port]" of the device, over ssh, instead of what the target says.
        serial: of the device, over adb, likewise.
        runtime: instead of the target's; a `.tflite` file is LiteRT's without being told.
        regime: "hot" or "cold".
        statistic: "median", "p90", "p95" or "p99": what is held against the prediction.
        effort: "quick", "default" or "thorough".
        per_layer: time each layer as well, where the runtime tells.
        seed: of the order of measuring.
        progress: told how far it is.

    Raises:
        ConfigError: neither a run nor a file, or not for that runtime. FormatError: a damaged file.
        UnknownNameError: no such target, runtime, effort, regime, statistic.
        DeviceError, MeasurementError: it cannot be measured.

    """
    from nas_edge.pipeline.devices.bench import open_bench, protocol_for
    from nas_edge.pipeline.devices.reaching import at_device, run_by
    from nas_edge.pipeline.tables.describing import this_machine
    from nas_edge.runtimes.model_precision import model_precision
    from nas_edge.runtimes.tflite.loading import is_tflite, read_tflite

    run = None if subject.is_file() else load_run(subject)
    asked = target or (run.target if run else "local")
    if target is None and (host or serial) and asked not in target_names():
        asked = "local"  # the run's was named after such a device
    protocol = protocol_for(effort, regime, statistic, seed)
    asked_target = run_by(at_device(load_target(asked), host, serial), runtime)
    model, artefact = model_of_run(run, asked_target.runtime) if run else model_of_file(subject)
    tflite = is_tflite(model)
    if subject.suffix == ".tflite" and not tflite:
        raise FormatError(f"{subject}: is no .tflite file, or a damaged one")
    device = run_by(asked_target, runtime or ("litert" if tflite else None))
    if tflite and device.runtime != "litert":
        raise ConfigError(
            f"{subject}: is a .tflite file, which runtime {device.runtime!r} does not run; leave out --runtime"
        )
    bench = open_bench(device)
    precision = run.precision if run else read_tflite(model).precision if tflite else model_precision(model)
    device = device.model_copy(update={"precision": precision})
    table = _table(device, regime)
    quiet_ms = bench.quiet_reference_ms(table.header) if table else None
    try:
        layered = _layered(bench.runtime) if per_layer else None
        measured = bench.measure({subject.name: model}, protocol, precision, progress, quiet_ms)[subject.name]
        layers = layered.layer_times(model, precision, device.threads) if layered else ()
        with_copies = getattr(bench.runtime, "with_copies_ms", None)
    finally:
        bench.close()
    predicted, confidence = None, 0.9
    if run is not None and table is not None:
        confidence = float(run.result.get("confidence", confidence))
        if table.header.statistic == statistic:  # a median's prediction says nothing of a 99th percentile
            predicted = _predicted(run, table, confidence)
        _keep(run, table, measured)
    report = ProfileReport(
        subject, device.name, measured, predicted, confidence, artefact, this_machine(), layers, with_copies
    )
    if run is not None:
        write_json(subject / PROFILE, {"format": 1, **report.to_json(), "measurement": measured.to_json()})
    return report


def model_of_file(path: Path) -> tuple[bytes, str]:
    """A model's bytes, and what they are in words. Raises ConfigError for other files."""
    if path.suffix not in _SUFFIXES:
        raise ConfigError(f"{path}: is neither the directory of a run nor an ONNX or .tflite file")
    if path.stat().st_size > _MAX_MODEL_BYTES:
        raise ConfigError(f"{path}: is larger than the 2 GB that a model may have")
    return path.read_bytes(), path.name


def _layered(runtime: Runtime) -> LayeredRuntime:
    """The runtime as one that tells times of layers. Raises ConfigError where it does not."""
    from nas_edge.runtimes.layers import LayeredRuntime

    if not isinstance(runtime, LayeredRuntime):
        raise ConfigError(f"runtime {runtime.name!r} tells no times of layers there; leave out --per-layer")
    return runtime


def model_of_run(run: Run, runtime: str) -> tuple[bytes, str]:
    """The exported file where there is one; otherwise the same graph with seeded weights, which takes as long.

    In int8, too, however many bits the device's weights may have: how long a product takes does not depend on it.
    """
    from nas_edge.pipeline.bundle import load_bundle
    from nas_edge.pipeline.exporting.flow import exported_model
    from nas_edge.pipeline.exporting.formats import format_of_runtime
    from nas_edge.pipeline.seeded import seeded_model

    own = exported_model(run.path, run.precision, format_of_runtime(runtime))
    exported = own or exported_model(run.path, run.precision)
    if exported is not None:
        return exported.read_bytes(), f"exported file {exported}"
    bundle = load_bundle(run.bundle)
    arch = bundle.space.from_json(dict(run.arch), str(run.path / "arch.json"))
    model = seeded_model(bundle.space, arch, bundle.num_classes, precision=run.precision)
    return model, "its graph with seeded weights (not exported yet)"


def _table(target: Target, regime: str) -> LatencyTable | None:
    from nas_edge.pipeline.tables.finding import load_table_for

    try:
        return load_table_for(target, regime).table
    except NasEdgeError:
        return None  # a measured figure is worth showing without a table beside it


def _keep(run: Run, table: LatencyTable, measured: Measurement) -> None:
    """The device's predictions are corrected by it from now on, as by what searches measure."""
    from nas_edge.pipeline.bundle import load_bundle
    from nas_edge.pipeline.tables.keeping import keep

    bundle = load_bundle(run.bundle)
    arch = bundle.space.from_json(dict(run.arch), str(run.path / "arch.json"))
    keep(table.header, bundle.space, bundle.num_classes, [arch], [measured])


def _predicted(run: Run, table: LatencyTable, confidence: float) -> tuple[float, float, float] | None:
    """What the target's table says, without anything that was measured since the search."""
    from nas_edge.latency import LatencyPredictor
    from nas_edge.pipeline.bundle import load_bundle

    bundle = load_bundle(run.bundle)
    arch = bundle.space.from_json(dict(run.arch), str(run.path / "arch.json"))
    try:
        prediction: LatencyPrediction = LatencyPredictor.of(table, bundle.space, bundle.num_classes).predict(
            arch[None], confidence
        )
    except NasEdgeError:
        return None  # nor does a table that cannot price the network stand in its way
    return float(prediction.point[0]), float(prediction.low[0]), float(prediction.high[0])
