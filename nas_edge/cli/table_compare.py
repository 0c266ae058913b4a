"""`nas-edge table diff|merge`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nas_edge.cli.common import DebugOption, JsonOption, emit

First = Annotated[str, typer.Argument(metavar="A", help="Directory, or <target>/<runtime>-<precision>.")]
Second = Annotated[str, typer.Argument(metavar="B", help="Likewise.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(
        "diff",
        epilog="Example: nas-edge table diff jetson-tx2/harmonicnas-fp32 jetson-agx-xavier/harmonicnas-fp32",
        short_help="Compare two tables.",
    )(diff)
    app.command(
        "merge",
        epilog="Example: nas-edge table merge one/board/onnxruntime-fp32 two/board/onnxruntime-fp32 --out merged",
        short_help="Make one table of two sittings.",
    )(merge)


def diff(a: First, b: Second, json_output: JsonOption = False, debug: DebugOption = False) -> int:
    """Compare two tables: blocks that one has alone, how the others' times relate, what their headers say."""
    from nas_edge.pipeline.tables.comparing import diff_command

    report = diff_command(a, b)
    emit(json_output, report.to_json(), report.lines())
    return report.exit_code


def merge(
    a: First,
    b: Second,
    out: Annotated[Path | None, typer.Option(help="Directory of tables for the merged one; default: merged.")] = None,
    conflict: Annotated[float, typer.Option(help="List blocks that differ by more than this, in percent.")] = 10.0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a table that is there.")] = False,
    json_output: JsonOption = False,
    debug: DebugOption = False,
) -> int:
    """Make one table of two sittings of the same device, runtime and precision.

    The second sitting is brought to the speed of the first by the median ratio of the blocks that both have; figures
    are then averaged by their number of runs.
    """
    from nas_edge.pipeline.tables.comparing import merge_command

    report = merge_command(a, b, out, conflict, overwrite)
    emit(json_output, report.to_json(), report.lines())
    return report.exit_code
