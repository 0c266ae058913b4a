"""What `nas-edge table measure|show|check|predict` do and say."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas_edge.errors import ConfigError, SpaceError
from nas_edge.pipeline.bundle import EMBEDDED, load_bundle
from nas_edge.pipeline.tables.finding import FoundTable, load_table_for, table_path
from nas_edge.pipeline.targets import Target, load_target
from nas_edge.progress import Progress, silent
from nas_edge.spaces import SearchSpace
from nas_edge.units import format_count, format_duration, format_ms

if TYPE_CHECKING:
    from nas_edge.latency import LatencyTable


@dataclass(frozen=True)
class TableReport:
    """The outcome of a table command in both forms."""

    data: dict[str, Any]
    text: list[str]
    exit_code: int = field(default=0)

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return self.data

    def lines(self) -> list[str]:
        """For a person."""
        return self.text


def chosen_space(space: str | None, num_classes: int | None, bundle: str = EMBEDDED) -> tuple[SearchSpace, int]:
    """The space and number of classes that a table is about: as named, else the bundle's.

    Raises:
        UnknownNameError: no such space or bundle. SpaceError: a space without its number of classes.

    """
    if space is None:
        found = load_bundle(bundle)
        return found.space, num_classes or found.num_classes
    if num_classes is None:
        raise SpaceError(f"space {space!r}: the last block depends on the number of classes; add --classes N")
    return SearchSpace.named(space), num_classes


def measure_command(
    target: str,
    space: SearchSpace,
    num_classes: int,
    *,
    out: Path | None = None,
    effort: str = "default",
    regime: str = "hot",
    calibration: int = 20,
    holdout: int = 20,
    resume: bool = True,
    seed: int = 0,
    progress: Progress = silent,
) -> TableReport:
    """Measure a table on a target's device and write it.

    Raises:
        DeviceError: the device cannot be reached. MeasurementError: it cannot be measured.
        ConfigError, StorageError: the table cannot be written.

    """
    from nas_edge.pipeline.bench import open_bench, protocol_for
    from nas_edge.pipeline.tables.measuring import measure_table

    found = load_target(target)
    bench = open_bench(found)
    measured = measure_table(
        space, num_classes, out=out, target="" if found.device.kind == "local" else found.name,
        runtime=found.runtime, precision=found.precision, threads=found.threads,
        protocol=protocol_for(effort, regime, seed=seed), calibration=calibration, holdout=holdout, resume=resume,
        seed=seed, device=bench.device, progress=progress,
    )  # fmt: skip
    error = measured.report.holdout
    lines = [
        f"table      {measured.path}",
        f"measured   {len(measured.table.blocks)} blocks and {len(measured.table.networks)} networks "
        f"in {format_duration(measured.wall_s)}",
    ]
    if error is not None:
        lines.append(
            f"hold-out   {error.networks} networks: error {error.mape_percent:.1f} %, "
            f"worst {error.worst_percent:.1f} %, Spearman {error.spearman:.3f}"
        )
    lines += [f"problem    {problem}" for problem in measured.report.problems]
    data = {"table": str(measured.path), "wall_s": round(measured.wall_s, 1), **measured.report.to_json()}
    return TableReport(data, lines)


def show_command(name: str | None, target: str | None) -> TableReport:
    """The header of a table and what it holds. Raises UnknownNameError, FormatError, ConfigError."""
    table, path, notes = _table(name, target)
    header = table.header
    rows = {
        "table": str(path or "made up on the spot"),
        "for": header.describe(),
        "origin": header.origin.describe(this_machine()),
        "blocks": str(len(table.blocks)),
        "networks": f"{len(table.calibration_networks())} for calibration, {len(table.holdout_networks())} held out",
        "space": ", ".join(f"{key} {value}" for key, value in header.space.items()),
        "sources": "; ".join(f"{s.name} {s.url} (licence: {s.licence})" for s in header.sources),
        **{f"note {i}": text for i, text in enumerate((*header.notes, *notes), 1)},
    }
    holdout = header.figures.get("holdout")
    if holdout:
        rows["hold-out"] = f"error {holdout['mape_percent']:.1f} %, Spearman {holdout['spearman']:.3f}"
    data = {
        "table": str(path) if path else None,
        "target": header.target,
        "runtime": header.runtime,
        "runtime_version": header.runtime_version,
        "precision": header.precision.value,
        "threads": header.threads,
        "regime": header.regime,
        "statistic": header.statistic,
        "origin": header.origin.to_json(),
        "blocks": len(table.blocks),
        "networks": len(table.networks),
        "figures": dict(header.figures),
        "notes": [*header.notes, *notes],
    }
    return TableReport(data, [f"{key:10} {value}" for key, value in rows.items() if value])


def check_command(name: str | None, target: str | None, space: str | None, num_classes: int | None) -> TableReport:
    """Check a table: schema (by reading it), coverage, outliers, hold-out error. Exit code 1 where it is unfit.

    Raises:
        UnknownNameError: no such table. FormatError, ConfigError, TableError: damaged (file and line).

    """
    from nas_edge.latency.check import check_table, describe_block

    table, path, _ = _table(name, target)
    own = table.header.space
    wanted = space or own.get("name")
    classes = num_classes or own.get("num_classes")
    about = SearchSpace.named(str(wanted)) if wanted and classes else None
    if about is not None and space is None and own.get("resolutions"):
        about = about.restrict(resolutions=own["resolutions"])
    report = check_table(table, about, int(classes or 0))
    lines = [
        f"table      {path}",
        f"blocks     {report.blocks}",
        f"networks   {report.calibration_networks} for calibration, {report.holdout_networks} held out",
    ]
    if about is not None:
        lines.append(f"coverage   {report.coverage:.1%} of the {report.needed} blocks of {report.space}")
        lines += [f"missing    {describe_block(block)}" for block in report.missing[:5]]
    if report.holdout is not None:
        error = report.holdout
        lines.append(f"hold-out   error {error.mape_percent:.1f} %, Spearman {error.spearman:.3f}")
    lines += [f"odd        {text}" for text in report.odd[:10]]
    lines += [f"PROBLEM    {text}" for text in report.problems]
    lines.append("fit to be shared" if report.ok else "not fit to be shared")
    return TableReport({"table": str(path), **report.to_json()}, lines, 0 if report.ok else 1)


def predict_command(
    target: str, arch: Path, space: str | None, num_classes: int | None, bundle: str, confidence: float
) -> TableReport:
    """Predicted latency of one architecture.

    Raises:
        ArchitectureError: not a point of the space. UnknownNameError, FormatError: target, bundle or file.

    """
    from nas_edge.files import read_json
    from nas_edge.latency import LatencyPredictor

    if not 0.5 <= confidence < 1:
        raise ConfigError(f"confidence must be at least 0.5 and below 1, not {confidence:g}")
    about, classes = chosen_space(space, num_classes, bundle)
    row = about.from_json(read_json(arch), str(arch))
    device = load_target(target)
    found = load_table_for(device)
    predictor = LatencyPredictor.of(found.table, about, classes)
    prediction = predictor.predict(row[None], confidence)
    point, low, high, exact = (
        float(v[0]) for v in (prediction.point, prediction.low, prediction.high, prediction.exact_share)
    )
    macs, params = float(about.macs(row[None], classes)[0]), float(about.params(row[None], classes)[0])
    basis = predictor.describe() | {"exact_share": round(exact, 4), "notes": list(found.notes)}
    lines = [
        f"predicted  {format_ms(point)}, at most {format_ms(high)} with probability {confidence:.0%} "
        f"(interval: {prediction.interval})",
        f"rests on   {table_share(found, exact)}",
        *(f"note       {text}" for text in found.notes),
        f"network    {about.name}, {format_count(macs)} MACs, {format_count(params)} parameters",
    ]
    data = {
        "target": device.name,
        "latency_ms": {"predicted": point, "low": low, "high": high, "origin": prediction_origin(found, exact)},
        "confidence": confidence,
        "basis": basis,
        "macs": macs,
        "params": params,
    }
    return TableReport(data, lines)


def this_machine() -> str:
    """Identity of the machine at hand, to tell its figures from those of others of its kind."""
    from nas_edge.devices.fingerprint import local_fingerprint

    return local_fingerprint().machine


def prediction_origin(found: FoundTable, exact_share: float) -> str:
    """What a predicted figure may be called: the table's origin where it rests on the table alone, else modelled."""
    return found.table.header.origin.kind.value if exact_share > 0.999 else "modelled"


def table_share(found: FoundTable, exact_share: float) -> str:
    """How much of a prediction rests on table and on model, in words."""
    origin = found.table.header.origin.kind.value
    return f"table ({found.table.header.describe()}; {origin}) {exact_share:.0%}, model {1 - exact_share:.0%}"


def _table(name: str | None, target: str | None) -> tuple[LatencyTable, Path | None, tuple[str, ...]]:
    from nas_edge.latency import read_table

    if name is not None:
        path = table_path(name)
        return read_table(path), path, ()
    device: Target = load_target(target or "local")
    found = load_table_for(device)
    return found.table, found.path, found.notes
