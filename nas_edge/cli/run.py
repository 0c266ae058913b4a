"""`nas-edge run PIPELINE.yaml`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from nas_edge.cli.common import DebugOption, JsonOption, emit, note, say, shown_progress

EPILOG = """Examples:

nas-edge run pipelines/quickstart.yaml

nas-edge run pipelines/quickstart.yaml --resume runs/20260101-120000-quickstart"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("run", epilog=EPILOG, short_help="Run the steps of a pipeline.")(run)


def run(
    pipeline: Annotated[
        str, typer.Argument(metavar="PIPELINE.yaml", help="A file, or the name of one that is shipped.")
    ],
    out: Annotated[Path | None, typer.Option(help="Directory of the run; default: runs/<time>-<pipeline>.")] = None,
    resume: Annotated[
        Path | None, typer.Option(help="Directory of a run that was cut off: its finished steps are kept.")
    ] = None,
    json_output: JsonOption = False,
    debug: DebugOption = False,
) -> int:
    """Run the steps of a pipeline one after another; each is a command with its options."""
    from nas_edge.pipeline.running.pipelines import open_pipeline

    under_way = open_pipeline(pipeline, out, resume)
    try:
        for number, step in enumerate(under_way.pending(), len(under_way.done) + 1):
            with shown_progress() as progress:
                report = under_way.run(step, progress)
            if not json_output:
                heading = f"{number}/{len(under_way.steps)} {report.title} ({report.wall_s:.1f} s)"
                say("\n".join([heading, *(f"  {line}" for line in report.lines), ""]))
    except BaseException:
        resume_it = shlex.join(["nas-edge", "run", pipeline, "--resume", str(under_way.directory)])
        note(f"what is done is kept: {resume_it}")
        raise
    emit(json_output, under_way.to_json(), [f"all steps done: {under_way.directory}"])
    return max(report.exit_code for report in under_way.done)
