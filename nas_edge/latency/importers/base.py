"""What an importer is, and how its rows become a table: one key one figure, units that agree, no foreign blocks."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any, Protocol

from nas_edge.errors import FormatError, TableError
from nas_edge.latency.importers.entries import Entry
from nas_edge.latency.suspicious import UNIT_FACTOR, common_count, describe_block, unlike_count
from nas_edge.latency.table import NOT_STATED, BlockEntry, LatencyTable, Source, TableHeader
from nas_edge.origin import Origin, OriginKind
from nas_edge.spaces import BlockSpec, Kind, Precision, SearchSpace

NORMAL_IQR = 1.349
"""Interquartile range of a normal law in standard deviations: how `std` and `var` become a spread."""

_SAME_BLOCK_FACTOR = 3.0  # two files may time one block twice, not differ by more than this


@dataclass(frozen=True)
class ImportRequest:
    """What the person who imports a table says about it; the files say little.

    Attributes:
        target: name of the table's directory below `latency_tables/`.
        source, url, revision, licence: of the figures; "" where not said.
        device, device_class: the device's name, and what kind of device it is: a key of `parametric.PRIORS`.
        runtime, runtime_version: what ran the blocks; "unstated" where nobody says.
        precision, threads: of the runs.
        space: whose blocks alone may be in the files; None lets all pass.
        without: beginnings of keys to be left out.
        notes: for the table's header.
        command: the command line, kept with the table so that it can be made again.
        options: what one format alone understands.

    """

    target: str
    source: str = ""
    url: str = ""
    revision: str = ""
    licence: str = ""
    device: str = ""
    device_class: str = ""
    runtime: str = "unstated"
    runtime_version: str = ""
    precision: Precision = Precision.FP32
    threads: int = 1
    space: SearchSpace | None = None
    without: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    command: str = ""
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Reading:
    """One figure as an importer understood it: block, figure, and where it stood."""

    block: BlockSpec
    entry: BlockEntry
    at: Entry


class TableFormat(Protocol):
    """A format that tables are imported from. Registered by `@register_table_format`.

    Attributes:
        name: of `--format`.
        summary: one line for the help.
        options: names that `ImportRequest.options` may have.

    """

    name: str
    summary: str
    options: tuple[str, ...]

    def import_table(self, paths: Sequence[Path], request: ImportRequest) -> LatencyTable:
        """Read files as one table.

        Raises:
            FormatError, TableError: what is wrong, with file, line and key.

        """
        ...


def table_of(
    readings: Iterable[Reading],
    paths: Sequence[Path],
    request: ImportRequest,
    header: TableHeader,
    repeats: bool = False,
) -> LatencyTable:
    """The table of what was read.

    Args:
        readings: in the order of the files.
        paths: the files.
        request: what the person who imports says.
        header: of the table, without what is only known now.
        repeats: whether one file may hold a block several times, as measurements of their own.

    Raises:
        FormatError: nothing was read. TableError: figures that contradict each other, units that are mixed, a block
            that the space of the request has not (each with file, line and key).

    """
    kept = [
        reading if reading.block.precision is request.precision else _of_precision(reading, request.precision)
        for reading in readings
        if not reading.at.key.startswith(request.without or ("\0",))
    ]
    if not kept:
        raise FormatError(f"{paths[0]}: nothing is left of the table")
    _check_units(kept)
    if request.space is not None:
        _check_space(kept, request.space, request.precision)
    by_block: dict[BlockSpec, list[Reading]] = {}
    for reading in kept:
        by_block.setdefault(reading.block, []).append(reading)
    blocks = {block: _merged(group, repeats) for block, group in by_block.items()}
    repeated = sum(len(group) > 1 for group in by_block.values())
    notes = list(header.notes)
    if repeated:
        notes.append(
            f"{repeated} blocks were measured several times; their means, weighted by the number of runs, were taken."
        )
    record: dict[str, Any] = {**header.protocol}
    unlike = _unlike_counts(kept)
    if unlike:
        record["unlike_counts"] = unlike
    space = _described(request.space, blocks) if request.space is not None else {}
    return LatencyTable(replace(header, notes=tuple(notes), protocol=record, space=space), blocks)


def header_for(
    request: ImportRequest, paths: Sequence[Path], format_name: str, statistic: str, notes: Sequence[str] = ()
) -> TableHeader:
    """The header of an imported table: published, with its source, the files' digests and the command."""
    names = ", ".join(path.name for path in paths)
    source = Source(
        request.source or NOT_STATED, request.url, request.revision, request.licence or "none stated",
        f"all figures, from {names}",
    )  # fmt: skip
    device: dict[str, Any] = {"name": request.device} if request.device else {}
    if request.device_class:
        device["class"] = request.device_class
    described = " @ ".join(part for part in (request.source or names, request.revision) if part)
    record: dict[str, Any] = {
        "imported_by": request.command,
        "format": format_name,
        "files": {path.name: digest(path) for path in paths},
    }
    return TableHeader(
        target=request.target,
        runtime=request.runtime,
        runtime_version=request.runtime_version,
        precision=request.precision,
        threads=request.threads,
        statistic=statistic,
        origin=Origin(OriginKind.PUBLISHED, source=", ".join(part for part in (described, request.device) if part)),
        protocol={key: value for key, value in record.items() if value},
        device=device,
        sources=(source,),
        notes=(*notes, *request.notes),
    )


def digest(path: Path) -> str:
    """ "sha256:" and the first 16 digits: tells another file of the same name."""
    try:
        return f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()[:16]}"
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error.strerror})") from error


def iterate(paths: Sequence[Path], read: Callable[[Path], Iterator[Reading]]) -> Iterator[Reading]:
    """Readings of several files. Raises TableError where a file is given twice."""
    twice = [name for name, count in Counter(path.resolve() for path in paths).items() if count > 1]
    if twice:
        raise TableError(f"{twice[0]}: is given twice")
    for path in paths:
        yield from read(path)


def _of_precision(reading: Reading, precision: Precision) -> Reading:
    return replace(reading, block=replace(reading.block, precision=precision))


def _merged(group: Sequence[Reading], repeats: bool) -> BlockEntry:
    """One figure of several for one block: each file is a sitting. Within a file a block stands once, as a rule."""
    if len(group) == 1:
        return group[0].entry
    seen: dict[Path, Reading] = {}
    for reading in group:
        other = seen.setdefault(reading.at.path, reading)
        if other is not reading and not repeats:
            raise reading.at.fail(f"is the same block as line {other.at.line}; keep one of the two")
    least, most = min(group, key=lambda r: r.entry.ms), max(group, key=lambda r: r.entry.ms)
    if most.entry.ms > _SAME_BLOCK_FACTOR * least.entry.ms:
        raise most.at.fail(
            f"{most.entry.ms:.4g} ms, but {least.entry.ms:.4g} ms in {least.at.path.name}:{least.at.line}; "
            "one key cannot have two values (are the units the same? --without KEY leaves a key out)"
        )
    weights = [max(reading.entry.count, 1) for reading in group]

    def mean(values: Sequence[float | None]) -> float | None:
        pairs = [(value, w) for value, w in zip(values, weights, strict=True) if value is not None]
        return sum(value * w for value, w in pairs) / sum(w for _, w in pairs) if pairs else None

    ms = mean([reading.entry.ms for reading in group])
    assert ms is not None
    return BlockEntry(
        ms,
        spread=mean([reading.entry.spread for reading in group]),
        count=sum(reading.entry.count for reading in group),
        energy_mj=mean([reading.entry.energy_mj for reading in group]),
        origin=group[0].entry.origin,
    )


def _check_units(readings: Sequence[Reading]) -> None:
    """A figure hundreds of times off what its like take is in another unit: files say none, so nothing else tells."""
    work = [r for r in readings if r.block.kind is Kind.INVERTED_RESIDUAL]
    for part in (work, [r for r in readings if r.block.kind in (Kind.STEM, Kind.HEAD) and r.block.height > 1]):
        if len(part) < 4:
            continue
        logs = [math.log(r.entry.ms / (r.block.macs + 1e5)) for r in part]
        middle = median(logs)
        worst = max(range(len(part)), key=lambda i: abs(logs[i] - middle))
        factor = math.exp(logs[worst] - middle)
        if not 1 / UNIT_FACTOR < factor < UNIT_FACTOR:
            raise part[worst].at.fail(
                f"{part[worst].entry.ms:.4g} ms is {factor:.3g} times what its like take; are units mixed?"
            )


def _check_space(readings: Sequence[Reading], space: SearchSpace, precision: Precision) -> None:
    from nas_edge.latency.plan import distinct_blocks
    from nas_edge.latency.table import canonical

    classes = {r.block.out_channels for r in readings if r.block.kind is Kind.LINEAR} or {1000}
    known = {canonical(b) for n in sorted(classes) for b in distinct_blocks(space, n, precision=precision)}
    for reading in readings:
        if canonical(reading.block) not in known:
            raise reading.at.fail(f"is no block of space {space.name!r}")


def _described(space: SearchSpace, blocks: Iterable[BlockSpec]) -> dict[str, Any]:
    """The header's `space`: what the table covers of it."""
    blocks = list(blocks)
    classes = sorted({b.out_channels for b in blocks if b.kind is Kind.LINEAR})
    stems = {b.height for b in blocks if b.kind is Kind.STEM}
    resolutions = [r for r in space.template.resolutions if r in stems]
    described: dict[str, Any] = {"name": space.name}
    if len(classes) == 1:
        described["num_classes"] = classes[0]
    return described | ({"resolutions": resolutions} if resolutions else {})


def _unlike_counts(readings: Sequence[Reading]) -> dict[str, str]:
    """Blocks timed another number of times than nearly all others of their file: copied from another table, perhaps."""
    by_path: dict[Path, list[Reading]] = {}
    for reading in readings:
        by_path.setdefault(reading.at.path, []).append(reading)
    found: dict[str, str] = {}
    for path, group in by_path.items():
        common = common_count([r.entry.count for r in group])
        for r in group if common else ():
            if unlike_count(r.entry.count, common):
                found.setdefault(describe_block(r.block), f"{r.entry.count} runs, {common} elsewhere in {path.name}")
    return found
