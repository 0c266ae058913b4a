"""What `nas-edge table measure` does and says, and what all table commands share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas_edge.errors import ConfigError, SpaceError, UnknownNameError
from nas_edge.latency.probes import PROBES
from nas_edge.pipeline.bundle import EMBEDDED, load_bundle
from nas_edge.pipeline.devices.targets import Target, load_target
from nas_edge.pipeline.tables.finding import load_table_for, table_path
from nas_edge.progress import Progress, silent
from nas_edge.spaces import Precision, SearchSpace
from nas_edge.units import format_duration

_PROBED = ("onnxruntime", "litert")  # runtimes of computers and phones

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


def chosen_spaces(
    spaces: Sequence[str], classes: Sequence[int], bundle: str = EMBEDDED
) -> list[tuple[SearchSpace, int]]:
    """Several spaces, each with its number of classes; without any the bundle's.

    Raises:
        UnknownNameError: no such space or bundle. SpaceError: not one number of classes for each space.

    """
    if len(classes) not in (0, 1, len(spaces)):
        raise SpaceError(f"{len(spaces)} spaces have {len(classes)} numbers of classes; add one --classes N for each")
    if not spaces:
        return [chosen_space(None, classes[0] if classes else None, bundle)]
    counts: list[int | None] = [*classes] if len(classes) == len(spaces) else [*classes, None][:1] * len(spaces)
    return [chosen_space(space, count, bundle) for space, count in zip(spaces, counts, strict=True)]


def measure_command(
    target: str,
    spaces: Sequence[tuple[SearchSpace, int]],
    *,
    host: str | None = None,
    serial: str | None = None,
    precision: str | None = None,
    out: Path | None = None,
    effort: str = "default",
    regime: str = "hot",
    statistic: str = "median",
    calibration: int = 40,
    holdout: int = 20,
    probes: int | None = None,
    resume: bool = True,
    append: bool = False,
    seed: int = 0,
    progress: Progress = silent,
) -> TableReport:
    """Measure a table on a target's device, or the one that `host` or `serial` names, and write it: `measure_table`.

    `probes` are by default as many as a minute or two of measuring allows: none where it is to be quick, and none on
    devices whose memory they would not fit into.

    Raises:
        UnknownNameError: no such precision. DeviceError: the device cannot be reached. MeasurementError: it cannot be
        measured. ConfigError, StorageError: a precision that a microcontroller has not; the table cannot be written.

    """
    from nas_edge.pipeline.devices.bench import open_bench, protocol_for
    from nas_edge.pipeline.devices.reaching import at_device
    from nas_edge.pipeline.tables.measuring import measure_table

    asked = load_target(target)
    if precision is not None and precision not in tuple(Precision):
        raise UnknownNameError("precision", precision, [known.value for known in Precision])
    if asked.microcontroller:
        if precision not in (None, asked.precision):
            raise ConfigError(f"--precision {precision}: target {asked.name!r} runs {asked.precision} alone")
        return _count_command(asked, spaces, out, calibration, holdout, seed, progress)
    found = at_device(asked, host, serial)
    if probes is None:
        probes = PROBES if effort != "quick" and found.runtime in _PROBED else 0
    bench = open_bench(found)
    try:
        measured = measure_table(
            spaces, out=out, target="" if asked.device.kind == "local" else found.name, runtime=found.runtime,
            precision=precision or found.precision, threads=found.threads,
            protocol=protocol_for(effort, regime, statistic, seed), calibration=calibration, holdout=holdout,
            probes=probes, resume=resume, append=append, seed=seed, device=bench.device, engine=bench.runtime,
            progress=progress,
        )  # fmt: skip
    finally:
        bench.close()
    lines = [
        f"table      {measured.path}",
        f"measured   {len(measured.measurements)} blocks and networks in {format_duration(measured.wall_s)}; the table "
        f"holds {len(measured.table.blocks)} blocks and {len(measured.table.networks)} networks",
        f"machine    {measured.interference.describe()}",
    ]
    if measured.merged is not None:
        drift = 100 * (measured.merged.drift - 1)
        lines.append(f"appended   {measured.merged.shared} blocks timed again: {drift:+.1f} % since then, corrected")
    for report in measured.reports:
        if (error := report.holdout) is not None:
            lines.append(
                f"hold-out   {error.networks} networks of {report.space}: error {error.mape_percent:.1f} %, "
                f"worst {error.worst_percent:.1f} %, Spearman {error.spearman:.3f}"
            )
        lines += [f"problem    {problem}" for problem in report.problems]
    data = {
        "table": str(measured.path),
        "wall_s": round(measured.wall_s, 1),
        "interference": asdict(measured.interference),
        "drift_percent": None if measured.merged is None else round(100 * (measured.merged.drift - 1), 3),
        **measured.report.to_json(),
        "spaces": [report.to_json() for report in measured.reports],
    }
    return TableReport(data, lines)


def _count_command(
    target: Target,
    spaces: Sequence[tuple[SearchSpace, int]],
    out: Path | None,
    calibration: int,
    holdout: int,
    seed: int,
    progress: Progress,
) -> TableReport:
    from nas_edge.errors import DeviceError
    from nas_edge.pipeline.devices.microcontrollers import board_of
    from nas_edge.pipeline.tables.counting import count_table

    board = board_of(target)
    if board.emulated is None:
        raise DeviceError(
            f"target {target.name!r} is emulated by nothing; its table is that of {board.counted_on}, which has the "
            f"same core: nas-edge table measure --target {board.counted_on}"
        )
    counted = count_table(
        spaces, board, out=out, calibration=calibration, holdout=holdout, seed=seed, progress=progress
    )
    lines = [
        f"table      {counted.path}",
        f"counted    {len(counted.table.blocks)} blocks and {len(counted.table.networks)} networks in "
        f"{format_duration(counted.wall_s)}: instructions in {counted.table.header.runtime_version}, measured-emulated",
    ]
    for report in counted.reports:
        if (error := report.holdout) is not None:
            lines.append(
                f"hold-out   {error.networks} networks of {report.space}: error {error.mape_percent:.3f} %, "
                f"worst {error.worst_percent:.3f} %"
            )
        lines += [f"problem    {problem}" for problem in report.problems]
    data = {
        "table": str(counted.path),
        "wall_s": round(counted.wall_s, 1),
        "unit": counted.table.header.unit,
        **counted.reports[0].to_json(),
        "spaces": [report.to_json() for report in counted.reports],
    }
    return TableReport(data, lines)


def named_table(name: str | None, target: str | None) -> tuple[LatencyTable, Path | None, tuple[str, ...]]:
    """A table by name or directory, else the target's (by default `local`); its directory, and what to know of it.

    Raises:
        UnknownNameError: no such table or target. FormatError, ConfigError, TableError: damaged (file and line).

    """
    from nas_edge.latency import read_table

    if name is not None:
        path = table_path(name)
        return read_table(path), path, ()
    device: Target = load_target(target or "local")
    found = load_table_for(device)
    return found.table, found.path, found.notes
