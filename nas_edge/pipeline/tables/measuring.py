"""Latency tables as flows: measure one, or make first contact with a CPU that has none."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas_edge.errors import NasEdgeError
from nas_edge.latency import LatencyTable, NetworkEntry, TableHeader, read_table, table_directory, write_table
from nas_edge.latency.nearest import Wanted, transfer
from nas_edge.latency.table import BlockEntry
from nas_edge.origin import Origin, OriginKind
from nas_edge.pipeline.tables.finding import TABLES, FoundTable, cache_path, facts_of, load_table_for, nearest_table
from nas_edge.progress import Progress, silent
from nas_edge.spaces import BlockSpec, Precision, SearchSpace

if TYPE_CHECKING:
    from nas_edge.devices import Device
    from nas_edge.latency.check import TableReport
    from nas_edge.latency.plan import PlannedNetwork
    from nas_edge.pipeline.targets import Target
    from nas_edge.profiling import Measurement, Protocol

__all__ = ["FoundTable", "MeasuredTable", "first_contact", "load_table_for", "measure_table"]

JOURNAL = "journal.jsonl"
FIRST_CONTACT_NETWORKS = 16
FIRST_CONTACT_SPAN_S = 20.0  # clocks of shared machines drift over tens of seconds; timing itself takes two


@dataclass(frozen=True)
class MeasuredTable:
    """What `measure_table` made.

    Attributes:
        table: as written.
        report: coverage and error on the hold-out networks.
        path: its directory.
        measurements: of every block and network, by name, all samples included.
        wall_s: time taken by this call.

    """

    table: LatencyTable
    report: TableReport
    path: Path
    measurements: Mapping[str, Measurement]
    wall_s: float


def measure_table(
    space: SearchSpace,
    num_classes: int,
    *,
    out: Path | None = None,
    target: str = "",
    runtime: str = "onnxruntime",
    precision: str = "fp32",
    threads: int = 1,
    protocol: Protocol | None = None,
    calibration: int = 20,
    holdout: int = 20,
    resume: bool = True,
    seed: int = 0,
    device: Device | None = None,
    reference: Callable[[], float] | None = None,
    progress: Progress | None = None,
) -> MeasuredTable:
    """Measure every block of a space and whole networks in one sitting, check the table and write it.

    A journal lies in the table's directory until the table is written: a killed run goes on where it was.

    Args:
        space: disallowed resolutions are not measured.
        num_classes: of the classifier.
        out: the `latency_tables` directory; by default that of the current directory.
        target: name of the table's directory; by default the slug of the device ("cpu-amd-epyc-f26m2").
        runtime: what runs the blocks.
        precision: of the runs.
        threads: of the runs.
        protocol: `Protocol.default()` by default.
        calibration: whole networks that the predictor is calibrated on.
        holdout: whole networks that its error is computed from.
        resume: go on with a journal that is there; otherwise begin anew.
        seed: of the choice of networks and of all weights.
        device: by default this machine.
        reference: a reading of the reference kernel; see `measure_many`.
        progress: told about measured visits.

    Raises:
        MeasurementError, DeviceError: it cannot be measured. UnknownNameError: no such runtime.
        ConfigError, StorageError: the directory cannot be written.

    """
    from nas_edge.files import make_directory
    from nas_edge.latency.check import check_table
    from nas_edge.latency.plan import distinct_blocks, plan_networks
    from nas_edge.profiling import Protocol, WorkItem, measure_many
    from nas_edge.runtimes import get_runtime

    begun = time.monotonic()
    progress, device, engine = progress or silent, device or _local_device(), get_runtime(runtime)
    protocol = protocol or Protocol.default()
    fingerprint = device.fingerprint()
    header = TableHeader(
        target=target or fingerprint.slug,
        runtime=runtime,
        runtime_version=engine.version(),
        precision=Precision(precision),
        threads=threads,
        regime=str(protocol.regime),
        statistic=str(protocol.statistic),
        protocol=protocol.to_json(),
        device=facts_of(fingerprint),
        space={"name": space.name, "num_classes": num_classes, "resolutions": list(space.resolutions)},
    )
    directory = make_directory(table_directory(out or Path(TABLES), header))
    journal = directory / JOURNAL
    if not resume:
        journal.unlink(missing_ok=True)
    blocks = distinct_blocks(space, num_classes, precision=header.precision)
    plan = plan_networks(space, num_classes, calibration, holdout, seed)
    items = []
    for number, block in enumerate(blocks):
        progress(number, len(blocks) + len(plan), f"building {len(blocks)} blocks and {len(plan)} networks")
        items.append(WorkItem(f"block-{number:04d}", _onnx([block], seed)))
    for planned in plan:
        items.append(WorkItem(planned.name, _onnx(space.lower(planned.arch, num_classes, header.precision), seed)))
    found = measure_many(
        items, engine, device, protocol, precision, threads, journal, progress, reference=reference
    )  # fmt: skip
    entries = {block: _block_entry(found[f"block-{number:04d}"]) for number, block in enumerate(blocks)}
    networks = [_network_entry(planned, found[planned.name], space, num_classes) for planned in plan]
    first = next(iter(found.values()))
    header = replace(
        header,
        origin=replace(first.origin, date=max(m.date for m in found.values())[:10]),
        state=first.state.to_json(),
        reference_quiet_ms=round(first.reference_quiet_ms, 6),
    )
    table = LatencyTable(header, entries, tuple(networks))
    report = check_table(table, space, num_classes)
    disturbed = sum(measurement.disturbed for measurement in found.values())
    figures: dict[str, Any] = {"items": len(found), "disturbed_items": disturbed}
    if report.holdout is not None:
        figures["holdout"] = report.holdout.to_json()
    table = table.with_figures(figures)
    write_table(table, directory)
    journal.unlink(missing_ok=True)
    return MeasuredTable(table, report, directory, found, time.monotonic() - begun)


def first_contact(
    target: Target,
    space: SearchSpace,
    num_classes: int,
    *,
    networks: int = FIRST_CONTACT_NETWORKS,
    protocol: Protocol | None = None,
    device: Device | None = None,
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
        protocol: by default `Protocol.quick()`, its visits spread over 20 seconds.
        device: by default this machine.
        reference: a reading of the reference kernel; see `measure_many`.
        progress: told about measured visits.
        seed: of the choice of networks and of their weights.

    Raises:
        MeasurementError, DeviceError: it cannot be measured. ConfigError, StorageError: the cache cannot be written.

    """
    from nas_edge.latency.plan import plan_networks
    from nas_edge.profiling import Protocol, WorkItem, measure_many
    from nas_edge.runtimes import get_runtime

    engine, device = get_runtime(target.runtime), device or _local_device()
    protocol = protocol or replace(Protocol.quick(), rounds=8, max_rounds=12, min_span_s=FIRST_CONTACT_SPAN_S)
    regime = str(protocol.regime)
    fingerprint = device.fingerprint()
    facts = facts_of(fingerprint)
    plan = plan_networks(space, num_classes, networks, 0, seed)
    precision = Precision(target.precision)
    items = [WorkItem(p.name, _onnx(space.lower(p.arch, num_classes, precision), seed)) for p in plan]
    found = measure_many(
        items, engine, device, protocol, target.precision, target.threads, None, progress, reference=reference
    )  # fmt: skip
    entries = [_network_entry(planned, found[planned.name], space, num_classes) for planned in plan]
    start = _start(Wanted(target.runtime, target.precision, target.threads, regime, facts))
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
        space={"name": space.name, "num_classes": num_classes, "resolutions": list(space.resolutions)},
    )
    table = transfer(start, header, space, entries)
    path = cache_path(target, facts, regime, engine.version())
    write_table(table, path)
    note = f"first contact: {len(entries)} networks measured on this device, blocks carried over from {described}"
    return FoundTable(table, path, True, (note,))


def _start(wanted: Wanted) -> LatencyTable | None:
    closest = nearest_table(wanted)
    try:
        return read_table(closest) if closest else None
    except NasEdgeError:
        return None  # a damaged table of another device must not stand in the way of measuring this one


def _local_device() -> Device:
    from nas_edge.devices import LocalDevice

    return LocalDevice()


def _onnx(blocks: Sequence[BlockSpec], seed: int) -> bytes:
    from nas_edge.spaces.onnx_blocks import build_onnx

    model: bytes = build_onnx(blocks, seed=seed).SerializeToString()
    return model


def _block_entry(measurement: Measurement) -> BlockEntry:
    return BlockEntry(
        measurement.estimate_ms(measurement.protocol.statistic),
        measurement.p90_ms,
        measurement.spread,
        measurement.count,
    )


def _network_entry(
    planned: PlannedNetwork, measurement: Measurement, space: SearchSpace, num_classes: int
) -> NetworkEntry:
    return NetworkEntry(
        planned.name,
        space.name,
        num_classes,
        space.to_json(planned.arch),
        planned.role,
        measurement.estimate_ms(measurement.protocol.statistic),
        measurement.upper95_ms,
        measurement.p90_ms,
        measurement.spread,
        measurement.count,
    )
