"""`nas-edge train`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from nas_edge.cli.common import (
    ClusterOption,
    DebugOption,
    JsonOption,
    SeedOption,
    WorkersOption,
    emit,
    parse_resolutions,
    parsed,
    shown_progress,
)
from nas_edge.errors import ConfigError
from nas_edge.units import parse_duration_s

EPILOG = """Examples:

nas-edge train --data photos/ --space lite0 --init efficientnet-lite0 --out my-bundle

nas-edge train --data labels.csv --space mcu --out my-bundle --time-limit 1h --processes 2

One network from scratch, without a supernet:

nas-edge train --alone runs/20260101-120000-local --out runs/alone

nas-edge train --alone arch.json --bundle trashnet --epochs 40 --out runs/alone

nas-edge train --alone smallest --data photos/ --space mcu --out runs/alone"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("train", epilog=EPILOG, short_help="Train a supernet on your images.")(train)


def train(
    out: Annotated[
        Path, typer.Option(help="Directory of the bundle (or run); an unfinished training there is resumed.")
    ],
    data: Annotated[
        str | None,
        typer.Option(
            help="Images: a folder of class folders, a CSV, or a name (trashnet, fashion-mnist-mini; fashion-mnist and "
            "cifar10 from ./data)."
        ),
    ] = None,
    space: Annotated[
        str | None,
        typer.Option(
            help="Search space, a YAML file or a preset: lite0, mbv3-32, mbv3-small, mcu, mcu-tiny, ofa-mbv3-w1.0, "
            "ofa-mbv3-w1.2, ofa-proxyless-w1.3.",
            show_default="lite0",
        ),
    ] = None,
    alone: Annotated[
        str | None,
        typer.Option(
            metavar="ARCH",
            help="No supernet: train this one network from scratch. A run, a JSON file or JSON, largest or smallest.",
        ),
    ] = None,
    bundle: Annotated[
        str | None, typer.Option(help="With --alone: the bundle whose space, images, splits and recipe are used.")
    ] = None,
    init: Annotated[
        str | None,
        typer.Option(
            help="Start: efficientnet-lite0, a file of a timm MobileNetV3 (ofa-mbv3-w1.0, mbv3-small), MobileNetV2 or "
            "EfficientNet-Lite (lite0), or a bundle."
        ),
    ] = None,
    init_normalisation: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="With --init FILE, where what is assumed is wrong: imagenet, half (-1 to 1) or none (0 to 1).",
        ),
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
    processes: Annotated[
        int | None,
        typer.Option(min=1, help="Processes that share each batch, of one core or GPU each. Default: 1."),
    ] = None,
    workers: WorkersOption = None,
    cluster: ClusterOption = None,
    seed: SeedOption = 0,
    json_output: JsonOption = False,
    debug: DebugOption = False,
) -> int:
    """Train a supernet on your images: the bundle that searches start from. Or, with --alone, one network."""
    from nas_edge.pipeline.learning.train_flow import read_recipe, train_flow
    from nas_edge.pipeline.spread import chosen_spread

    limit_s, sides = parsed(time_limit, parse_duration_s), parsed(resolutions, parse_resolutions)
    changes = parsed(recipe, read_recipe)
    if alone is not None:
        from nas_edge.pipeline.alone.flow import alone_flow
        from nas_edge.pipeline.alone.subject import find_subject

        _refuse_of_supernets({
            "--init": init, "--init-normalisation": init_normalisation, "--teacher": teacher,
            "--resolutions": resolutions, "--processes": processes, "--workers": workers, "--cluster": cluster,
        })  # fmt: skip
        subject = find_subject(alone, bundle=bundle, data=data, space=space)
        with shown_progress(announce=True) as progress:
            run = alone_flow(
                subject, out, epochs=epochs, time_limit_s=limit_s, recipe=changes, seed=seed, progress=progress
            )
        emit(json_output, run.to_json(), run.lines())
        return run.exit_code
    if bundle is not None:
        raise ConfigError("--bundle goes with --alone; a supernet that starts from a bundle's weights: --init NAME")
    if data is None:
        raise ConfigError("--data is missing: a folder of class folders, a CSV, or a name (trashnet)")
    with shown_progress(announce=True) as progress:
        report = train_flow(
            data, space or "lite0", out, init=init, init_normalisation=init_normalisation, teacher=teacher,
            epochs=epochs, time_limit_s=limit_s, resolutions=sides, recipe=changes, seed=seed,
            processes=processes or 1, spread=chosen_spread(workers, cluster), progress=progress,
        )  # fmt: skip
    emit(json_output, report.to_json(), report.lines())
    return report.exit_code


def _refuse_of_supernets(given: Mapping[str, object]) -> None:
    for option, value in given.items():
        if value is not None:
            raise ConfigError(f"{option} is of supernets: --alone trains one network from scratch, on labels")
