"""`nas-edge evaluate`."""

from __future__ import annotations

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
    refuse_beside,
    shown_progress,
)
from nas_edge.errors import ConfigError, UnknownNameError

EPILOG = """Examples:

nas-edge evaluate runs/20260101-120000-local

nas-edge evaluate trashnet --arch arch.json

nas-edge evaluate my-bundle --arch largest --split test --data photos/

nas-edge evaluate my-bundle --measure int8 --subnets 120 --workers 2

nas-edge evaluate my-bundle --measure int8 --cluster ray://head:10001

nas-edge evaluate my-bundle --study alone --out study --epochs 60"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("evaluate", epilog=EPILOG, short_help="Accuracy of one network on real images.")(evaluate)


def evaluate(
    context: typer.Context,
    subject: Annotated[
        str, typer.Argument(metavar="RUN|BUNDLE", help="Directory of a run; or name, directory of a bundle.")
    ],
    arch: Annotated[
        str | None, typer.Option(help="Of a bundle: a JSON file with r, d, ks, e; or 'largest', 'smallest'.")
    ] = None,
    split: Annotated[
        str, typer.Option(help="search (choices are made on it) or test (read it once, at the end).")
    ] = "search",
    data: Annotated[str | None, typer.Option(help="Images: name, folder or CSV; default: the bundle's.")] = None,
    precision: Annotated[str | None, typer.Option(help="fp32, fp16 or int8; default: the run's, else fp32.")] = None,
    measure: Annotated[
        str | None,
        typer.Option(help="Of a bundle: measure many subnets in this precision (int8), so that searches can score it."),
    ] = None,
    subnets: Annotated[int, typer.Option(min=20, max=2000, help="With --measure: how many.")] = 120,
    study: Annotated[
        str | None,
        typer.Option(
            metavar="alone",
            help="Of a bundle: train subnets from scratch, three of each quartile of MACs, and hold them against the"
            " weights they inherit.",
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="With --study: its directory; an unfinished one is resumed.")] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="With --study: of each training; default: as many as the supernet had.")
    ] = None,
    workers: WorkersOption = None,
    cluster: ClusterOption = None,
    seed: SeedOption = 0,
    json_output: JsonOption = False,
    debug: DebugOption = False,
) -> int:
    """Accuracy of one network on real images, batch norms recalibrated, with its 95 % interval; or of many."""
    if study is not None:
        if study != "alone":
            raise UnknownNameError("study", study, ["alone"])
        refuse_beside(context, "--study", "subject", "study", "out", "epochs", "data", "seed")
        if out is None:
            raise ConfigError("--study takes a while: name the directory that keeps it, --out DIRECTORY")
        from nas_edge.pipeline.alone.study import study_alone

        with shown_progress(announce=True) as progress:
            studied = study_alone(subject, out, epochs=epochs, data=data, seed=seed, progress=progress)
        emit(json_output, studied.to_json(), studied.lines())
        return studied.exit_code
    if measure is not None:
        refuse_beside(context, "--measure", "subject", "measure", "subnets", "data", "seed", "workers", "cluster")
        from nas_edge.pipeline.accuracy_flow import measure_accuracy
        from nas_edge.pipeline.spread import chosen_spread

        spread = chosen_spread(workers, cluster)
        with shown_progress() as progress:
            measured = measure_accuracy(
                subject, measure, subnets, data=data, seed=seed, spread=spread, progress=progress
            )
        emit(json_output, measured.to_json(), measured.lines())
        return measured.exit_code
    refuse_beside(context, "the accuracy of one network", "subject", "arch", "split", "data", "precision", "seed")
    from nas_edge.pipeline.evaluate_flow import evaluate_flow

    with shown_progress() as progress:
        report = evaluate_flow(subject, arch, split=split, data=data, precision=precision, seed=seed, progress=progress)
    emit(json_output, report.to_json(), report.lines())
    return report.exit_code
