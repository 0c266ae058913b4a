"""`nas-edge table measure|show|check`; the other table commands register themselves here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nas_edge.cli import table_compare, table_import, table_predict
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
    parse_resolutions,
    parsed,
    shown_progress,
)

app = typer.Typer(help="Latency tables: what devices were measured to do.", no_args_is_help=True, rich_markup_mode=None)
for _commands in (table_predict, table_import, table_compare):
    _commands.register(app)

TargetOption = Annotated[str, typer.Option("--target", help="Name of 'nas-edge targets list', or a YAML file.")]
SpaceOption = Annotated[str | None, typer.Option("--space", help="Preset or YAML file; default: the bundle's.")]
ClassesOption = Annotated[int | None, typer.Option("--classes", min=2, help="Outputs; default: the bundle's.")]
BundleOption = Annotated[str, typer.Option("--bundle", help="Whose space and classes are meant.")]
TableArgument = Annotated[
    str | None, typer.Argument(metavar="[TABLE]", help="Directory, or <target>/<runtime>-<precision>.")
]


@app.command("measure", epilog="Example: nas-edge table measure --target local --space lite0 --classes 6")
def measure(
    target: TargetOption = "local",
    host: HostOption = None,
    serial: SerialOption = None,
    space: Annotated[
        list[str] | None, typer.Option("--space", help="Preset or YAML file, repeatable; default: the bundle's.")
    ] = None,
    classes: Annotated[
        list[int] | None, typer.Option("--classes", min=2, help="Outputs, one for each space; default: the bundle's.")
    ] = None,
    bundle: BundleOption = "trashnet",
    precision: Annotated[str | None, typer.Option(help="fp32 or int8; default: the target's.")] = None,
    resolutions: Annotated[str | None, typer.Option(help="Input sides to measure; default: all.")] = None,
    effort: EffortOption = "default",
    quick: QuickOption = False,
    thorough: ThoroughOption = False,
    regime: Annotated[str, typer.Option(help="hot: back to back; cold: caches emptied between.")] = "hot",
    statistic: Annotated[str, typer.Option(help="median, p90, p95 or p99 of the runs.")] = "median",
    networks: Annotated[int, typer.Option(min=2, max=200, help="Whole networks to calibrate on, each space.")] = 40,
    holdout: Annotated[int, typer.Option(min=0, max=200, help="Whole networks to check on, each space.")] = 20,
    probes: Annotated[
        int | None,
        typer.Option(min=0, max=2000, help="Blocks of other widths and inputs; default: 320, none with --quick."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume/--anew", help="Go on where a killed measurement was.")] = True,
    append: Annotated[bool, typer.Option("--append", help="Add to the table that is there.")] = False,
    out: Annotated[Path | None, typer.Option(help="Directory of tables; default: latency_tables.")] = None,
    seed: SeedOption = 0,
    json_output: JsonOption = False,
    debug: DebugOption = False,
) -> int:
    """Measure every block of a space, and whole networks beside them, on a device."""
    from nas_edge.pipeline.tables.commands import chosen_spaces, measure_command

    spaces = chosen_spaces(space or [], classes or [], bundle)
    sides = parsed(resolutions, parse_resolutions)
    if sides is not None:
        spaces = [(about.restrict(resolutions=sides), count) for about, count in spaces]
    with shown_progress() as progress:
        report = measure_command(
            target, spaces, host=host, serial=serial, precision=precision, out=out,
            effort=chosen_effort(effort, quick, thorough), regime=regime, statistic=statistic, calibration=networks,
            holdout=holdout, probes=probes, resume=resume, append=append, seed=seed, progress=progress,
        )  # fmt: skip
    emit(json_output, report.to_json(), report.lines())
    return report.exit_code


@app.command("show", epilog="Example: nas-edge table show --target jetson --space ofa-mbv3-w1.2 --classes 1000")
def show(
    table: TableArgument = None,
    target: Annotated[str | None, typer.Option("--target", help="Its table; default: local.")] = None,
    space: Annotated[str | None, typer.Option("--space", help="To be covered; default: the table's.")] = None,
    classes: Annotated[int | None, typer.Option("--classes", min=2, help="Outputs; default: the table's.")] = None,
    json_output: JsonOption = False,
    debug: DebugOption = False,
) -> int:
    """Show what a table holds, where it comes from and how far it can be trusted."""
    from nas_edge.pipeline.tables.showing import show_command

    report = show_command(table, target, space, classes)
    emit(json_output, report.to_json(), report.lines())
    return report.exit_code


@app.command("check", epilog="Example: nas-edge table check latency_tables/cpu-mine/onnxruntime-fp32")
def check(
    table: TableArgument = None,
    target: Annotated[str | None, typer.Option("--target", help="Its table; default: local.")] = None,
    space: SpaceOption = None,
    classes: ClassesOption = None,
    json_output: JsonOption = False,
    debug: DebugOption = False,
) -> int:
    """Check a table: schema, coverage, outliers, rows copied from elsewhere, error on the networks held out.

    Exit code 1: not fit to be shared.
    """
    from nas_edge.pipeline.tables.showing import check_command

    report = check_command(table, target, space, classes)
    emit(json_output, report.to_json(), report.lines())
    return report.exit_code
