"""`nas-edge table import`: another project's look-up table, or somebody's CSV, becomes a table of ours."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from nas_edge.errors import ConfigError
from nas_edge.latency.importers import ImportRequest, get_table_format
from nas_edge.latency.parametric import PRIORS
from nas_edge.latency.suspicious import contaminated
from nas_edge.latency.table import TableHeader
from nas_edge.latency.table_io import HEADER_FILE, table_directory, write_table
from nas_edge.pipeline.tables.commands import TableReport
from nas_edge.pipeline.tables.finding import TABLES, known_tables
from nas_edge.pipeline.tables.owning import known_target, other_table, write_target
from nas_edge.spaces import Precision, SearchSpace


def import_command(
    format_name: str, paths: Sequence[Path], request: ImportRequest, out: Path | None = None, overwrite: bool = False
) -> TableReport:
    """Read files of another format and write them as a table; nothing is written unless all of it is understood.

    Args:
        format_name: of `nas_edge.latency.importers`.
        paths: the files.
        request: what the person says about them.
        out: the `latency_tables` directory; by default that of the current directory, and then a target file is written
            where there is none of the table's name.
        overwrite: a table that is there already.

    Raises:
        UnknownNameError: no such format. ConfigError: the table is there already, or an option is missing or unknown.
        FormatError, TableError: a file is not of the format, or holds what cannot be (file, line and key).
        StorageError: the table cannot be written.

    """
    request = replace(request, command=request.command or command_line(format_name, paths, request))
    found = get_table_format(format_name)
    known: tuple[str, ...] = getattr(found, "options", ())  # somebody else's format may have none
    if unknown := sorted(set(request.options) - set(known)):
        has = f"only {', '.join(known)}" if known else "none"
        raise ConfigError(f"--option {unknown[0]}: --format {format_name} has {has}")
    table = found.import_table(paths, request)
    directory = table_directory(out or Path(TABLES), table.header)
    check_free(directory, overwrite)
    foreign = contaminated(table, known_tables(directory, table.header))
    write_table(table, directory)
    header = table.header
    found_by = _target_of(header, directory) if out is None else ()
    energies = sum(entry.energy_mj is not None for entry in table.blocks.values())
    data = {
        "table": str(directory),
        "format": format_name,
        "target": header.target,
        "blocks": len(table.blocks),
        "energies": energies,
        "prior": dict(header.prior),
        "origin": header.origin.to_json(),
        "runtime": header.runtime,
        "sources": [{"name": s.name, "url": s.url, "licence": s.licence} for s in header.sources],
        "contaminated": [row.describe() for row in foreign],
        "notes": list(header.notes),
    }
    lines = [
        f"table      {directory}",
        f"imported   {len(table.blocks)} blocks{f', {energies} with energy' if energies else ''} from {len(paths)} "
        f"file{'s' * (len(paths) > 1)}",
        f"for        {header.describe()}",
        f"origin     {header.origin.describe()}",
        f"licence    {'; '.join(source.licence for source in header.sources)}",
        *(f"note       {note}" for note in header.notes),
    ]
    if not request.source:
        lines.append("note       a table to be shared needs --source TEXT and --licence TEXT: whose figures are these?")
    lines += found_by
    if foreign:
        entries_seem = "1 entry seems" if len(foreign) == 1 else f"{len(foreign)} entries seem"
        lines.append(f"WARNING    {entries_seem} to be another table's; nas-edge table check {directory}")
    return TableReport(data, lines)


def _target_of(header: TableHeader, directory: Path) -> tuple[str, ...]:
    """What to say of the target that finds a table, which is written where there is none."""
    target = known_target(header.target)
    if target is None:
        path = write_target(header, directory, "table imported")
        return (f"target     {path}: nas-edge search --target {header.target} --latency ... searches with it",)
    note = other_table(target, directory)
    return (f"note       {note}",) if note else ()


def import_request(
    target: str,
    *,
    source: str = "",
    url: str = "",
    revision: str = "",
    licence: str = "",
    device: str = "",
    device_class: str = "",
    runtime: str = "unstated",
    runtime_version: str = "",
    precision: str = "fp32",
    threads: int = 1,
    space: str | None = None,
    without: Sequence[str] = (),
    notes: Sequence[str] = (),
    options: Sequence[str] = (),
) -> ImportRequest:
    """What a person says about a table, from the texts of the command line: see `ImportRequest`.

    Raises:
        ConfigError: a name that cannot be a directory, a class or precision that is none, an option without "=".
        UnknownNameError: no such space.

    """
    for what, name in (("--target", target), ("--runtime", runtime)):
        _check_name(what, name)
    if device_class and device_class not in PRIORS:
        raise ConfigError(f"--device-class {device_class!r} is none of {', '.join(PRIORS)}")
    if precision not in tuple(Precision):
        raise ConfigError(f"--precision {precision!r} is none of {', '.join(Precision)}")
    pairs = {}
    for option in options:
        name, equals, value = option.partition("=")
        if not equals or not name:
            raise ConfigError(f"--option {option!r}: write it like NAME=VALUE")
        pairs[name] = value
    return ImportRequest(
        target, source, url, revision, licence, device, device_class, runtime, runtime_version, Precision(precision),
        threads, SearchSpace.named(space) if space else None, tuple(without), tuple(notes), options=pairs,
    )  # fmt: skip


def command_line(format_name: str, paths: Sequence[Path], request: ImportRequest) -> str:
    """The command that makes the table again, the files by their names."""
    words = ["nas-edge", "table", "import", "--format", format_name, *(path.name for path in paths)]
    texts = {
        "target": request.target, "source": request.source, "url": request.url, "revision": request.revision,
        "licence": request.licence, "device": request.device, "device-class": request.device_class,
        "runtime": "" if request.runtime == "unstated" else request.runtime,
        "runtime-version": request.runtime_version,
        "precision": "" if request.precision == "fp32" else request.precision.value,
        "threads": "" if request.threads == 1 else str(request.threads),
        "space": "" if request.space is None else request.space.name,
    }  # fmt: skip
    for name, text in texts.items():
        words += [f"--{name}", text] if text else []
    for name, values in (
        ("without", request.without), ("note", request.notes),
        ("option", tuple(f"{key}={value}" for key, value in request.options.items())),
    ):  # fmt: skip
        for value in values:
            words += [f"--{name}", value]
    return shlex.join(words)


def check_free(directory: Path, overwrite: bool) -> None:
    """Raises ConfigError where a table is there already and may not be replaced."""
    if (directory / HEADER_FILE).exists() and not overwrite:
        raise ConfigError(f"{directory}: is a table already; --overwrite replaces it, --out DIR writes elsewhere")


def _check_name(what: str, name: str) -> None:
    plain = name.replace("-", "").replace("_", "").replace(".", "")
    if not (plain.isascii() and plain.isalnum()) or name.startswith("."):
        raise ConfigError(f"{what} {name!r} names a directory: letters, digits, - and _ alone, like samsung-note10")
