"""`nas-edge profile`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nas_edge.cli.common import (
    DebugOption,
    EffortOption,
    HostOption,
    JsonOption,
    QuickOption,
    SeedOption,
    SerialOption,
    ThoroughOption,
    chosen_effort,
    emit,
    shown_progress,
)

EPILOG = """Examples:

nas-edge profile runs/20260101-120000-local --target local

nas-edge profile model.onnx --target local --per-layer --json

nas-edge profile model.tflite --target local

nas-edge profile model.onnx --host pi@192.168.1.5

nas-edge profile runs/20260101-120000-stm32f405 --target stm32f405

nas-edge profile runs/20260101-120000-stm32f405 --target stm32f405 --serial /dev/ttyACM0"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("profile", epilog=EPILOG, short_help="Measure a network on the device.")(profile)


def profile(
    subject: Annotated[
        Path, typer.Argument(metavar="RUN|MODEL", help="Directory of a run, or an .onnx or .tflite file.")
    ],
    target: Annotated[str | None, typer.Option(help="Device; default: the run's, else local.")] = None,
    host: HostOption = None,
    serial: SerialOption = None,
    runtime: Annotated[
        str | None, typer.Option(help="onnxruntime, litert ...; default: the target's, or the file's.")
    ] = None,
    per_layer: Annotated[bool, typer.Option("--per-layer", help="Time each layer as well.")] = False,
    regime: Annotated[str, typer.Option(help="hot: back to back; cold: caches emptied between.")] = "hot",
    statistic: Annotated[
        str, typer.Option(help="What is held against the prediction: median, p90, p95, p99.")
    ] = "median",
    effort: EffortOption = "thorough",
    quick: QuickOption = False,
    thorough: ThoroughOption = False,
    seed: SeedOption = 0,
    json_output: JsonOption = False,
    debug: DebugOption = False,
) -> int:
    """Measure a network on the device: median, p90, spread, and predicted against measured."""
    from nas_edge.pipeline.profiling.command import profile_command

    with shown_progress() as progress:
        report = profile_command(
            subject, target, host=host, serial=serial, runtime=runtime, regime=regime, statistic=statistic,
            effort=chosen_effort(effort, quick, thorough), per_layer=per_layer, seed=seed, progress=progress,
        )  # fmt: skip
    emit(json_output, report.to_json(), report.lines())
    return report.exit_code
