"""`nas-edge export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nas_edge.cli.common import DebugOption, JsonOption, emit, shown_progress

EPILOG = """Examples:

nas-edge export runs/20260101-120000-local --format onnx

nas-edge export runs/20260101-120000-local --out deploy --json"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("export", epilog=EPILOG, short_help="Write the network as a file for the device.")(export)


def export(
    run: Annotated[Path, typer.Argument(help="Directory of a search.")],
    format: Annotated[str, typer.Option(help="onnx; tflite, tensorrt and c come with later versions.")] = "onnx",
    precision: Annotated[str | None, typer.Option(help="fp32, fp16 or int8; default: the run's.")] = None,
    out: Annotated[Path | None, typer.Option(help="Directory to write; default: RUN/<format>-<precision>.")] = None,
    json_output: JsonOption = False,
    debug: DebugOption = False,
) -> int:
    """Write the network of a run as a file that the device runs, and check it against torch on real images."""
    from nas_edge.pipeline.export_flow import export_flow

    with shown_progress() as progress:
        report = export_flow(run, format, precision, out, progress)
    emit(json_output, report.to_json(), report.lines())
    return report.exit_code
