"""Our own CSV for tables that people write themselves or export from their own tools.

    kind,height,width,in,out,kernel,stride,mid,se,activation,residual,ms
    stem,224,224,3,16,3,2,,0,h_swish,0,1.93
    inverted_residual,112,112,16,24,3,2,64,0,relu,0,3.4

One block a row, in any order; so are the columns. `height` x `width` is the input. Exactly one of `mid` (middle
channels) and `expand` (ratio; channels are rounded to multiples of 8, as in MobileNetV2), empty where there is none;
exactly one of `ms`, `us` and `s`. Optional: `energy_mj`, `p90_ms`, `spread`, `count`, `groups`, `padding` (symmetric
or same), `norm`, and `precision`; `in_channels`, `mid_channels`, `out_channels` mean `in`, `mid`, `out`: the columns of
a table's blocks.csv less its `origin` are such a file.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from nas_edge.errors import FormatError, NasEdgeError, TableError
from nas_edge.files import read_text
from nas_edge.latency.importers.base import ImportRequest, Reading, header_for, iterate, table_of
from nas_edge.latency.importers.entries import Entry
from nas_edge.latency.importers.registry import register_table_format
from nas_edge.latency.table import BlockEntry, LatencyTable
from nas_edge.origin import OriginKind
from nas_edge.spaces import BlockSpec, Kind, make_divisible

_UNITS_MS = {"ms": 1.0, "us": 1e-3, "s": 1e3}
_REQUIRED = ("kind", "height", "width", "in", "out", "kernel", "stride", "se", "activation", "residual")
_OPTIONAL = ("groups", "padding", "norm", "precision", "p90_ms", "spread", "count", "energy_mj", "mid", "expand")
_ALIASES = {"in_channels": "in", "mid_channels": "mid", "out_channels": "out"}
_LARGEST_RATIO = 20.0


@register_table_format
class PlainCsv:
    """`--format csv`."""

    name = "csv"
    summary = "our CSV: kind,height,width,in,out,kernel,stride,mid or expand,se,activation,residual,ms[,energy_mj]"
    options: tuple[str, ...] = ("statistic",)

    def import_table(self, paths: Sequence[Path], request: ImportRequest) -> LatencyTable:
        """See `TableFormat`. The option `statistic` says what the times are, "mean" by default."""
        statistic = request.options.get("statistic", "mean")
        header = header_for(request, paths, self.name, statistic)
        precision = request.precision.value
        return table_of(iterate(paths, lambda path: _read(path, precision)), paths, request, header)


def csv_rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Rows of a CSV file with a header, blanks around fields removed, with their line.

    Raises:
        FormatError: unreadable, truncated, a row too short or too long, a column that is there twice (file and line).

    """
    text = read_text(path)
    if text and not text.endswith("\n"):
        raise FormatError(f"{path}: the last line has no end; is the file truncated?")
    reader = csv.reader(io.StringIO(text), strict=True, skipinitialspace=True)
    try:
        head = [name.strip() for name in next(reader, [])]
        twice = [name for name in head if head.count(name) > 1]
        if twice:
            raise FormatError(f"{path}:1: the column {twice[0]!r} is there twice")
        for row in reader:
            if not row:
                continue
            if len(row) != len(head):
                raise FormatError(f"{path}:{reader.line_num}: {len(row)} fields where {len(head)} are expected")
            yield reader.line_num, {name: cell.strip() for name, cell in zip(head, row, strict=True)}
    except csv.Error as error:
        raise FormatError(f"{path}:{reader.line_num}: is not CSV ({error})") from None


def _read(path: Path, precision: str) -> Iterator[Reading]:
    known = {*_REQUIRED, *_OPTIONAL, *_UNITS_MS}
    empty = True
    for line, cells in csv_rows(path):
        row = {_ALIASES.get(name, name): cell for name, cell in cells.items()}
        if empty:
            _check_columns(path, list(cells), row, known)
        empty = False
        at = Entry(path, line, ",".join(cells.values()), {})
        try:
            yield Reading(_block(row, precision), _figure(row), at)
        except (NasEdgeError, ValueError) as error:
            raise TableError(f"{path}:{line}: {error}") from None
    if empty:
        raise FormatError(f"{path}: holds no rows")


def _check_columns(path: Path, given: Sequence[str], row: Mapping[str, str], known: set[str]) -> None:
    if len(row) != len(given):
        raise FormatError(f"{path}:1: a column is there under two names; expected {', '.join(_REQUIRED)}")
    odd = [name for name in row if name not in known]
    missing = [name for name in _REQUIRED if name not in row]
    if odd or missing:
        problem = f"does not know the column {odd[0]!r}" if odd else f"lacks the column {missing[0]!r}"
        problem += " (fields are separated by commas)" * any(";" in name or "\t" in name for name in odd)
        raise FormatError(
            f"{path}:1: {problem}; a table has {', '.join(_REQUIRED)}, mid or expand, ms, us or s, and may have "
            f"{', '.join(name for name in _OPTIONAL if name not in ('mid', 'expand'))}"
        )
    for choice in (tuple(_UNITS_MS), ("mid", "expand")):
        have = [name for name in choice if name in row]
        if len(have) != 1:
            found = f"both {' and '.join(have)}" if have else "none"
            raise FormatError(f"{path}:1: exactly one of the columns {', '.join(choice)} is needed; there is {found}")


def _block(row: Mapping[str, str], precision: str) -> BlockSpec:
    kind, inputs, outputs = row["kind"], row["in"], row["out"]
    expands = kind == Kind.INVERTED_RESIDUAL
    mid = _middle(row) if expands else inputs
    groups = {Kind.INVERTED_RESIDUAL.value: mid, Kind.POOLING.value: inputs}.get(kind, "1")
    cells = {
        **{name: row[name] for name in ("kind", "height", "width", "kernel", "stride", "se", "activation", "residual")},
        "in_channels": inputs,
        "mid_channels": mid,
        "out_channels": outputs,
        "groups": row.get("groups") or groups,
        "padding": row.get("padding") or "symmetric",
        "norm": row.get("norm") or "1",
        "precision": row.get("precision") or precision,
    }
    if cells["precision"] != precision:
        raise ValueError(f"a block of {cells['precision']} in a table of {precision}; say --precision")
    return BlockSpec.from_row(cells)


def _middle(row: Mapping[str, str]) -> str:
    if "mid" in row:
        if not row["mid"]:
            raise ValueError("mid is missing; it equals in where nothing expands")
        return row["mid"]
    ratio = _number(row, "expand")
    if ratio is None or not 0 < ratio <= _LARGEST_RATIO:
        raise ValueError(f"expand = {row['expand']!r} is no ratio up to {_LARGEST_RATIO:g}; channels go in column mid")
    inputs = int(row["in"]) if row["in"].isdecimal() else 0
    return str(inputs if ratio == 1 else make_divisible(round(inputs * ratio)))


def _figure(row: Mapping[str, str]) -> BlockEntry:
    unit = next(name for name in _UNITS_MS if name in row)
    value = _number(row, unit)
    if value is None:
        raise ValueError(f"{unit} is missing")
    count = _number(row, "count") or 0
    if count != int(count) or count < 0:
        raise ValueError(f"count = {row['count']!r} is not a number of runs")
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{unit} = {row[unit]} is not a positive, finite figure")
    return BlockEntry(
        value * _UNITS_MS[unit],
        _number(row, "p90_ms"),
        _number(row, "spread"),
        int(count),
        _number(row, "energy_mj"),
        OriginKind.PUBLISHED,
    )


def _number(row: Mapping[str, str], name: str) -> float | None:
    text = row.get(name)
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"{name} = {text!r} is not a number without a unit") from None
    if name == "count" and not math.isfinite(value):
        raise ValueError(f"{name} = {text!r} is not a number of runs")
    return value
