"""`nas-edge train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nas_edge.cli.common import DebugOption, JsonOption, SeedOption, emit, parse_resolutions, parsed, shown_progress
from nas_edge.units import parse_duration_s

EPILOG = """Examples:

nas-edge train --data photos/ --space lite0 --init efficientnet-lite0 --out my-bundle

nas-edge train --data labels.csv --space mcu --out my-bundle --time-limit 1h"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("train", epilog=EPILOG, short_help="Train a supernet on your images.")(train)


def train(
    data: Annotated[str, typer.Option(help="Images: a folder of class folders, a CSV, or a name (trashnet).")],
    out: Annotated[Path, typer.Option(help="Directory of the bundle; an unfinished training there is resumed.")],
    space: Annotated[str, typer.Option(help="Preset or YAML file of a search space.")] = "lite0",
    init: Annotated[
        str | None,
        typer.Option(help="Start: efficientnet-lite0 or its file (for lite0), or a bundle: its best channels."),
    ] = None,
    teacher: Annotated[
        str | None, typer.Option(help="Bundle of the same classes whose answers are learnt from: name or directory.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Default: as the recipe says.")] = None,
    time_limit: Annotated[str | None, typer.Option(help="Stop in time, with a usable bundle: 1h, 20min.")] = None,
    recipe: Annotated[
        Path | None,
        typer.Option(help="YAML file with changes to the default recipe (learning_rate, augmentation ...)."),
    ] = None,
    resolutions: Annotated[str | None, typer.Option(help="Input sides to train at, like 96,128,160.")] = None,
    seed: SeedOption = 0,
    json_output: JsonOption = False,
    debug: DebugOption = False,
) -> int:
    """Train a supernet on your images: the bundle that searches start from."""
    from nas_edge.pipeline.train_flow import read_recipe, train_flow

    limit_s, sides = parsed(time_limit, parse_duration_s), parsed(resolutions, parse_resolutions)
    with shown_progress(announce=True) as progress:
        report = train_flow(
            data, space, out, init=init, teacher=teacher, epochs=epochs, time_limit_s=limit_s, resolutions=sides,
            recipe=parsed(recipe, read_recipe), seed=seed, progress=progress,
        )  # fmt: skip
    emit(json_output, report.to_json(), report.lines())
    return report.exit_code
