"""`nas-edge table show` and `table check`: what a table holds, and whether it is fit to be shared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nas_edge.latency.suspicious import describe_block
from nas_edge.latency.table import LatencyTable, TableHeader
from nas_edge.pipeline.tables.commands import TableReport, named_table
from nas_edge.pipeline.tables.describing import this_machine
from nas_edge.pipeline.tables.finding import known_tables
from nas_edge.spaces import Kind, SearchSpace, preset_names

if TYPE_CHECKING:
    from nas_edge.latency.check import TableReport as CheckReport
    from nas_edge.spaces import BlockSpec

_LISTED = 5
_USUAL_CLASSES = 1000
_MADE_UP = "made up on the spot"


def show_command(
    name: str | None, target: str | None, space: str | None = None, num_classes: int | None = None
) -> TableReport:
    """The header of a table, what it holds, and how much of a space that covers.

    Args:
        name: of the table, or its directory; None for the target's.
        target: whose table is meant, by default `local`.
        space: to be covered; by default the table's own, else the preset that it covers best.
        num_classes: of the classifier; by default the table's own.

    Raises:
        UnknownNameError, FormatError, ConfigError.

    """
    table, path, notes = named_table(name, target)
    header = table.header
    about, classes = _space_of(table, space, num_classes)
    wanted = _wanted(about, classes, header)
    missing = [block for block in wanted if table.find(block) is None]
    covered = 1 - len(missing) / len(wanted) if wanted else None
    entries = table.blocks.values()
    rows = {
        "table": str(path or _MADE_UP),
        "for": header.describe(),
        "origin": header.origin.describe(this_machine()),
        "blocks": _kinds(table.blocks),
        "energy": f"of {sum(e.energy_mj is not None for e in entries)} blocks" * any(e.energy_mj for e in entries),
        "networks": f"{len(table.calibration_networks())} for calibration, {len(table.holdout_networks())} held out",
        "space": ", ".join(map(_measured_space, [header.space, *header.space.get("also", ())] if header.space else [])),
        "coverage": "" if covered is None or about is None else _coverage(covered, len(wanted), about, classes),
        "of these": _own_coverage(table, about, classes),
        **{f"missing {i}": describe_block(block) for i, block in enumerate(missing[:_LISTED] if covered else (), 1)},
        "missing": _more(missing) if covered else "",
        "prior": _prior(header),
        "imported": str(header.protocol.get("imported_by", "")),
        **_sources(header),
        **{f"note {i}": text for i, text in enumerate((*header.notes, *notes), 1)},
    }
    by_space = header.figures.get("holdout_by_space", {})
    holdout = by_space.get(about.name if about else "", header.figures.get("holdout"))
    if holdout:
        rows["hold-out"] = (
            f"error {holdout['mape_percent']:.1f} %, Spearman {holdout['spearman']:.3f} when it was made "
            "('table check' predicts anew)"
        )
    data = {
        "table": str(path) if path else None,
        "target": header.target,
        "runtime": header.runtime,
        "runtime_version": header.runtime_version,
        "precision": header.precision.value,
        "threads": header.threads,
        "regime": header.regime,
        "statistic": header.statistic,
        "origin": header.origin.to_json(),
        "sources": [{"name": s.name, "url": s.url, "licence": s.licence, "what": s.what} for s in header.sources],
        "blocks": len(table.blocks),
        "networks": len(table.networks),
        "space": about.name if about else None,
        "num_classes": classes,
        "coverage": None if covered is None else round(covered, 4),
        "missing_blocks": [describe_block(block) for block in missing],
        "prior": dict(header.prior),
        "figures": dict(header.figures),
        "notes": [*header.notes, *notes],
    }
    return TableReport(data, [f"{key:10} {value}" for key, value in rows.items() if value])


def check_command(name: str | None, target: str | None, space: str | None, num_classes: int | None) -> TableReport:
    """Check a table: schema (by reading it), coverage, odd and foreign rows, hold-out error. Exit code 1 where unfit.

    Raises:
        UnknownNameError: no such table. FormatError, ConfigError, TableError: damaged (file and line).

    """
    from nas_edge.latency.check import check_table

    table, path, notes = named_table(name, target)
    own = table.header.space
    about, classes = _space_of(table, space, num_classes) if space or own.get("name") else (None, None)
    if about is not None and space is None and own.get("resolutions"):
        about = about.restrict(resolutions=own["resolutions"])
    report = check_table(table, about, classes or 0, known=known_tables(path, table.header))
    if path is None:
        report = replace(report, problems=("; ".join(notes), *report.problems))
    lines = [
        f"table      {path or _MADE_UP}",
        f"blocks     {report.blocks}",
        f"networks   {report.calibration_networks} for calibration, {report.holdout_networks} held out",
    ]
    if about is not None:
        lines.append(f"coverage   {report.coverage:.1%} of the {report.needed} blocks of {report.space}")
        lines += [f"missing    {describe_block(block)}" for block in report.missing[:_LISTED]]
        lines += [f"missing    and {len(report.missing) - _LISTED} more"] * (len(report.missing) > _LISTED)
    if report.holdout is not None:
        error = report.holdout
        lines.append(f"hold-out   error {error.mape_percent:.1f} %, Spearman {error.spearman:.3f}")
    lines += _rows_in_words(report)
    lines += [f"PROBLEM    {text}" for text in report.problems]
    lines.append("fit to be shared" if report.ok else "not fit to be shared")
    return TableReport({"table": str(path) if path else None, **report.to_json()}, lines, 0 if report.ok else 1)


def _rows_in_words(report: CheckReport) -> list[str]:
    lines = [f"odd        {text}" for text in report.odd[:10]]
    for what, found in (("larger kernels", report.kernels), ("more middle channels", report.widths)):
        if found.falling:
            lines.append(f"odd        {found.falling} of {found.groups} groups of blocks are faster with {what}")
    lines += [f"copied?    {row.describe()}" for row in report.foreign[:10]]
    if len(report.foreign) > 10:
        lines.append(f"copied?    and {len(report.foreign) - 10} more (--json lists all)")
    return lines


def _space_of(table: LatencyTable, space: str | None, num_classes: int | None) -> tuple[SearchSpace | None, int | None]:
    """The space and classes that a table is about: as asked, else its own, else the preset it covers best."""
    own = table.header.space
    linear = sorted({block.out_channels for block in table.blocks if block.kind is Kind.LINEAR})
    classes = num_classes or own.get("num_classes") or (linear[-1] if linear else _USUAL_CLASSES)
    if space or own.get("name"):
        chosen = SearchSpace.named(str(space or own["name"])) if space or own["name"] in preset_names() else None
        return chosen, int(classes)
    best, most = None, 0.0
    for name in preset_names():
        preset = SearchSpace.named(name)
        wanted = _wanted(preset, int(classes), table.header)
        share = sum(table.find(block) is not None for block in wanted) / len(wanted)
        if share > most:
            best, most = preset, share
    return best, int(classes)


def _wanted(space: SearchSpace | None, classes: int | None, header: TableHeader) -> tuple[BlockSpec, ...]:
    from nas_edge.latency.plan import distinct_blocks

    return () if space is None or not classes else distinct_blocks(space, classes, precision=header.precision)


def _coverage(share: float, wanted: int, space: SearchSpace, classes: int | None) -> str:
    sides = space.resolutions
    return f"{share:.1%} of the {wanted} blocks of {space.name} ({classes} classes, {sides[0]} to {sides[-1]} pixels)"


def _measured_space(space: Mapping[str, Any]) -> str:
    """ "lite0 (6 classes, 64 to 160 pixels)", as far as a header says it."""
    sides: Sequence[int] = space.get("resolutions") or ()
    said = [f"{space['num_classes']} classes"] if "num_classes" in space else []
    said += [f"{sides[0]} to {sides[-1]} pixels"] if len(sides) > 1 else [f"{side} pixels" for side in sides]
    return f"{space.get('name', '')} ({', '.join(said)})" if said else str(space.get("name", ""))


def _more(missing: Sequence[BlockSpec]) -> str:
    return f"and {len(missing) - _LISTED} more (--json lists all)" * (len(missing) > _LISTED)


def _own_coverage(table: LatencyTable, space: SearchSpace | None, classes: int | None) -> str:
    """Coverage at the input sides that the table was measured at, where it says which."""
    sides = [side for side in table.header.space.get("resolutions", ()) if space and side in space.template.resolutions]
    if space is None or not sides or len(sides) == len(space.resolutions):
        return ""
    wanted = _wanted(space.restrict(sides), classes, table.header)
    have = sum(table.find(block) is not None for block in wanted)
    return f"{have / len(wanted):.1%} of the {len(wanted)} at {', '.join(map(str, sides))} pixels"


def _kinds(blocks: Iterable[BlockSpec]) -> str:
    counts: dict[str, int] = {}
    for block in blocks:
        counts[block.kind.value] = counts.get(block.kind.value, 0) + 1
    listed = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    return f"{sum(counts.values())}" + (f" ({listed})" if listed else "")


def _prior(header: TableHeader) -> str:
    if not header.prior:
        return ""
    prior: dict[str, Any] = dict(header.prior)
    return f"{prior['ms_per_launch']:g} ms a launch, {prior['gmacs_per_s']:g} GMAC/s, log error {prior['log_error']:g}"


def _sources(header: TableHeader) -> dict[str, str]:
    named = {}
    for number, source in enumerate(header.sources, 1):
        at = f"{source.url} at {source.revision}" if source.revision else source.url
        named[f"source {number}" if len(header.sources) > 1 else "source"] = (
            f"{source.name}{f', {at}' if at else ''} (licence: {source.licence or 'none stated'})"
        )
    return named
