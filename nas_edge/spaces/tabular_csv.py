"""Reading a tabular space from a CSV file, `.csv` or `.csv.gz`, UTF-8, one architecture a line.

    arch,metric.accuracy %:max,metric.latency ms:min
    |nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|none~1|none~2|,93.2,4.1

or

    arch,gene.kernel,gene.depth,metric.accuracy
    net-17,3,4,0.71

Columns, in any order:

- `arch`: what the benchmark calls the architecture; optional where there are genes.
- `gene.NAME`: a categorical value, a word or a number, at most 127 different ones.
- `metric.NAME[ UNIT][:max|:min]`: a finite number. Which way is better may be left out for accuracy (max) and for
  latency, macs, params, energy, sram and flash (min).

Without `gene` columns every `arch` is split into genes, in one of two ways: NAS-Bench-201's cells
`|op~0|+|op~0|op~1|+...` (Dong and Yang, 2020) become one gene an edge, "e1.0" (from node 0 to node 1), "e2.0",
"e2.1" ...; lists of equal length, separated by blanks or commas (a quoted cell), become "g1", "g2" ...
Lines that begin with `#` before the header are left out; `# format: 1` may be one of them.
"""

from __future__ import annotations

import csv
import gzip
import math
import re
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nas_edge.errors import FormatError
from nas_edge.spaces.space import Gene
from nas_edge.spaces.tabular import Figure, TabularSpace
from nas_edge.spaces.terms import Population

MAX_BYTES = 512 * 2**20
MAX_CHOICES, MAX_GENES = 127, 254
_MAXIMISED, _MINIMISED = {"accuracy"}, {"latency", "macs", "params", "energy", "sram", "flash"}
_METRIC = re.compile(r"metric\.(?P<name>[^\s:]+)(?: +(?P<unit>[^:]+?))?(?::(?P<way>max|min))?\Z")
_CELL = re.compile(r"\|(?:[^|~+]+~\d+\|)+(?:\+\|(?:[^|~+]+~\d+\|)+)*\Z")
_EDGE = re.compile(r"([^|~+]+)~(\d+)")
_FORMAT = re.compile(r"#\s*format:\s*(\d+)")

_Metric = tuple[str, str, bool]


def read_tabular(path: Path) -> TabularSpace:
    """Read a space.

    Raises:
        FormatError: unreadable; a column that means nothing; a line with too few or too many cells, with an empty
            cell or one that is not a finite number, or that lists an architecture again: file and line.

    """
    text = _read(path)
    header, lines, records = _records(path, text)
    metrics, gene_columns, arch_column = _columns(path, header, lines[0])
    lines = lines[1:]
    if not records:
        raise FormatError(f"{path}: lists no architecture")
    cells: list[Sequence[str]] = list(zip(*records, strict=True))
    archs = tuple(cell.strip() for cell in cells[arch_column]) if arch_column is not None else ()
    if gene_columns:
        names, words = list(gene_columns), [cells[column] for column in gene_columns.values()]
    else:
        names, words = _split(path, lines, archs)
    genes, labels, rows = _genes(path, lines, names, words)
    _refuse_duplicates(path, lines, rows)
    figures = tuple(
        Figure(name, unit, maximise, _numbers(path, lines, name, cells[column]))
        for column, (name, unit, maximise) in metrics.items()
    )
    return TabularSpace(path.name.removesuffix(".gz").removesuffix(".csv"), genes, labels, rows, figures, archs)


def _read(path: Path) -> str:
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else open(path, "rb") as handle:
            data = handle.read(MAX_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise FormatError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from error
    if len(data) > MAX_BYTES:
        raise FormatError(f"{path}: more than the {MAX_BYTES} bytes that such a file may have")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FormatError(f"{path}: is not a text file (byte {error.start})") from error


def _records(path: Path, text: str) -> tuple[list[str], list[int], list[list[str]]]:
    """The header, the lines it and the records begin on, and the records, all of the header's length."""
    header: list[str] = []
    lines: list[int] = []
    records: list[list[str]] = []
    for line, record in _parsed(path, text):
        if not record:
            continue
        if not header:
            if record[0].startswith("#"):
                found = _FORMAT.match(record[0])
                if found and found[1] != "1":
                    raise FormatError(f"{path}:{line}: 'format: 1' is expected; a newer file needs a newer nas-edge")
                continue
            header = [cell.strip() for cell in record]
        elif len(record) != len(header):
            raise FormatError(f"{path}:{line}: has {len(record)} cells where the header has {len(header)}")
        else:
            records.append(record)
        lines.append(line)
    if not header:
        raise FormatError(f"{path}: is empty; the first line names the columns: arch, gene.NAME, metric.NAME")
    return header, lines, records


def _parsed(path: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    """Records with the line that each begins on."""
    reader = csv.reader(text.splitlines(keepends=True), strict=True)
    line = 1
    try:
        for record in reader:
            yield line, record
            line = reader.line_num + 1
    except csv.Error as error:
        raise FormatError(f"{path}:{line}: is not CSV ({error})") from error


def _columns(path: Path, header: Sequence[str], line: int) -> tuple[dict[int, _Metric], dict[str, int], int | None]:
    """Metrics by column, columns of genes by name, and the column of `arch`."""
    metrics: dict[int, _Metric] = {}
    genes: dict[str, int] = {}
    arch = None
    for column, title in enumerate(header):
        where = f"{path}:{line}: column {title!r}"
        if list(header).index(title) != column:
            raise FormatError(f"{where} is there twice")
        if title == "arch":
            arch = column
        elif title.startswith("gene.") and title != "gene.":
            genes[title.removeprefix("gene.")] = column
        elif title.startswith("metric."):
            metrics[column] = _metric(where, title)
        else:
            raise FormatError(f"{where} is none of arch, gene.NAME, metric.NAME[ UNIT][:max|:min]")
    names = [name for name, _, _ in metrics.values()]
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated is not None:
        raise FormatError(f"{path}:{line}: metric {repeated!r} is there twice")
    if not metrics or (arch is None and not genes):
        lacking = "a metric.NAME" if not metrics else "arch or gene.NAME"
        raise FormatError(f"{path}:{line}: lacks a column {lacking}")
    if len(genes) > MAX_GENES:
        raise FormatError(f"{path}:{line}: {len(genes)} genes, more than the {MAX_GENES} that a space may have")
    return metrics, genes, arch


def _metric(where: str, title: str) -> _Metric:
    found = _METRIC.match(title)
    if found is None:
        raise FormatError(f"{where} is not metric.NAME[ UNIT][:max|:min]")
    name, way = found["name"], found["way"]
    if way is None and name not in _MAXIMISED | _MINIMISED:
        raise FormatError(f"{where} does not say whether more is better; write {title}:max or {title}:min")
    return name, found["unit"] or "", way == "max" or (way is None and name in _MAXIMISED)


def _split(path: Path, lines: Sequence[int], archs: Sequence[str]) -> tuple[list[str], list[Sequence[str]]]:
    """Names of genes and their words, made of the architectures' strings."""
    cells = _CELL.match(archs[0]) is not None
    names: list[str] = []
    rows: list[list[str]] = []
    for line, arch in zip(lines, archs, strict=True):
        if cells:
            if not _CELL.match(arch):
                raise FormatError(f"{path}:{line}: {arch!r} is not a cell like |op~0|+|op~0|op~1|, as the first is")
            nodes = [_EDGE.findall(node) for node in arch.split("+")]
            found = [f"e{n}.{source}" for n, edges in enumerate(nodes, 1) for _, source in edges]
            row = [op for edges in nodes for op, _ in edges]
        else:
            row = arch.replace(",", " ").split()
            found = [f"g{i + 1}" for i in range(len(row))]
        names = names or found
        if found != names or len(set(found)) != len(found):
            raise FormatError(
                f"{path}:{line}: {arch!r} has other parts ({', '.join(found)}) than the first ({', '.join(names)}); "
                "give gene.NAME columns"
            )
        rows.append(row)
    if not cells and len(names) < 2:
        raise FormatError(f"{path}:{lines[0]}: {archs[0]!r} cannot be split into genes; give gene.NAME columns")
    if len(names) > MAX_GENES:
        raise FormatError(f"{path}:{lines[0]}: {len(names)} genes, more than the {MAX_GENES} that a space may have")
    return names, list(zip(*rows, strict=True))


def _genes(
    path: Path, lines: Sequence[int], names: Sequence[str], words: Sequence[Sequence[str]]
) -> tuple[tuple[Gene, ...], tuple[tuple[str, ...], ...], Population]:
    """Genes with their labels, in the order of their numbers or else of the alphabet; and int8 [n, genes]."""
    genes, all_labels, columns = [], [], []
    for name, cells in zip(names, words, strict=True):
        stripped = [cell.strip() for cell in cells]
        if "" in stripped:
            raise FormatError(f"{path}:{lines[stripped.index('')]}: gene {name!r} is empty")
        distinct = set(stripped)
        if len(distinct) > MAX_CHOICES:
            raise FormatError(f"{path}: gene {name!r} has {len(distinct)} values, more than {MAX_CHOICES}")
        numbers = {label: number for label in distinct if (number := _number(label)) is not None}
        numeric = len(numbers) == len(distinct) == len(set(numbers.values()))
        labels = tuple(sorted(distinct, key=lambda label: (numbers[label] if numeric else 0.0, label)))
        choices = tuple(numbers[label] if numeric else float(i + 1) for i, label in enumerate(labels))
        place = {label: i + 1 for i, label in enumerate(labels)}
        genes.append(Gene(name, choices))
        all_labels.append(labels)
        columns.append(np.fromiter((place[cell] for cell in stripped), np.int8, len(stripped)))
    return tuple(genes), tuple(all_labels), np.ascontiguousarray(np.stack(columns, axis=1))


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _refuse_duplicates(path: Path, lines: Sequence[int], rows: Population) -> None:
    _, first, inverse = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    again = np.flatnonzero(first[inverse.ravel()] != np.arange(len(rows)))
    if len(again):
        row = int(again[0])
        before = lines[int(first[inverse.ravel()[row]])]
        raise FormatError(
            f"{path}:{lines[row]}: lists the architecture of line {before} again; keep one line (the mean, say)"
        )


def _numbers(path: Path, lines: Sequence[int], name: str, cells: Sequence[str]) -> NDArray[np.float64]:
    values = np.empty(len(cells))
    for i, cell in enumerate(cells):
        value = _number(cell)
        if value is None:
            what = "is empty" if not cell.strip() else f"is {cell.strip()!r}, not a finite number"
            raise FormatError(f"{path}:{lines[i]}: metric {name!r} {what}")
        values[i] = value
    return values
