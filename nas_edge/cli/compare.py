"""`nas-edge compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nas_edge.cli.common import DebugOption, JsonOption, SeedOption, emit, parse_resolutions, parsed, shown_progress

EPILOG = """Examples:

nas-edge compare --strategies auto,evolution,random --budgets 4ms,8ms --out compared

nas-edge compare --strategies nsga2,random --pareto accuracy,latency --out compared

nas-edge compare --space table.csv --strategies evolution:niches=1,aging --budgets 'latency<=5ms' --out compared"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("compare", epilog=EPILOG, short_help="Compare search strategies at equal evaluations.")(compare)


def _listed(text: str | None) -> tuple[str, ...]:
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())


def compare(
    strategies: Annotated[
        str, typer.Option(help="Comma between them; options behind a colon: auto,evolution:niches=1:polish_every=0.")
    ],
    out: Annotated[Path, typer.Option(help="Directory to write; finished runs in it are not repeated.")],
    budgets: Annotated[
        str | None, typer.Option(help="Comma between them: 15ms, macs<=60M, 5ms&sram<=96KB; default: no budget.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, max=200, help="Runs of each strategy within each budget.")] = 10,
    evaluations: Annotated[int, typer.Option(min=2, max=10_000_000, help="Networks that each run may price.")] = 20_000,
    baseline: Annotated[str, typer.Option(help="Strategy that the others are tested against.")] = "random",
    objective: Annotated[str, typer.Option(help="Metric to be made best; default: accuracy, or a table's own.")] = "",
    pareto: Annotated[
        str | None, typer.Option(help="Several objectives, like accuracy,latency: fronts by hypervolume.")
    ] = None,
    target: Annotated[str, typer.Option(help="Device: a name of 'nas-edge targets list' or a YAML file.")] = "local",
    bundle: Annotated[str, typer.Option(help="Trained supernet: a name or a directory.")] = "trashnet",
    space: Annotated[
        str | None, typer.Option(help="Instead of a bundle: preset, YAML file, or a CSV table with a known optimum.")
    ] = None,
    accuracy_predictor: Annotated[
        str, typer.Option(help="Judge networks by this: .npz, Once-for-All's .pth, or zero-cost:NAME.")
    ] = "",
    classes: Annotated[int | None, typer.Option(min=2, max=100_000, help="Of the classifier, with --space.")] = None,
    precision: Annotated[str | None, typer.Option(help="fp32, fp16 or int8; default: the target's.")] = None,
    resolutions: Annotated[str | None, typer.Option(help="Input sides to choose from, like 96,128,160.")] = None,
    fix: Annotated[list[str] | None, typer.Option(help="Hold genes: r=160, k=3,5, s2.d=3; may be repeated.")] = None,
    confidence: Annotated[float, typer.Option(help="Of latencies: one-sided, 0.5 to below 1.")] = 0.9,
    plot: Annotated[bool, typer.Option("--plot/--no-plot", help="Draw anytime curves (extra 'report').")] = True,
    seed: SeedOption = 0,
    json_output: JsonOption = False,
    debug: DebugOption = False,
) -> int:
    """Compare search strategies on one problem: medians, quartiles, paired tests, regret, anytime curves."""
    from nas_edge.pipeline.comparing.flow import compare_flow
    from nas_edge.pipeline.comparing.request import CompareRequest

    request = CompareRequest(
        strategies=_listed(strategies),
        out=out,
        budgets=_listed(budgets),
        seeds=seeds,
        evaluations=evaluations,
        baseline=baseline,
        objectives=(objective,) if objective else _listed(pareto),
        target=target,
        bundle=bundle,
        space=space,
        accuracy_predictor=accuracy_predictor,
        num_classes=classes,
        precision=_listed(precision),
        resolutions=parsed(resolutions, parse_resolutions),
        fix=tuple(fix or ()),
        confidence=confidence,
        seed=seed,
        plot=plot,
    )
    with shown_progress() as progress:
        report = compare_flow(request, progress)
    emit(json_output, report.to_json(), report.lines())
    return report.exit_code
