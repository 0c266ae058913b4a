"""Two sittings of one device as one table.

A device's clock drifts between sittings, which scales everything alike: the second sitting is brought to the speed of
the first by the median ratio of the blocks that both measured, before figures are averaged by their number of runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from nas_edge.errors import TableError
from nas_edge.latency.diff import header_differences, network_identity
from nas_edge.latency.drift import compared
from nas_edge.latency.suspicious import describe_block
from nas_edge.latency.table import BlockEntry, LatencyTable, NetworkEntry, Role, TableHeader, canonical
from nas_edge.spaces import BlockSpec

MUST_AGREE = (
    "target", "runtime", "runtime_version", "precision", "threads", "batch", "regime", "statistic", "origin.kind",
    "origin.machine", "device",
)  # fmt: skip
"""Keys of the header that two sittings of one table share; of the device all but its kernel's version."""

_MAY_DIFFER = ("device.kernel",)
_LEAST_SHARED = 5


@dataclass(frozen=True)
class Merge:
    """What `merge_tables` made.

    Attributes:
        table: of both sittings, at the speed of the first.
        shared: blocks that both had.
        drift: how many times as long the second sitting took: median of the shared blocks' ratios.
        conflicts: (block, first ms, second ms after correction) further apart than the limit.

    """

    table: LatencyTable
    shared: int
    drift: float
    conflicts: tuple[tuple[BlockSpec, float, float], ...]

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "blocks": len(self.table.blocks),
            "networks": len(self.table.networks),
            "shared": self.shared,
            "drift_percent": round(100 * (self.drift - 1), 3),
            "conflicts": [
                {"block": describe_block(block), "first_ms": a, "second_ms": b, "ratio": round(b / a, 4)}
                for block, a, b in self.conflicts
            ],
        }


def merge_tables(first: LatencyTable, second: LatencyTable, conflict: float = 0.1) -> Merge:
    """Merge two sittings.

    Args:
        first: sets the speed, and the header but for the dates.
        second: brought to the first one's speed.
        conflict: blocks that differ by more than this share after the correction are listed; they are averaged as well.

    Raises:
        TableError: the headers are not of one device, runtime and way of measuring (what differs is named), or too few
            blocks are shared to tell how the clock drifted.

    """
    different = {
        key: values
        for key, values in header_differences(first.header, second.header, MUST_AGREE).items()
        if key not in _MAY_DIFFER
    }
    if different:
        described = "; ".join(f"{key} is {a!r} and {b!r}" for key, (a, b) in different.items())
        raise TableError(f"the tables are not two sittings of one device: {described}")
    theirs = {canonical(block): (block, entry) for block, entry in second.blocks.items()}
    pairs = [(block, entry, theirs[canonical(block)][1]) for block, entry in first.blocks.items()
             if canonical(block) in theirs]  # fmt: skip
    if len(pairs) < _LEAST_SHARED:
        raise TableError(
            f"the sittings share {len(pairs)} blocks, of which {_LEAST_SHARED} are needed to tell how the clock drifted"
        )
    drift = median(b.ms / a.ms for _, a, b in pairs)
    corrected = {block: _scaled(entry, 1 / drift) for block, (_, entry) in theirs.items()}
    blocks = {block: _weighed(entry, corrected.pop(canonical(block), None)) for block, entry in first.blocks.items()}
    blocks |= {theirs[block][0]: entry for block, entry in corrected.items()}
    conflicts = [(block, a.ms, b.ms / drift) for block, a, b in pairs
                 if max(a.ms, b.ms / drift) > (1 + conflict) * min(a.ms, b.ms / drift)]  # fmt: skip
    conflicts.sort(key=lambda item: -max(item[1] / item[2], item[2] / item[1]))
    networks = _networks(first.networks, second.networks, drift)
    table = LatencyTable(_header(first.header, second.header, drift, compared(first, second)), blocks, networks)
    return Merge(table, len(pairs), drift, tuple(conflicts))


def _scaled(entry: BlockEntry, factor: float) -> BlockEntry:
    p90 = None if entry.p90_ms is None else entry.p90_ms * factor
    return replace(entry, ms=entry.ms * factor, p90_ms=p90)


def _weighed(a: BlockEntry, b: BlockEntry | None) -> BlockEntry:
    if b is None:
        return a
    weights = (max(a.count, 1), max(b.count, 1))
    ms = _mean((a.ms, b.ms), weights)
    assert ms is not None
    return BlockEntry(
        ms, _mean((a.p90_ms, b.p90_ms), weights), _mean((a.spread, b.spread), weights), a.count + b.count,
        _mean((a.energy_mj, b.energy_mj), weights), a.origin,
    )  # fmt: skip


def _mean(values: Sequence[float | None], weights: Sequence[int]) -> float | None:
    known = [(value, weight) for value, weight in zip(values, weights, strict=True) if value is not None]
    return sum(value * weight for value, weight in known) / sum(weight for _, weight in known) if known else None


def _networks(first: Sequence[NetworkEntry], second: Sequence[NetworkEntry], drift: float) -> tuple[NetworkEntry, ...]:
    """Both sittings' networks; one that either holds out stays held out, whoever else calibrated on it."""
    merged = {network_identity(network): network for network in first}
    names = {network.name for network in first}
    for measured in second:
        other = replace(
            measured,
            ms=measured.ms / drift,
            upper95_ms=None if measured.upper95_ms is None else measured.upper95_ms / drift,
            p90_ms=None if measured.p90_ms is None else measured.p90_ms / drift,
        )
        key = network_identity(other)
        if key in merged:
            merged[key] = _weighed_networks(merged[key], other)
            continue
        name, number = other.name, 2
        while name in names:
            name, number = f"{other.name}-{number}", number + 1
        names.add(name)
        merged[key] = replace(other, name=name)
    return tuple(merged.values())


def _weighed_networks(a: NetworkEntry, b: NetworkEntry) -> NetworkEntry:
    weights = (max(a.count, 1), max(b.count, 1))
    role = Role.HOLDOUT if Role.HOLDOUT in (a.role, b.role) else a.role
    ms = _mean((a.ms, b.ms), weights)
    assert ms is not None
    return replace(
        a, role=role, ms=ms, upper95_ms=_mean((a.upper95_ms, b.upper95_ms), weights),
        p90_ms=_mean((a.p90_ms, b.p90_ms), weights), spread=_mean((a.spread, b.spread), weights),
        count=a.count + b.count,
    )  # fmt: skip


def _header(first: TableHeader, second: TableHeader, drift: float, sittings: Mapping[str, Any]) -> TableHeader:
    dates = (first.origin.date or "no date", second.origin.date or "no date")
    note = (
        f"Merged from two sittings ({dates[0]}, {dates[1]}); the second took {100 * abs(drift - 1):.1f} % "
        f"{'more' if drift > 1 else 'less'} time, which was corrected."
    )
    resolutions = sorted({*first.space.get("resolutions", ()), *second.space.get("resolutions", ())})
    same_space = first.space.get("name") == second.space.get("name")
    space = {**first.space, **({"resolutions": resolutions} if resolutions else {})} if same_space else {}
    return replace(
        first,
        origin=replace(first.origin, date=max(first.origin.date, second.origin.date)),
        space=space,
        sittings=sittings,
        figures={},  # of another table: `check` computes them anew
        sources=tuple(dict.fromkeys((*first.sources, *second.sources))),
        notes=tuple(dict.fromkeys((*first.notes, *second.notes, note))),
    )
