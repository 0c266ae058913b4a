"""`nas-edge finetune`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nas_edge.cli.common import DebugOption, JsonOption, SeedOption, emit, parsed, shown_progress
from nas_edge.units import parse_duration_s

EPILOG = """Examples:

nas-edge finetune runs/20260101-120000-local --epochs 5

nas-edge finetune runs/20260101-120000-local --qat --epochs 3"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("finetune", epilog=EPILOG, short_help="Train the chosen network on its own.")(finetune)


def finetune(
    run: Annotated[Path, typer.Argument(help="Directory of a search.")],
    data: Annotated[str | None, typer.Option(help="Images: name, folder or CSV; default: the bundle's.")] = None,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training images.")] = 5,
    time_limit: Annotated[str | None, typer.Option(help="Stop in time: 1h, 20min.")] = None,
    qat: Annotated[
        bool, typer.Option("--qat", help="Train for int8: rounded as the int8 file is, and judged by it.")
    ] = False,
    seed: SeedOption = 0,
    json_output: JsonOption = False,
    debug: DebugOption = False,
) -> int:
    """Train the network that a search chose on its own; export and evaluate use the new weights from then on."""
    from nas_edge.pipeline.learning.finetuning import finetune_flow

    limit_s = parsed(time_limit, parse_duration_s)
    with shown_progress(announce=True) as progress:
        report = finetune_flow(
            run, data=data, epochs=epochs, time_limit_s=limit_s, qat=qat, seed=seed, progress=progress
        )
    emit(json_output, report.to_json(), report.lines())
    return report.exit_code
