"""`nas-edge search`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from nas_edge.cli.common import (
    DebugOption,
    JsonOption,
    SeedOption,
    emit,
    parse_resolutions,
    parsed,
    shown_progress,
)
from nas_edge.units import parse_count, parse_latency_ms

EPILOG = """Examples:

nas-edge search --target local --latency 5ms

nas-edge search --target jetson --latency 20ms --params 2M --json

nas-edge search --target local --macs 60M --no-verify --bundle my-bundle --out runs/small"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("search", epilog=EPILOG, short_help="Find the best network within a budget.")(search)


def search(
    target: Annotated[str, typer.Option(help="Device: a name of 'nas-edge targets list' or a YAML file.")] = "local",
    latency: Annotated[str | None, typer.Option(help="Greatest latency, like 20ms: the hot, quiet median.")] = None,
    macs: Annotated[str | None, typer.Option(help="Greatest number of multiply-adds, like 60M.")] = None,
    params: Annotated[str | None, typer.Option(help="Greatest number of parameters, like 2M.")] = None,
    bundle: Annotated[str, typer.Option(help="Trained supernet: a name or a directory.")] = "trashnet",
    confidence: Annotated[
        float, typer.Option(help="Unverified: probability that the latency is met, 0.5 to below 1; 0.5 is the point.")
    ] = 0.9,
    precision: Annotated[str | None, typer.Option(help="fp32, fp16 or int8; default: the target's.")] = None,
    statistic: Annotated[
        str,
        typer.Option(help="What of the latency is bounded: median, p90, p95 or p99; measured where not the median."),
    ] = "median",
    regime: Annotated[str, typer.Option(help="hot: back to back; cold: caches emptied between.")] = "hot",
    resolutions: Annotated[str | None, typer.Option(help="Input sides to choose from, like 96,128,160.")] = None,
    verify: Annotated[
        bool | None,
        typer.Option("--verify/--no-verify", help="Measure on the device; default: where it can be reached."),
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, max=20, help="Rounds of measuring and searching again, at most.")] = 4,
    evaluations: Annotated[int, typer.Option(min=100, max=10_000_000, help="Networks to price.")] = 50_000,
    out: Annotated[Path | None, typer.Option(help="Directory of the run; default: runs/<time>-<target>.")] = None,
    seed: SeedOption = 0,
    json_output: JsonOption = False,
    debug: DebugOption = False,
) -> int:
    """Find the most accurate network within a budget, and show on the device that it is met."""
    from nas_edge.pipeline.searching.flow import search_flow
    from nas_edge.pipeline.searching.report import SearchRequest

    request = SearchRequest(
        target=target,
        latency_ms=parsed(latency, parse_latency_ms),
        macs=parsed(macs, partial(parse_count, what="macs")),
        params=parsed(params, partial(parse_count, what="params")),
        bundle=bundle,
        confidence=confidence,
        precision=precision,
        statistic=statistic,
        regime=regime,
        resolutions=parsed(resolutions, parse_resolutions),
        verify=verify,
        rounds=rounds,
        evaluations=evaluations,
        out=out,
        seed=seed,
    )
    with shown_progress() as progress:
        report = search_flow(request, progress)
    emit(json_output, report.to_json(), report.lines())
    return report.exit_code
