"""Latency tables as flows: measure one, or make first contact with a CPU that has none."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas_edge import resources
from nas_edge.errors import MeasurementError, NasEdgeError, SpaceError, TableError
from nas_edge.latency import LatencyTable, NetworkEntry, TableHeader, read_table, table_directory, write_table
from nas_edge.latency.drift import compared
from nas_edge.latency.nearest import Wanted, transfer
from nas_edge.latency.table import BlockEntry
from nas_edge.latency.table_io import HEADER_FILE
from nas_edge.origin import Origin, OriginKind
from nas_edge.pipeline.tables.finding import (
    TABLES,
    FoundTable,
    cache_path,
    facts_of,
    load_table_for,
    nearest_table,
    own_directory,
)
from nas_edge.pipeline.tables.work import NetworkWork, plan_work
from nas_edge.progress import Progress, silent
from nas_edge.spaces import Precision, SearchSpace

if TYPE_CHECKING:
    from nas_edge.devices import Device, DeviceFingerprint
    from nas_edge.latency.check import TableReport
    from nas_edge.latency.merge import Merge
    from nas_edge.pipeline.devices.targets import Target
    from nas_edge.profiling import Interference, Measurement, Protocol
    from nas_edge.runtimes import Runtime

__all__ = ["FoundTable", "MeasuredTable", "first_contact", "load_table_for", "measure_table"]

JOURNAL = "journal.jsonl"
FIRST_CONTACT_NETWORKS = 16
FIRST_CONTACT_SPAN_S = 20.0  # clocks of shared machines drift over tens of seconds; timing itself takes two


@dataclass(frozen=True)
class MeasuredTable:
    """What `measure_table` made.

    Attributes:
        table: as written.
        reports: coverage and error on the hold-out networks, of each space that was asked for.
        path: its directory.
        measurements: of every block and network that was timed, by name, all samples included.
        interference: what the sitting noticed of other programs.
        merged: how it was joined to the table that was there; None for a table of its own.
        wall_s: time taken by this call.

    """

    table: LatencyTable
    reports: tuple[TableReport, ...]
    path: Path
    measurements: Mapping[str, Measurement]
    interference: Interference
    merged: Merge | None
    wall_s: float

    @property
    def report(self) -> TableReport:
        """Of the first space."""
        return self.reports[0]


def measure_table(
    spaces: Sequence[tuple[SearchSpace, int]],
    *,
    out: Path | None = None,
    target: str = "",
    runtime: str = "onnxruntime",
    precision: str = "fp32",
    threads: int = 1,
    protocol: Protocol | None = None,
    calibration: int = 40,
    holdout: int = 20,
    probes: int = 0,
    resume: bool = True,
    append: bool = False,
    seed: int = 0,
    device: Device | None = None,
    engine: Runtime | None = None,
    reference: Callable[[], float] | None = None,
    progress: Progress | None = None,
) -> MeasuredTable:
    """Measure every block of one space or several, and whole networks beside them, in one sitting; check and write.

    A journal lies in the table's directory until the table is written: a killed run goes on where it was.

    Several spaces in one sitting need no correction for drift. A space that is appended to a table measured earlier is
    brought to that table's speed twice: times by the reference kernel's quiet value of then, and what remains by the
    median ratio of some blocks of the table that are timed again (`latency.merge`).

    Args:
        spaces: each with its number of classes; disallowed resolutions are not measured.
        out: the `latency_tables` directory; by default that of the current directory.
        target: name of the table's directory; by default the slug of the device ("cpu-amd-epyc-f26m2").
        runtime: what runs the blocks.
        precision: of the runs.
        threads: of the runs.
        protocol: `Protocol.default()` by default.
        calibration: whole networks of each space that the predictor is calibrated on.
        holdout: whole networks of each space that its error is computed from.
        probes: blocks beyond the spaces, by which networks of other widths and inputs are priced.
        resume: go on with a journal that is there; otherwise begin anew.
        append: to the table that is there, measured on this device; otherwise it is replaced.
        seed: of the choice of networks and of all weights.
        device: by default this machine.
        engine: the runtime on that device; by default the one of this machine.
        reference: a reading of the reference kernel; see `measure_many`.
        progress: told about measured visits.

    Raises:
        MeasurementError, DeviceError: it cannot be measured; nothing measured is lost. UnknownNameError: no such
            runtime. TableError: the table there is another device's, or measured otherwise. SpaceError: no space, or a
            precision that the runtime has not.
        ConfigError, StorageError: the directory cannot be written.

    """
    from nas_edge.files import make_directory
    from nas_edge.profiling import Protocol, measure_many
    from nas_edge.runtimes import get_runtime
    from nas_edge.runtimes.base import check_request

    begun = time.monotonic()
    if not spaces:
        raise SpaceError("a table is measured for a space; name one (--space)")
    progress, device, engine = progress or silent, device or _local_device(), engine or get_runtime(runtime)
    check_request(engine.name, engine.precisions, precision, threads)  # before a directory is made
    protocol = protocol or Protocol.default()
    fingerprint = _real(device)
    header = TableHeader(
        target=target or fingerprint.slug,
        runtime=runtime,
        runtime_version=engine.version(),
        precision=Precision(precision),
        threads=threads,
        regime=str(protocol.regime),
        statistic=str(protocol.statistic),
        protocol=protocol.to_json(),
        device=facts_of(fingerprint, runtime),
        space=_described(spaces),
    )
    directory = make_directory(table_directory(out or Path(TABLES), header))
    there = _table_to_append_to(directory, fingerprint.machine) if append else None
    earlier = there or _earlier_sitting(directory, header, fingerprint.machine)
    journal = directory / JOURNAL
    if not resume:
        journal.unlink(missing_ok=True)
    plan = plan_work(spaces, header.precision, calibration, holdout, seed, there, probes)
    found = measure_many(
        list(plan.items(seed, progress)), engine, device, protocol, precision, threads, journal, progress,
        reference=reference, reference_quiet_ms=_quiet_ms(there, fingerprint.machine, reference, engine),
    )  # fmt: skip
    first = next(iter(found.values()))
    header = replace(
        header,
        origin=replace(first.origin, date=max(m.date for m in found.values())[:10]),
        state=first.state.to_json(),
        reference_quiet_ms=round(first.reference_quiet_ms, 6),
        reference_kernel=first.reference_kernel,
        notes=_notes(first),
    )
    table = LatencyTable(
        header,
        {block: _block_entry(found[name]) for name, block in plan.blocks.items()},
        tuple(_network_entry(found[work.name], work) for work in plan.networks),
    )
    if earlier is not None:
        table = replace(table, header=replace(table.header, sittings=compared(earlier, table)))
    merged = _joined(there, table) if there is not None else None
    table = table if merged is None else merged.table
    table, reports = _checked(table, spaces, found)
    write_table(table, directory)
    journal.unlink(missing_ok=True)
    return MeasuredTable(
        table, reports, directory, found, first.interference, merged, time.monotonic() - begun
    )  # fmt: skip


def _described(spaces: Sequence[tuple[SearchSpace, int]]) -> dict[str, Any]:
    """The header's `space`: the first one, and the others under "also"."""
    described: list[dict[str, Any]] = [
        {"name": space.name, "num_classes": classes, "resolutions": list(space.resolutions)}
        for space, classes in spaces
    ]
    return {**described[0], **({"also": described[1:]} if len(described) > 1 else {})}


def _notes(measurement: Measurement) -> tuple[str, ...]:
    cores = ", ".join(str(core) for core in measurement.cores) or "not pinned"
    return (f"cores: {cores}; {measurement.interference.describe()}",)


def _quiet_ms(
    there: LatencyTable | None, machine: str, reference: Callable[[], float] | None, engine: Runtime
) -> float | None:
    from nas_edge.profiling.reference import reference_identity
    from nas_edge.runtimes.visits import RemoteRuntime

    if there is None or reference is not None:
        return None
    kernel = engine.reference_identity() if isinstance(engine, RemoteRuntime) else reference_identity()
    return there.header.quiet_reference_ms(machine, kernel)


def _real(device: Device) -> DeviceFingerprint:
    """What a device is. Raises MeasurementError for one that is emulated: its times say nothing of any device."""
    fingerprint = device.fingerprint()
    if fingerprint.emulator:
        raise MeasurementError(
            f"device {device.name!r} is emulated by {fingerprint.emulator}: its times stand for no device, and go into "
            "no table; 'nas-edge profile' shows them as measured-emulated"
        )
    return fingerprint


def _table_to_append_to(directory: Path, machine: str) -> LatencyTable:
    if not (directory / HEADER_FILE).is_file():
        raise TableError(f"{directory}: there is no table to append to; leave out --append")
    table = read_table(directory)
    if table.header.origin.machine != machine:
        raise TableError(
            f"{directory}: was measured on {table.header.origin.machine or 'an unknown machine'}, not on this one; "
            "measure into another directory (--out)"
        )
    return table


def _earlier_sitting(directory: Path, header: TableHeader, machine: str) -> LatencyTable | None:
    """A table of this very device that was measured alike: where the new one goes, or else among the tables at hand."""
    others = resources.candidates(f"{TABLES}/{header.target}/{header.directory_name}")
    for path in (directory, *others):
        try:
            table = read_table(path) if (path / HEADER_FILE).is_file() else None
        except NasEdgeError:
            continue  # it is about to be replaced, or is another's
        if table is not None and table.header.origin.machine == machine:
            same = ("runtime_version", "statistic", "batch")
            return table if all(getattr(table.header, key) == getattr(header, key) for key in same) else None
    return None


def _joined(there: LatencyTable, fresh: LatencyTable) -> Merge:
    """Both, at the speed of the table that was there; a space of the fresh one takes the place of its namesake."""
    from nas_edge.latency.merge import merge_tables

    merged = merge_tables(there, fresh)
    own, also = dict(there.header.space), list(there.header.space.get("also", ()))
    own.pop("also", None)
    fresh_spaces = [dict(fresh.header.space), *fresh.header.space.get("also", ())]
    fresh_spaces[0].pop("also", None)
    named = {one["name"]: one for one in (own, *also, *fresh_spaces) if "name" in one}
    first, *others = named.values()
    space = {**first, **({"also": others} if others else {})}
    return replace(merged, table=replace(merged.table, header=replace(merged.table.header, space=space)))


def _checked(
    table: LatencyTable, spaces: Sequence[tuple[SearchSpace, int]], found: Mapping[str, Measurement]
) -> tuple[LatencyTable, tuple[TableReport, ...]]:
    """The table with its figures, and a report for each space."""
    from nas_edge.latency.check import check_table

    reports = tuple(check_table(table, space, classes) for space, classes in spaces)
    figures: dict[str, Any] = {
        "items": len(found),
        "disturbed_items": sum(measurement.disturbed for measurement in found.values()),
    }
    errors = {report.space: report.holdout.to_json() for report in reports if report.holdout is not None}
    if errors:
        figures["holdout"] = next(iter(errors.values()))
    if len(errors) > 1:
        figures["holdout_by_space"] = errors
    return table.with_figures(figures), reports


def first_contact(
    target: Target,
    space: SearchSpace,
    num_classes: int,
    *,
    networks: int = FIRST_CONTACT_NETWORKS,
    regime: str = "hot",
    protocol: Protocol | None = None,
    device: Device | None = None,
    engine: Runtime | None = None,
    reference: Callable[[], float] | None = None,
    progress: Progress | None = None,
    seed: int = 0,
) -> FoundTable:
    """Time a few whole networks on a device without a table, and carry the nearest table over to it.

    Takes a minute at most; kept in the user's cache by CPU, runtime version, threads, precision and regime.

    Args:
        target: reachable; its runtime, precision and threads are used.
        space: of the networks.
        num_classes: of the classifier.
        networks: 10 to 20.
        regime: "hot" or "cold", of the default protocol.
        protocol: by default `Protocol.quick()`, its visits spread over 20 seconds.
        device: by default this machine.
        engine: the runtime on that device; by default the one of this machine.
        reference: a reading of the reference kernel; see `measure_many`.
        progress: told about measured visits.
        seed: of the choice of networks and of their weights.

    Raises:
        MeasurementError, DeviceError: it cannot be measured. ConfigError, StorageError: the cache cannot be written.

    """
    from nas_edge.profiling import Protocol, measure_many
    from nas_edge.runtimes import get_runtime

    engine, device = engine or get_runtime(target.runtime), device or _local_device()
    quick = replace(Protocol.quick(), rounds=8, max_rounds=12, min_span_s=FIRST_CONTACT_SPAN_S)
    protocol = protocol or quick.for_regime(regime)
    regime = str(protocol.regime)
    fingerprint = _real(device)
    facts = facts_of(fingerprint, target.runtime)
    precision = Precision(target.precision)
    plan = replace(plan_work([(space, num_classes)], precision, networks, 0, seed), blocks={})
    found = measure_many(
        list(plan.items(seed, progress or silent)), engine, device, protocol, target.precision, target.threads, None,
        progress, reference=reference,
    )  # fmt: skip
    entries = [_network_entry(found[work.name], work) for work in plan.networks]
    wanted = Wanted(target.runtime, target.precision, target.threads, regime, facts)
    start = _start(wanted, own_directory(target, facts))
    first = next(iter(found.values()))
    described = start.header.describe() if start else "a prior of MACs and layers"
    header = TableHeader(
        target=fingerprint.slug,
        runtime=target.runtime,
        runtime_version=engine.version(),
        precision=precision,
        threads=target.threads,
        regime=regime,
        statistic=str(protocol.statistic),
        protocol=protocol.to_json(),
        origin=Origin(
            OriginKind.MODELLED,
            first.origin.machine,
            first.origin.date,
            f"{described}, carried over by {len(entries)} networks measured on this device",
        ),
        device=facts,
        state=first.state.to_json(),
        reference_quiet_ms=round(first.reference_quiet_ms, 6),
        reference_kernel=first.reference_kernel,
        space=_described([(space, num_classes)]),
    )
    table = transfer(start, header, space, entries)
    path = cache_path(target, facts, regime, engine.version())
    write_table(table, path)
    note = f"first contact: {len(entries)} networks measured on this device, blocks carried over from {described}"
    return FoundTable(table, path, True, (note,))


def _start(wanted: Wanted, own: str) -> LatencyTable | None:
    closest = nearest_table(wanted, own)
    try:
        return read_table(closest) if closest else None
    except NasEdgeError:
        return None  # a damaged table of another device must not stand in the way of measuring this one


def _local_device() -> Device:
    from nas_edge.devices import LocalDevice

    return LocalDevice()


def _block_entry(measurement: Measurement) -> BlockEntry:
    return BlockEntry(
        measurement.estimate_ms(measurement.protocol.statistic),
        measurement.p90_ms,
        measurement.spread,
        measurement.count,
    )


def _network_entry(measurement: Measurement, work: NetworkWork) -> NetworkEntry:
    return NetworkEntry(
        work.name,
        work.space.name,
        work.num_classes,
        work.space.to_json(work.arch),
        work.role,
        measurement.estimate_ms(measurement.protocol.statistic),
        measurement.upper95_ms,
        measurement.p90_ms,
        measurement.spread,
        measurement.count,
    )
