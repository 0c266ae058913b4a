"""`nas-edge table plan`: networks for somebody to measure on a device that has no table, as files ready to run."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

from nas_edge.errors import ConfigError
from nas_edge.files import make_directory, write_bytes, write_text
from nas_edge.latency import LatencyTable, TableHeader
from nas_edge.latency.choosing import choose_networks
from nas_edge.pipeline.tables.commands import TableReport, chosen_space
from nas_edge.pipeline.tables.owning import check_name, known_target
from nas_edge.pipeline.tables.transferring import COLUMNS, start_table
from nas_edge.units import format_count

LIST = "networks.csv"
ABOUT = "README.txt"


def plan_command(
    target: str,
    count: int,
    source: str | None,
    space: str | None,
    num_classes: int | None,
    bundle: str,
    out: Path | None,
    seed: int,
) -> TableReport:
    """Choose networks and write them: `<name>.onnx` each, `networks.csv` with empty milliseconds, `README.txt`.

    Args:
        target: name of the device; it need not be known yet.
        count: of networks, 3 or more.
        source: target or table that the transfer will start from; None for the most similar.
        space: of the networks, as of `chosen_space`.
        num_classes: likewise.
        bundle: likewise.
        out: directory to write, which must be empty or new.
        seed: of the choice and of the weights.

    Raises:
        UnknownNameError, SpaceError: of the options. ConfigError: a directory that holds a plan already, a name that
        cannot be a device's.

    """
    from nas_edge.spaces.onnx_blocks import build_onnx

    known = known_target(target)
    if known is None:
        check_name("--target", target)
    about, classes = chosen_space(space, num_classes, bundle)
    base, described = start_table(source, known)
    chosen = choose_networks(base or LatencyTable(TableHeader(target, ""), {}), about, classes, count, seed)
    directory = out or Path(f"{Path(target).stem}-networks")
    if (directory / LIST).exists():
        raise ConfigError(f"{directory / LIST}: is there already, perhaps with measured figures; choose another --out")
    make_directory(directory)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow((*COLUMNS, "file"))
    for planned in chosen:
        file = f"{planned.name}.onnx"
        model = build_onnx(about.lower(planned.arch, classes), seed=seed, name=planned.name)
        write_bytes(directory / file, model.SerializeToString())
        arch = json.dumps(about.to_json(planned.arch), separators=(",", ":"))
        writer.writerow((planned.name, about.name, classes, arch, "", file))
    write_text(directory / LIST, text.getvalue())
    command = f"nas-edge table transfer --to {target} --networks {directory / LIST}"
    command += f" --from {source}" if source else ""
    write_text(directory / ABOUT, _about(target, command))
    macs = [float(about.macs(planned.arch[None], classes)[0]) for planned in chosen]
    lines = [
        f"networks   {len(chosen)} of {about.name}, {format_count(min(macs))} to {format_count(max(macs))} MACs, "
        f"in {directory}",
        f"starts     from {described}",
        f"to do      run each file on {target}, fill the median of its times in ms into {directory / LIST}",
        f"then       {command}",
    ]
    data = {"directory": str(directory), "networks": [p.name for p in chosen], "from": described, "next": command}
    return TableReport(data, lines)


def _about(target: str, command: str) -> str:
    return f"""Networks to be measured on {target}.

Weights are random: only the time counts. Run each .onnx file (float32, one image [1, 3, side, side]) with the runtime
that will run the final network, quantised first if that is int8. Let the device cool and be otherwise idle; warm up,
run at least 50 times, and write the median in milliseconds into the column ms of networks.csv. Rows left empty are
skipped.

Then: {command}
"""
