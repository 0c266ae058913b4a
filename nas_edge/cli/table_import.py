"""`nas-edge table import`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nas_edge.cli.common import DebugOption, JsonOption, emit

EPILOG = """Formats: ofa, proxylessnas, nsganetv2, harmonicnas, nnmeter, ncnn, and csv: one block a row with the columns
kind, height, width, in, out, kernel, stride, mid, se, activation, residual, ms and, if known, energy_mj.

Examples:

nas-edge table import --format ofa 160.yaml 224.yaml --target my-phone --source "my own runs" --licence CC0-1.0

nas-edge table import --format csv blocks.csv --target my-board --runtime tflite --device "My board" --json"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("import", epilog=EPILOG, short_help="Convert a table that you have.")(import_)


def import_(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Files of one table.")],
    format_name: Annotated[str, typer.Option("--format", metavar="FORMAT", help="What wrote the files.")],
    target: Annotated[str, typer.Option("--target", help="Device: the table's directory below latency_tables.")],
    out: Annotated[Path | None, typer.Option(help="Directory of tables; default: latency_tables.")] = None,
    source: Annotated[str, typer.Option(help="Who published the figures.")] = "",
    url: Annotated[str, typer.Option(help="Where.")] = "",
    revision: Annotated[str, typer.Option(help="Commit or version of the source.")] = "",
    licence: Annotated[str, typer.Option(help="As the source states it; default: none stated.")] = "",
    device: Annotated[str, typer.Option(help="The device in words.")] = "",
    device_class: Annotated[str, typer.Option(help="cpu, mobile-cpu, gpu, mcu or npu.")] = "",
    runtime: Annotated[str, typer.Option(help="What ran the blocks.")] = "unstated",
    runtime_version: Annotated[str, typer.Option(help="Its version.")] = "",
    precision: Annotated[str, typer.Option(help="fp32, fp16 or int8.")] = "fp32",
    threads: Annotated[int, typer.Option(min=1, max=1024, help="Of the runs.")] = 1,
    space: Annotated[str | None, typer.Option("--space", help="Refuse blocks that this space has not.")] = None,
    without: Annotated[list[str] | None, typer.Option(help="Leave out keys that begin so; may be repeated.")] = None,
    note: Annotated[list[str] | None, typer.Option(help="For the table's header; may be repeated.")] = None,
    option: Annotated[list[str] | None, typer.Option(help="NAME=VALUE that this format has; may be repeated.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a table that is there.")] = False,
    json_output: JsonOption = False,
    debug: DebugOption = False,
) -> int:
    """Convert a look-up table of another project, or a CSV of one's own, into a table.

    What could be read in two ways is refused with file, line and key: nothing is guessed, and nothing is written then.
    A target file is written as well where there is none of the name.
    """
    from nas_edge.pipeline.tables.importing import import_command, import_request

    request = import_request(
        target, source=source, url=url, revision=revision, licence=licence, device=device, device_class=device_class,
        runtime=runtime, runtime_version=runtime_version, precision=precision, threads=threads, space=space,
        without=without or (), notes=note or (), options=option or (),
    )  # fmt: skip
    report = import_command(format_name, files, request, out, overwrite)
    emit(json_output, report.to_json(), report.lines())
    return report.exit_code
