"""`nas-edge zoo list|pull|import`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nas_edge.cli.common import DebugOption, JsonOption, columns, emit, shown_progress

app = typer.Typer(help="Published weights.", no_args_is_help=True, rich_markup_mode=None)

DataOption = Annotated[
    str | None, typer.Option(help="Images to recalibrate batch norms with: a folder, a CSV, or a name.")
]


@app.command("list", epilog="Example: nas-edge zoo list")
def list_published(json_output: JsonOption = False, debug: DebugOption = False) -> None:
    """List the published weights that can be pulled."""
    from nas_edge.pipeline.zoo.published import published, published_names

    found = [published(name) for name in published_names()]
    heading = ("name", "what", "space", "licence", "from")
    rows = [heading, *((one.name, one.what, one.space, one.licence, one.url) for one in found)]
    emit(json_output, {"published": [one.name for one in found]}, columns(rows))


@app.command("pull", epilog="Example: nas-edge zoo pull ofa-mbv3-w1.0 --data photos/")
def pull(
    name: Annotated[str, typer.Argument(help="As 'nas-edge zoo list' says.")],
    out: Annotated[
        Path | None, typer.Option(help="Directory of the bundle; default: bundles/NAME (a predictor: NAME.npz).")
    ] = None,
    data: DataOption = None,
    sha256: Annotated[
        str | None, typer.Option(help="Checksum that the file must have; none is published of supernets.")
    ] = None,
    json_output: JsonOption = False,
    debug: DebugOption = False,
) -> int:
    """Fetch published weights, once, and make a bundle of them; a cut download goes on.

    None is published of supernets: the checksum of the first fetch is noted, and the file is held to it from then on.
    """
    from nas_edge.pipeline.zoo.flow import pull_flow

    with shown_progress() as progress:
        report = pull_flow(name, out, data=data, sha256=sha256, progress=progress)
    emit(json_output, report.to_json(), report.lines())
    return report.exit_code


@app.command("import", epilog="Example: nas-edge zoo import ofa_D4_E6_K357 --space ofa-mbv3-w1.0 --out my-ofa")
def import_file(
    file: Annotated[
        Path, typer.Argument(help="A checkpoint of Once-for-All's, or its accuracy predictor; nothing in it is run.")
    ],
    space: Annotated[str, typer.Option(help="Preset or YAML file of its search space.")],
    out: Annotated[Path, typer.Option(help="Directory of the bundle; of a predictor: a bundle's, or an .npz file.")],
    data: DataOption = None,
    json_output: JsonOption = False,
    debug: DebugOption = False,
) -> int:
    """Make a bundle of a checkpoint that lies here, or our file of an accuracy predictor."""
    from nas_edge.pipeline.zoo.flow import import_flow

    with shown_progress() as progress:
        report = import_flow(file, space, out, data=data, progress=progress)
    emit(json_output, report.to_json(), report.lines())
    return report.exit_code
