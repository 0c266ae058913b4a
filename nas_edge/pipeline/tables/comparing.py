"""`nas-edge table diff` and `table merge`: two tables side by side, two sittings as one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nas_edge.errors import ConfigError
from nas_edge.latency import LatencyTable, read_table, write_table
from nas_edge.latency.suspicious import describe_block
from nas_edge.latency.table_io import table_directory
from nas_edge.pipeline.tables.commands import TableReport
from nas_edge.pipeline.tables.finding import table_path
from nas_edge.pipeline.tables.importing import check_free
from nas_edge.spaces import SearchSpace, preset_names

_LISTED = 5
_LONGEST = 60
_UNTOLD = ("protocol.imported_by", "protocol.files", "sources", "notes")


def diff_command(a: str, b: str) -> TableReport:
    """What differs between two tables, B's figures over A's.

    Args:
        a: directory or name of a table.
        b: of another.

    Raises:
        UnknownNameError: no such table. FormatError, ConfigError, TableError: damaged (file and line).

    """
    from nas_edge.latency.diff import Ratios, diff_tables

    paths = [table_path(name) for name in (a, b)]
    found = diff_tables(*(read_table(path) for path in paths))
    lines = [f"A          {paths[0]}", f"B          {paths[1]}"]

    def ratios(what: str, shared: Ratios | None, only_a: int, only_b: int) -> None:
        lines.append(f"{what:10} {shared.shared if shared else 0} shared, {only_a} in A alone, {only_b} in B alone")
        if shared is not None:
            lines.append(
                f"B / A      median {shared.median:.3f}, 5 % below {shared.low:.3f}, 5 % above {shared.high:.3f}"
            )
            lines.extend(
                f"furthest   {text}: {ms_a:.4g} and {ms_b:.4g} ms ({ms_b / ms_a:.2f})"
                for text, ms_a, ms_b in shared.worst
                if ms_a != ms_b
            )

    ratios("blocks", found.blocks, len(found.only_a), len(found.only_b))
    for side, blocks in (("A", found.only_a), ("B", found.only_b)):
        lines += [f"only in {side}  {describe_block(block)}" for block in blocks[:_LISTED]]
    if found.networks or found.networks_only_a or found.networks_only_b:
        ratios("networks", found.networks, found.networks_only_a, found.networks_only_b)
    told = {key: values for key, values in found.header.items() if not key.startswith(_UNTOLD)}
    lines += [f"header     {key}: {_short(ours)} and {_short(theirs)}" for key, (ours, theirs) in told.items()]
    if len(told) < len(found.header):
        lines.append("header     sources, notes and files differ as well (--json has them)")
    if found.same:
        lines.append("the same table twice")
    return TableReport({"a": str(paths[0]), "b": str(paths[1]), **found.to_json()}, lines)


def merge_command(a: str, b: str, out: Path | None, conflict_percent: float, overwrite: bool = False) -> TableReport:
    """Merge two sittings of one device, runtime and precision into one table.

    Args:
        a: the first sitting, which sets the speed.
        b: the second.
        out: the `latency_tables` directory that the merged table goes into; not that of A or B unless `overwrite`.
        conflict_percent: blocks that differ by more after the correction of the drift are listed.
        overwrite: a table that is there already.

    Raises:
        UnknownNameError: no such table. TableError: they are not two sittings of one device (what differs is named).
        ConfigError: the output is there already. FormatError: a table is damaged. StorageError: it cannot be written.

    """
    from nas_edge.latency.merge import merge_tables

    if not 0 < conflict_percent < 1000:
        raise ConfigError(f"--conflict must be above 0 and below 1000 %, not {conflict_percent:g}")
    paths = [table_path(name) for name in (a, b)]
    if paths[0].resolve() == paths[1].resolve():
        raise ConfigError(f"{paths[0]}: is given twice; two sittings are needed")
    merged = merge_tables(read_table(paths[0]), read_table(paths[1]), conflict_percent / 100)
    table = _with_holdout(merged.table)
    directory = table_directory(out or Path("merged"), table.header)
    check_free(directory, overwrite)
    write_table(table, directory)
    lines = [
        f"table      {directory}",
        f"merged     {len(table.blocks)} blocks ({merged.shared} in both sittings), {len(table.networks)} networks",
        f"drift      the second sitting took {100 * abs(merged.drift - 1):.2f} % "
        f"{'more' if merged.drift > 1 else 'less'} time: corrected",
        f"conflicts  {len(merged.conflicts)} blocks differ by more than {conflict_percent:g} % after that",
        *(
            f"conflict   {describe_block(block)}: {first:.4g} and {second:.4g} ms"
            for block, first, second in merged.conflicts[:10]
        ),
    ]
    holdout = table.header.figures.get("holdout")
    if holdout:
        lines.append(f"hold-out   error {holdout['mape_percent']:.1f} %, Spearman {holdout['spearman']:.3f}")
    return TableReport({"table": str(directory), **merged.to_json(), "figures": dict(table.header.figures)}, lines)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _with_holdout(table: LatencyTable) -> LatencyTable:
    """With the errors on the held-out networks in the header, of each of its spaces that is known."""
    from nas_edge.latency.check import holdout_error

    errors: dict[str, Any] = {}
    for about in (table.header.space, *table.header.space.get("also", ())):
        name, classes = about.get("name"), about.get("num_classes")
        if name in preset_names() and classes:
            error = holdout_error(table, SearchSpace.named(str(name)), int(classes))
            errors |= {} if error is None else {str(name): error.to_json()}
    figures: dict[str, Any] = {"holdout": next(iter(errors.values()))} if errors else {}
    return table.with_figures(figures | ({"holdout_by_space": errors} if len(errors) > 1 else {}))
