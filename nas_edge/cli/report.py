"""`nas-edge report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nas_edge.cli.common import DebugOption, JsonOption, emit, shown_progress

EPILOG = """Examples:

nas-edge report runs/20260101-120000-local

nas-edge report runs/20260101-120000-local --checklist"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("report", epilog=EPILOG, short_help="What a run found, and how far it can be trusted.")(report)


def report(
    run: Annotated[Path, typer.Argument(help="Directory of a search.")],
    checklist: Annotated[
        bool,
        typer.Option(
            "--checklist", help="Fill in the checklist of good practice in NAS research; also RUN/checklist.md."
        ),
    ] = False,
    json_output: JsonOption = False,
    debug: DebugOption = False,
) -> int:
    """Print a run as Markdown, every figure with its origin; or its checklist of good practice."""
    if checklist:
        from nas_edge.pipeline.reporting.checklist import checklist_flow

        with shown_progress() as progress:
            found = checklist_flow(run, progress)
    else:
        from nas_edge.pipeline.reporting.summary import report_flow

        found = report_flow(run)
    emit(json_output, found.to_json(), found.lines())
    return found.exit_code
