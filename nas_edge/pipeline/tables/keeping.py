"""What was measured in searches is kept, and improves the predictions of its device from then on.

Beside the user's cache of first contacts lies a table without blocks for each machine, runtime, precision, threads and
regime: whole networks, their times brought to one quiet value of the reference kernel.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nas_edge.errors import ArchitectureError, NasEdgeError
from nas_edge.latency import LatencyPredictor, LatencyTable, NetworkEntry, TableHeader, read_table, write_table
from nas_edge.latency.drift import FEWEST_NETWORKS, pooled, sitting_drift
from nas_edge.latency.table import Role, directory_name
from nas_edge.latency.table_io import HEADER_FILE
from nas_edge.origin import OriginKind
from nas_edge.resources import cache_directory
from nas_edge.spaces import Population, SearchSpace

if TYPE_CHECKING:
    from nas_edge.profiling import Measurement

MEASURED = "measured_networks"
MOST = 200  # networks, the latest
_FAR = 0.1  # from the reference kernel's quiet value: a network's time is then known to about two per cent
_ENOUGH = 3  # networks of another machine than the table's, below which its speed stays unknown


def kept_path(header: TableHeader, machine: str) -> Path:
    """Where networks measured on a machine are kept; the table's header says under which conditions."""
    name = directory_name(header.runtime, header.precision.value, header.threads, header.regime)
    return cache_directory() / MEASURED / hashlib.sha256(machine.encode()).hexdigest()[:16] / name


def improved(predictor: LatencyPredictor, machine: str) -> tuple[LatencyPredictor, Path | None]:
    """A predictor that knows what was measured on this machine since its table was.

    On the table's own machine the networks join those of the table; on another one they also say how much faster or
    slower it is.

    Returns:
        The predictor, and the directory of what was kept; the same predictor and None where nothing was.

    """
    header = predictor.table.header
    kept = _read(header, machine)
    if kept is None:
        return predictor, None
    own = {_identity(network) for network in predictor.table.networks}
    rows, ms = [], []
    for network in kept.networks:
        if network.space != predictor.space.name or network.num_classes != predictor.num_classes:
            continue
        try:
            row = predictor.space.from_json(network.arch)
        except ArchitectureError:
            continue  # of another version of the space
        if _identity(network) not in own:
            rows.append(row)
            ms.append(network.ms)
    if not rows:
        return predictor, None
    path = kept_path(header, machine)
    quiet_ms = header.quiet_reference_ms(machine, kept.header.reference_kernel)
    if quiet_ms is not None and kept.header.reference_quiet_ms is not None:
        scale = quiet_ms / kept.header.reference_quiet_ms
        new = [replace(network, ms=scale * network.ms) for network in kept.networks if _identity(network) not in own]
        table = predictor.table.with_networks(new)
        table = replace(table, header=replace(header, sittings=pooled(header, kept.header.sittings)))
        return LatencyPredictor.of(table, predictor.space, predictor.num_classes), path
    if len(rows) < _ENOUGH:
        return predictor, None
    return predictor.recalibrated(np.stack(rows), np.array(ms)), path


def quiet_value(header: TableHeader, machine: str, kernel: str) -> float | None:
    """The reference kernel's value that a sitting on a machine is brought to: the table's, else that of what was kept.

    None where neither is known.
    """
    own = header.quiet_reference_ms(machine, kernel)
    kept = None if own is not None else _read(header, machine)
    return own if kept is None or kept.header.reference_kernel != kernel else kept.header.reference_quiet_ms


def keep(
    header: TableHeader,
    space: SearchSpace,
    num_classes: int,
    rows: Sequence[Population],
    measurements: Sequence[Measurement],
) -> None:
    """Add measured networks to those of their machine, unless it was far from quiet. Not being able to is no failure.

    Args:
        header: of the table that the device is predicted by.
        space: of the rows, without a precision gene.
        num_classes: of the classifier.
        rows: int8 [genes] each.
        measurements: one a row, of one machine.

    """
    good = [(row, one) for row, one in zip(rows, measurements, strict=True) if _usable(header, one)]
    if not good:
        return
    first = good[0][1]
    machine = first.origin.machine
    old = _read(header, machine)
    if old is not None and old.header.reference_kernel != first.reference_kernel:
        old = None
    quiet_ms = header.quiet_reference_ms(machine, first.reference_kernel) if old is None else None
    quiet_ms = quiet_ms or (old.header.reference_quiet_ms if old else None) or first.reference_quiet_ms
    known = {} if old is None else {_identity(network): network for network in old.networks}
    fresh = {
        _identity(entry): entry
        for entry in (_entry(space, num_classes, row, one, quiet_ms / one.reference_quiet_ms) for row, one in good)
    }
    sittings = _drift(header, old, known, fresh)
    for identity, entry in fresh.items():
        known.pop(identity, None)
        known[identity] = entry
    latest = list(known.values())[-MOST:]
    named = tuple(replace(network, name=f"measured-{number:03d}") for number, network in enumerate(latest, 1))
    described = replace(
        header, origin=first.origin, device=first.device.to_json(), protocol=first.protocol.to_json(),
        state=first.state.to_json(), reference_quiet_ms=quiet_ms, reference_kernel=first.reference_kernel, figures={},
        space={}, prior={}, sittings=sittings, transfer={}, sources=(), notes=("networks that searches measured",),
    )  # fmt: skip
    try:
        write_table(LatencyTable(described, {}, named), kept_path(header, machine))
    except NasEdgeError:
        return


def _usable(header: TableHeader, measurement: Measurement) -> bool:
    # Times are brought to the kernel's quiet value; far from it that is a guess.
    off = float(np.median([abs(visit.reference_ratio - 1) for visit in measurement.used_visits]))
    return (
        off <= _FAR
        and measurement.origin.kind is OriginKind.MEASURED  # an emulator's times stand for no device
        and measurement.runtime == header.runtime
        and measurement.reference_quiet_ms > 0
        and str(measurement.protocol.statistic) == header.statistic
        and str(measurement.regime) == header.regime
    )


def _drift(
    header: TableHeader,
    old: LatencyTable | None,
    known: Mapping[str, NetworkEntry],
    fresh: Mapping[str, NetworkEntry],
) -> Mapping[str, Any]:
    """How sittings differ on the machine, by networks that were measured before."""
    earlier = old.header.sittings if old is not None else {}
    again = known.keys() & fresh.keys()
    if len(again) < FEWEST_NETWORKS:
        return earlier
    times = [{name: table[name].ms for name in again} for table in (known, fresh)]
    return sitting_drift(times, header, [earlier])


def _read(header: TableHeader, machine: str) -> LatencyTable | None:
    """What was kept under the conditions of a table; None where there is nothing, or nothing that compares."""
    path = kept_path(header, machine)
    if not machine or not (path / HEADER_FILE).is_file():
        return None
    try:
        kept = read_table(path)
    except NasEdgeError:
        return None  # a damaged cache must not stand in the way; the next measurement replaces it
    same = kept.header.runtime_version == header.runtime_version and kept.header.statistic == header.statistic
    return kept if same else None


def _entry(space: SearchSpace, num_classes: int, row: Population, one: Measurement, scale: float) -> NetworkEntry:
    return NetworkEntry(
        "new", space.name, num_classes, space.to_json(row), Role.CALIBRATION,
        scale * one.estimate_ms(one.protocol.statistic), scale * one.upper95_ms, scale * one.p90_ms, one.spread,
        one.count,
    )  # fmt: skip


def _identity(network: NetworkEntry) -> str:
    return json.dumps([network.space, network.num_classes, dict(network.arch)], sort_keys=True)
