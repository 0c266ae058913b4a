"""`nas-edge table transfer`: a device's table of another's and whole networks that somebody measured there."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nas_edge.errors import ConfigError, FormatError, NasEdgeError, TableError
from nas_edge.files import read_json, read_text
from nas_edge.latency import LatencyTable, NetworkEntry, Role, TableHeader, read_table, table_directory, write_table
from nas_edge.latency.check import MOST_CARRIED_PERCENT
from nas_edge.latency.lowering import network_blocks, summed
from nas_edge.latency.nearest import Wanted
from nas_edge.latency.pricing import Pricer
from nas_edge.latency.table_io import HEADER_FILE
from nas_edge.latency.transfer import transfer
from nas_edge.origin import Origin, OriginKind
from nas_edge.pipeline.devices.targets import Target, load_target
from nas_edge.pipeline.tables.commands import TableReport, chosen_space
from nas_edge.pipeline.tables.finding import TABLES, device_facts, load_table_for, nearest_table, table_path
from nas_edge.pipeline.tables.owning import check_name, known_target, other_table, write_target
from nas_edge.spaces import Precision, SearchSpace

COLUMNS = ("name", "space", "num_classes", "arch", "ms")
_USUAL_RUNTIME = "onnxruntime"
_ANOTHER_UNIT = 30.0  # a ratio that stands out by so much is a unit, not a device


@dataclass(frozen=True)
class TransferRequest:
    """What a transfer is made of.

    Attributes:
        to: name of the device that gets the table; a target file is written where there is none of that name.
        networks: CSV of measured networks.
        source: target or table to start from; None for the most similar.
        space, num_classes, bundle: of the networks whose rows do not say, as of `chosen_space`.
        runtime, precision: that they were run by; None for the target's.
        out: the `latency_tables` directory.
        overwrite: replace a table that is there.

    """

    to: str
    networks: Path
    source: str | None = None
    space: str | None = None
    num_classes: int | None = None
    bundle: str = "trashnet"
    runtime: str | None = None
    precision: str | None = None
    out: Path | None = None
    overwrite: bool = False


def transfer_command(request: TransferRequest) -> TableReport:
    """Make the table and write it.

    Raises:
        UnknownNameError: no such source. FormatError, TableError: the CSV (file and line).
        ConfigError: a name that cannot be one, a table that is there already.

    """
    check_name("--to", request.to)
    about, classes = chosen_space(request.space, request.num_classes, request.bundle)
    target = known_target(request.to)
    base, described = start_table(request.source, target)
    networks, skipped = read_measured(request.networks, about, classes)
    precision = request.precision or (target.precision if target else "fp32")
    if precision not in tuple(Precision):
        raise ConfigError(f"--precision {precision!r} is none of {', '.join(Precision)}")
    header = TableHeader(
        target=request.to,
        runtime=request.runtime or (target.runtime if target else _USUAL_RUNTIME),
        precision=Precision(precision),
        threads=target.threads if target else 1,
        origin=Origin(
            OriginKind.MODELLED,
            source=f"{described}, carried over by {len(networks)} networks measured on {request.to}",
        ),
        device={"name": request.to, "class": _class_of(base, target)},
        space={"name": about.name, "num_classes": classes, "resolutions": list(about.resolutions)},
    )
    _check_units(base, about, networks, request.networks)
    table = transfer(base, header, about, networks)
    root = request.out or Path(TABLES)
    directory = table_directory(root, header)
    if (directory / HEADER_FILE).exists() and not request.overwrite:
        raise ConfigError(f"{directory}: there is a table already; --overwrite replaces it")
    write_table(table, directory)
    found = dict(table.header.transfer)
    lines = [f"table      {directory}", f"from       {described}"]
    if "error_percent" in found:
        lines.append(f"error      {found['error_percent']:.1f} % on networks left out one at a time")
    if found.get("error_percent", 0.0) > MOST_CARRIED_PERCENT:
        lines.append(
            "WARNING    so far off helps nobody: are the times in the order of the rows, and all of this device?"
        )
    if skipped:
        lines.append(f"skipped    {skipped} row{'s' * (skipped > 1)} without milliseconds")
    if target is None:
        path = write_target(header, directory, "table carried over from another device")
        lines.append(f"target     {path}; say there how the device is reached")
    elif note := other_table(target, directory):
        lines.append(f"note       {note}")
    usual = float(np.median([network.ms for network in networks]))
    lines.append(f"next       nas-edge search --target {request.to} --latency {usual:.3g}ms")
    data = {"table": str(directory), "from": described, "networks": len(networks), "skipped": skipped, **found}
    return TableReport(data, lines)


def start_table(source: str | None, target: Target | None) -> tuple[LatencyTable | None, str]:
    """The table to start from and what it is called; None where nothing similar is at hand.

    Raises:
        UnknownNameError: `source` is neither a target nor a table. ConfigError: it is a target without its own table.

    """
    if source is not None:
        if "/" in source or (Path(source) / HEADER_FILE).is_file():
            table = read_table(table_path(source))
            return table, table.header.describe()
        found = load_table_for(load_target(source))
        if found.path is None or not found.own:
            raise ConfigError(f"--from {source}: has no table of its own; measure one or name another target")
        return found.table, found.table.header.describe()
    facts: Mapping[str, Any] = device_facts(target) if target else {"class": "mobile-cpu"}
    wanted = Wanted(target.runtime if target else _USUAL_RUNTIME, target.precision if target else "fp32", device=facts)
    path = nearest_table(wanted)
    if path is None:
        return None, f"launches, MACs and bytes of a device of class {facts.get('class', 'cpu')}"
    table = read_table(path)
    return table, table.header.describe()


def read_measured(path: Path, space: SearchSpace, num_classes: int) -> tuple[list[NetworkEntry], int]:
    """Measured networks of a CSV, and how many rows had no milliseconds yet.

    Raises:
        FormatError: not such a CSV. TableError: a row that cannot be (file and line named).

    """
    reader = csv.DictReader(io.StringIO(read_text(path)))
    missing = [column for column in ("arch", "ms") if column not in (reader.fieldnames or ())]
    if missing:
        raise FormatError(f"{path}: lacks the column {missing[0]!r}; it needs name, arch, ms")
    networks: list[NetworkEntry] = []
    skipped = 0
    for number, row in enumerate(reader, 1):
        where = f"{path}:{reader.line_num}"
        if None in row or None in row.values():
            raise TableError(f"{where}: has not as many fields as the first line; is the file truncated?")
        text = (row.get("ms") or "").strip()
        if not text:
            skipped += 1
            continue
        try:
            name = (row.get("name") or "").strip() or f"network-{number:02d}"
            if any(network.name == name for network in networks):
                raise TableError(f"network {name!r} occurs twice")
            networks.append(_network(path, row, name, _milliseconds(text), space, num_classes))
        except NasEdgeError as error:
            raise TableError(f"{where}: {error}") from None
    if not networks:
        raise TableError(f"{path}: no row has milliseconds; measure the networks and fill in the column ms")
    return networks, skipped


def _network(
    path: Path, row: Mapping[str, str], name: str, ms: float, space: SearchSpace, num_classes: int
) -> NetworkEntry:
    own = (row.get("space") or "").strip()
    classes = (row.get("num_classes") or "").strip()
    about = space if own in ("", space.name) else SearchSpace.named(own)
    text = (row.get("arch") or "").strip()
    if not text:
        raise TableError("the column arch is empty")
    try:
        arch = json.loads(text) if text.startswith("{") else read_json(path.parent / text)
    except json.JSONDecodeError as error:
        raise TableError(f"arch is not JSON ({error})") from None
    found = about.to_json(about.from_json(arch, "arch"))
    if classes and not classes.isdecimal():
        raise TableError(f"num_classes = {classes!r} is not a whole number")
    return NetworkEntry(name, about.name, int(classes) if classes else num_classes, found, Role.CALIBRATION, ms)


def _milliseconds(text: str) -> float:
    try:
        ms = float(text)
    except ValueError:
        raise TableError(f"ms = {text!r} is not a number; write milliseconds without a unit") from None
    if not (math.isfinite(ms) and ms > 0):
        raise TableError(f"ms = {text} is not a positive, finite figure")
    return ms


def _check_units(base: LatencyTable | None, space: SearchSpace, networks: list[NetworkEntry], path: Path) -> None:
    """One row in microseconds among rows in milliseconds is a mistake, not a device."""
    table = base or LatencyTable(TableHeader("", ""), {})
    known = [(network, found) for network in networks for found in network_blocks(table, [network], space)]
    if len(known) < 3:
        return
    sums = summed(Pricer(table), [blocks for _, (blocks, _) in known]).sum_ms
    logs = np.log(np.array([network.ms for network, _ in known]) / sums)
    odd = int(np.argmax(np.abs(logs - np.median(logs))))
    factor = math.exp(abs(float(logs[odd] - np.median(logs))))
    if factor > _ANOTHER_UNIT:
        name, ms = known[odd][0].name, known[odd][0].ms
        raise TableError(f"{path}: {name!r}: {ms:g} ms stands out by a factor of {factor:.0f}: is it another unit?")


def _class_of(base: LatencyTable | None, target: Target | None) -> str:
    if base is not None:
        return str(base.header.device.get("class", "cpu"))
    return str((device_facts(target) if target else {"class": "mobile-cpu"}).get("class", "cpu"))
