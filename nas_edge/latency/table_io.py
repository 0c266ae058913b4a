"""Reading and writing `blocks.csv`, `networks.csv` and `table.yaml`: a wrong figure is refused with file and line."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypeVar

from nas_edge.errors import ConfigError, FormatError, NasEdgeError, TableError
from nas_edge.files import make_directory, parse_yaml, read_text, write_text, write_yaml, yaml_line
from nas_edge.latency.prior import NetworkPrior
from nas_edge.latency.table import MILLISECONDS, BlockEntry, LatencyTable, NetworkEntry, Role, Source, TableHeader
from nas_edge.origin import Origin, OriginKind
from nas_edge.spaces import BlockSpec, Precision

T = TypeVar("T")

FORMAT = 1
BLOCKS_FILE, NETWORKS_FILE, HEADER_FILE = "blocks.csv", "networks.csv", "table.yaml"

_SPEC_COLUMNS = tuple(f.name for f in fields(BlockSpec))
_BLOCK_COLUMNS = (*_SPEC_COLUMNS, "ms", "p90_ms", "spread", "count", "energy_mj", "origin")
_NETWORK_COLUMNS = (
    "name", "space", "num_classes", "arch", "role", "ms", "upper95_ms", "p90_ms", "spread", "count",
)  # fmt: skip
_HEADER_TEXTS = ("target", "runtime", "runtime_version", "regime", "statistic", "unit", "reference_kernel")
_HEADER_COUNTS = ("threads", "batch")
_HEADER_MAPPINGS = ("protocol", "device", "state", "space", "figures", "sittings", "prior", "transfer", "assumed")
_HEADER_KEYS = {
    "format", *_HEADER_TEXTS, *_HEADER_COUNTS, *_HEADER_MAPPINGS, "precision", "origin", "rows", "reference_quiet_ms",
    "sources", "notes",
}  # fmt: skip
_COUNTED = 1e6  # whole figures from here on are counts, every digit of which is meant
_REQUIRED_KEYS = (
    "format",
    "target",
    "runtime",
    "precision",
    "threads",
    "batch",
    "regime",
    "statistic",
    "origin",
    "rows",
)


def table_directory(root: Path, header: TableHeader) -> Path:
    """Where a table lies below a `latency_tables` directory."""
    return root / header.target / header.directory_name


# Writing -------------------------------------------------------------------------------------------------------


def write_table(table: LatencyTable, directory: Path) -> None:
    """Write the three files, each whole; the header, which holds the row counts, comes last.

    Raises:
        ConfigError, StorageError: not writable, disk full.

    """
    make_directory(directory)
    rows = [
        [*block.to_row().values(), *map(_number, (e.ms, e.p90_ms, e.spread)), e.count, _number(e.energy_mj), e.origin]
        for block, e in sorted(table.blocks.items(), key=lambda item: _sort_key(item[0]))
    ]
    networks = [
        [
            *(n.name, n.space, n.num_classes, json.dumps(dict(n.arch), separators=(",", ":")), n.role),
            *map(_number, (n.ms, n.upper95_ms, n.p90_ms, n.spread)),
            n.count,
        ]
        for n in table.networks
    ]
    write_text(directory / BLOCKS_FILE, _csv_text(_BLOCK_COLUMNS, rows))
    write_text(directory / NETWORKS_FILE, _csv_text(_NETWORK_COLUMNS, networks))
    write_yaml(directory / HEADER_FILE, header_to_dict(table.header, len(rows), len(networks)))


def header_to_dict(header: TableHeader, blocks: int, networks: int) -> dict[str, Any]:
    """`table.yaml` as plain data; empty fields are left out."""
    data: dict[str, Any] = {
        "format": FORMAT,
        **{key: getattr(header, key) for key in _HEADER_TEXTS[:3]},
        "precision": header.precision.value,
        "threads": header.threads,
        "batch": header.batch,
        "regime": header.regime,
        "statistic": header.statistic,
        "unit": "" if header.unit == MILLISECONDS else header.unit,
        "origin": header.origin.to_json(),
        "rows": {"blocks": blocks, "networks": networks},
        "reference_quiet_ms": header.reference_quiet_ms,
        "reference_kernel": header.reference_kernel,
        **{key: _plain(getattr(header, key)) for key in _HEADER_MAPPINGS},
        "sources": [{k: v for k, v in asdict(source).items() if v} for source in header.sources],
        "notes": list(header.notes),
    }
    return {key: value for key, value in data.items() if value not in (None, "", {}, [])}


def _plain(value: Any) -> Any:
    """Mappings and sequences of plain Python values: numpy scalars and enums do not belong in YAML."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, str):
        return str(value)
    return value.item() if hasattr(value, "item") else value


def _sort_key(block: BlockSpec) -> tuple[str, ...]:
    return tuple(text.zfill(8) for text in block.to_row().values())


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.0f}" if value >= _COUNTED and value == int(value) else f"{value:.6g}"


def _csv_text(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return out.getvalue()


# Reading -------------------------------------------------------------------------------------------------------


def read_table(directory: Path) -> LatencyTable:
    """Read a table.

    Raises:
        FormatError: a file is missing, truncated, of another kind or a newer format. ConfigError: an unknown key.
        TableError: a figure that cannot be, a duplicate (file and line named).

    """
    path = directory / HEADER_FILE
    header, counts = read_header(path)
    blocks: dict[BlockSpec, BlockEntry] = {}
    blocks_path, networks_path = directory / BLOCKS_FILE, directory / NETWORKS_FILE
    for line, row in _rows(blocks_path, _BLOCK_COLUMNS):
        block, entry = _located(blocks_path, line, _read_block, row)
        if block in blocks:
            raise TableError(f"{blocks_path}:{line}: this block occurs twice; keep one of the two rows")
        if block.precision is not header.precision:
            raise TableError(
                f"{blocks_path}:{line}: a block of {block.precision.value} in a table of {header.precision.value}"
            )
        blocks[block] = entry
    networks = [
        _located(networks_path, line, _read_network, row) for line, row in _rows(networks_path, _NETWORK_COLUMNS)
    ]
    for file, found, key in [(blocks_path, len(blocks), "blocks"), (networks_path, len(networks), "networks")]:
        if found != counts[key]:
            raise FormatError(
                f"{file}: {found} rows where {path.name} says {counts[key]}; the file is truncated or edited"
            )
    try:
        return LatencyTable(header, blocks, tuple(networks))
    except TableError as error:
        raise TableError(f"{networks_path}: {error}") from None


def _located(path: Path, line: int, read: Callable[[dict[str, str]], T], row: dict[str, str]) -> T:
    """`read(row)`, with file and line put before whatever it complains of."""
    try:
        return read(row)
    except TableError as error:
        raise TableError(f"{path}:{line}: {error}") from None
    except (NasEdgeError, ValueError) as error:
        raise FormatError(f"{path}:{line}: {error}") from None


def read_header(path: Path) -> tuple[TableHeader, dict[str, int]]:
    """Read `table.yaml`: the header, and how many rows the two CSV files have. Raises as `read_table`."""
    text = read_text(path)
    data = parse_yaml(text, str(path))
    if not isinstance(data, dict):
        raise FormatError(f"{path}: is not the header of a latency table")

    def fail(key: str, problem: str) -> ConfigError:
        return ConfigError(f"{path}:{yaml_line(text, (key,))}: {key!r} {problem}")

    missing = [key for key in _REQUIRED_KEYS if key not in data]
    if missing:
        raise FormatError(f"{path}: the key {missing[0]!r} is missing; is this the header of a latency table?")
    if not isinstance(data["format"], int) or not 1 <= data["format"] <= FORMAT:
        raise FormatError(f"{path}: format {data['format']!r} is not known; a newer table needs a newer nas-edge")
    for key, value in data.items():
        if key not in _HEADER_KEYS:
            raise fail(str(key), f"is not known; a table has {', '.join(sorted(_HEADER_KEYS))}")
        if key in _HEADER_TEXTS and not isinstance(value, str):
            raise fail(key, f"must be a text, not {value!r} (quote it)")
        if key in _HEADER_COUNTS and not (isinstance(value, int) and value > 0):
            raise fail(key, f"must be a positive whole number, not {value!r}")
        if key == "reference_quiet_ms" and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise fail(key, f"must be a number of milliseconds, not {value!r}")
        if key in (*_HEADER_MAPPINGS, "origin", "rows") and not isinstance(value, dict):
            raise fail(key, "must be a mapping")
    rows = data["rows"]
    if set(rows) != {"blocks", "networks"} or not all(isinstance(n, int) and n >= 0 for n in rows.values()):
        raise fail("rows", "must give the numbers of 'blocks' and 'networks'")
    try:
        origin = Origin.from_json({str(k): str(v) for k, v in data["origin"].items()})
        precision = Precision(data["precision"])
        sources = tuple(Source(**{str(k): str(v) for k, v in source.items()}) for source in data.get("sources", ()))
        notes = tuple(str(note) for note in data.get("notes", ()))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError(f"{path}: origin, precision, sources or notes do not fit ({error})") from None
    if data.get("prior"):
        try:
            NetworkPrior.from_json(data["prior"])
        except TableError as error:
            raise fail("prior", str(error)) from None
    keys = (*_HEADER_TEXTS, *_HEADER_COUNTS, *_HEADER_MAPPINGS, "reference_quiet_ms")
    plain = {key: data[key] for key in keys if key in data}
    try:
        return TableHeader(**plain, precision=precision, origin=origin, sources=sources, notes=notes), rows
    except TableError as error:
        raise fail("reference_quiet_ms", str(error)) from None


def _rows(path: Path, columns: tuple[str, ...]) -> Iterator[tuple[int, dict[str, str]]]:
    text = read_text(path)
    if not text.endswith("\n"):
        raise FormatError(f"{path}: the last line has no end; the file is truncated")
    reader = csv.reader(io.StringIO(text), strict=True)
    try:
        head = next(reader, [])
        if tuple(head) != columns:
            odd = next((name for name in [*columns, *head] if (name in columns) != (name in head)), "their order")
            raise FormatError(f"{path}:1: the columns do not fit (see {odd!r}); expected: {','.join(columns)}")
        for row in reader:
            if len(row) != len(columns):
                raise FormatError(f"{path}:{reader.line_num}: {len(row)} fields where {len(columns)} are expected")
            yield reader.line_num, dict(zip(columns, row, strict=True))
    except csv.Error as error:
        raise FormatError(f"{path}:{reader.line_num}: is not CSV ({error})") from error


def _figure(row: dict[str, str], name: str) -> float:
    try:
        return float(row[name])
    except ValueError:
        raise TableError(f"{name} = {row[name]!r} is not a number") from None


def _optional(row: dict[str, str], name: str) -> float | None:
    return _figure(row, name) if row[name] else None


def _count(row: dict[str, str], name: str) -> int:
    if not row[name].isdecimal():
        raise TableError(f"{name} = {row[name]!r} is not a whole number")
    return int(row[name])


def _read_block(row: dict[str, str]) -> tuple[BlockSpec, BlockEntry]:
    return BlockSpec.from_row(row), BlockEntry(
        _figure(row, "ms"), _optional(row, "p90_ms"), _optional(row, "spread"), _count(row, "count"),
        _optional(row, "energy_mj"), OriginKind(row["origin"]),
    )  # fmt: skip


def _read_network(row: dict[str, str]) -> NetworkEntry:
    arch = json.loads(row["arch"])
    if not isinstance(arch, dict):
        raise TableError("arch is not a JSON object")
    return NetworkEntry(
        row["name"], row["space"], _count(row, "num_classes"), arch, Role(row["role"]), _figure(row, "ms"),
        _optional(row, "upper95_ms"), _optional(row, "p90_ms"), _optional(row, "spread"), _count(row, "count"),
    )  # fmt: skip
