"""`nas-edge export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nas_edge.cli.common import DebugOption, HostOption, JsonOption, SerialOption, emit, shown_progress

EPILOG = """Examples:

nas-edge export runs/20260101-120000-local --format onnx

nas-edge export runs/20260101-120000-local --precision int8 --keep-float 2

nas-edge export runs/20260101-120000-local --precision int8 --data photos/

nas-edge export runs/20260101-120000-jetson --format tensorrt --precision fp16 --host me@jetson

nas-edge export runs/20260101-120000-stm32f405 --format c

nas-edge export runs/20260101-120000-local --out deploy --json"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("export", epilog=EPILOG, short_help="Write the network as a file for the device.")(export)


def export(
    run: Annotated[Path, typer.Argument(help="Directory of a search.")],
    format: Annotated[str, typer.Option(help="onnx, tensorrt, tflite or c.")] = "onnx",
    precision: Annotated[str | None, typer.Option(help="fp32, fp16 or int8; default: the run's.")] = None,
    out: Annotated[Path | None, typer.Option(help="Directory to write; default: RUN/<format>-<precision>.")] = None,
    data: Annotated[str | None, typer.Option(help="Images: name, folder or CSV; default: the bundle's.")] = None,
    keep_float: Annotated[
        int, typer.Option(min=0, metavar="N", help="In int8: the N layers that suffer most stay in float32.")
    ] = 0,
    sensitivity: Annotated[
        bool, typer.Option("--sensitivity", help="Tell how much each layer suffers in int8.")
    ] = False,
    calibrate: Annotated[
        str | None, typer.Option(help="Images that int8 is calibrated on: name, folder or CSV; default: the bundle's.")
    ] = None,
    target: Annotated[str | None, typer.Option(help="Device that the file is for; default: the run's.")] = None,
    host: HostOption = None,
    serial: SerialOption = None,
    json_output: JsonOption = False,
    debug: DebugOption = False,
) -> int:
    """Write the network of a run as a file that the device runs, and check it against torch on real images."""
    from nas_edge.pipeline.exporting.flow import ExportWishes, export_flow

    wishes = ExportWishes(keep_float, sensitivity, data, calibrate, target, host, serial)
    with shown_progress() as progress:
        report = export_flow(run, format, precision, out, progress, wishes)
    emit(json_output, report.to_json(), report.lines())
    return report.exit_code
