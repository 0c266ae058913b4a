"""`nas-edge search`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nas_edge.cli.common import (
    ClusterOption,
    DebugOption,
    JsonOption,
    SeedOption,
    WorkersOption,
    emit,
    note,
    parse_resolutions,
    parsed,
    refuse_beside,
    shown_progress,
)
from nas_edge.errors import ConfigError, NasEdgeError
from nas_edge.units import (
    parse_bytes,
    parse_count,
    parse_energy_mj,
    parse_latency_ms,
    parse_limit,
    parse_share,
)

if TYPE_CHECKING:
    from nas_edge.pipeline.searching.request import SearchRequest, TargetBudget
    from nas_edge.pipeline.spread import Spread

EPILOG = """Examples:

nas-edge search --target local --latency 5ms

nas-edge search --target jetson --latency 20ms --energy 300mJ --params 2M --json

nas-edge search --target samsung-note10 --latency 20ms --target local --latency 2ms

nas-edge search --target samsung-note10 --latency 20ms --target local --latency 2ms --per-target

nas-edge search --min-accuracy 92% --target local

nas-edge search --pareto latency,accuracy --fix r=128 --no-verify

nas-edge search --space ofa-mbv3-w1.2 --accuracy-predictor acc_predictor.pth --resolutions 160,192,224
--target samsung-note10 --latency 20ms

nas-edge search --target local --latency 1ms --precision fp32,int8

nas-edge search --target local --latency 1ms --evaluate 100 --workers 4

nas-edge search --space lite0 --accuracy-predictor zero-cost:naswot --macs 60M --evaluations 300

nas-edge search --bundle my-ofa --accuracy-predictor zero-cost:naswot --evaluate 40 --target local --latency 9ms

nas-edge search --space nasbench.csv --limit 'flops<=100M' --strategy aging

nas-edge search --resume runs/20260101-120000-local"""

Texts = list[str]
INTERRUPTED = 130
Switch = bool | None


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("search", epilog=EPILOG, short_help="Find the best network within a budget.")(search)


def search(
    context: typer.Context,
    target: Annotated[
        Texts | None,
        typer.Option(help="Device: a name of 'nas-edge targets list' or a YAML file; several share one network."),
    ] = None,
    latency: Annotated[
        Texts | None, typer.Option(help="Greatest latency, like 20ms: the hot, quiet median. One for each --target.")
    ] = None,
    energy: Annotated[Texts | None, typer.Option(help="Greatest energy of a run, like 300mJ; as --latency.")] = None,
    per_target: Annotated[
        bool, typer.Option("--per-target", help="A network for each target, not one for all.")
    ] = False,
    macs: Annotated[str | None, typer.Option(help="Greatest number of multiply-adds, like 60M.")] = None,
    params: Annotated[str | None, typer.Option(help="Greatest number of parameters, like 2M.")] = None,
    sram: Annotated[
        str | None, typer.Option(help="Greatest RAM, like 96KB; on a microcontroller with stack; default: the chip's.")
    ] = None,
    flash: Annotated[
        str | None,
        typer.Option(help="Greatest flash, like 512KB; on a microcontroller with code; default: the chip's."),
    ] = None,
    instructions: Annotated[str | None, typer.Option(help="Greatest number of instructions, like 20M.")] = None,
    min_accuracy: Annotated[
        str | None, typer.Option(help="Least accuracy, like 92%: the fastest such network is found.")
    ] = None,
    limit: Annotated[
        Texts | None, typer.Option(help="A bound on any metric, like 'flops<=100M'; may be given several times.")
    ] = None,
    objective: Annotated[str, typer.Option(help="Metric to be made best; default: accuracy.")] = "",
    pareto: Annotated[
        str | None, typer.Option(help="Metrics to be traded off, like latency,accuracy; the knee is marked.")
    ] = None,
    bundle: Annotated[str, typer.Option(help="Trained supernet: a name or a directory.")] = "trashnet",
    space: Annotated[
        str, typer.Option(help="Instead of a bundle: a preset or YAML file, or a CSV of architectures and metrics.")
    ] = "",
    accuracy_predictor: Annotated[
        str,
        typer.Option(
            help="Judge networks by this: .npz, Once-for-All's .pth, or zero-cost:NAME (a prior with --evaluate)."
        ),
    ] = "",
    classes: Annotated[int | None, typer.Option(min=2, max=100_000, help="Of the classifier, with --space.")] = None,
    precision: Annotated[
        str | None, typer.Option(help="fp32, fp16 or int8; several (fp32,int8) are chosen from; default: the target's.")
    ] = None,
    resolutions: Annotated[str | None, typer.Option(help="Input sides to choose from, like 96,128,160.")] = None,
    fix: Annotated[
        Texts | None, typer.Option(help="Hold genes: r=160, k=3,5, s2.d=3, w=0.5; may be given several times.")
    ] = None,
    strategy: Annotated[
        str,
        typer.Option(
            help="How to search: 'auto' for the best that fits, or islands, lagrangian, least, evolution, aging, "
            "local, nsga2, epsilon, reinforce, ppo, bayesian, differentiable, exact, random, exhaustive; options "
            "behind colons: aging:population=50."
        ),
    ] = "auto",
    confidence: Annotated[
        float, typer.Option(help="Unverified: probability that the latency is met, 0.5 to below 1; 0.5 is the point.")
    ] = 0.9,
    statistic: Annotated[
        str,
        typer.Option(help="What of the latency is bounded: median, p90, p95 or p99; measured where not the median."),
    ] = "median",
    regime: Annotated[str, typer.Option(help="hot: back to back; cold: caches emptied between.")] = "hot",
    verify: Annotated[
        Switch,
        typer.Option("--verify/--no-verify", help="Measure on the device; default: where it can be reached."),
    ] = None,
    host: Annotated[
        Texts | None, typer.Option(help="user@address[:port] of the device, over ssh; as --latency.")
    ] = None,
    serial: Annotated[Texts | None, typer.Option(help="Serial number of the device, over adb; as --latency.")] = None,
    rounds: Annotated[int, typer.Option(min=1, max=20, help="Rounds of measuring and searching again, at most.")] = 4,
    evaluations: Annotated[int, typer.Option(min=100, max=10_000_000, help="Networks to price.")] = 50_000,
    evaluate: Annotated[
        int, typer.Option(min=0, max=100_000, help="Subnets to measure where the search goes: refines the predictor.")
    ] = 0,
    workers: WorkersOption = None,
    cluster: ClusterOption = None,
    resume: Annotated[Path | None, typer.Option(help="Go on with a search that was cut: its run directory.")] = None,
    out: Annotated[Path | None, typer.Option(help="Directory of the run; default: runs/<time>-<target>.")] = None,
    seed: SeedOption = 0,
    json_output: JsonOption = False,
    debug: DebugOption = False,
) -> int:
    """Find the most accurate network within a budget, and show on the device that it is met."""
    from nas_edge.pipeline.searching.request import SearchRequest

    spread = _spread(workers, cluster)
    if resume is not None:
        refuse_beside(context, "--resume", "resume", "workers", "cluster")
        from nas_edge.pipeline.searching.state import unfinished_request

        return _run([unfinished_request(resume)], json_output, spread)
    first, *others = _budgets(target, latency, energy, host, serial)
    name, options = _strategy(strategy)
    request = SearchRequest(
        target=first.target,
        latency_ms=first.latency_ms,
        energy_mj=first.energy_mj,
        host=first.host,
        serial=first.serial,
        others=tuple(others),
        macs=parsed(macs, partial(parse_count, what="macs")),
        params=parsed(params, partial(parse_count, what="params")),
        sram_bytes=parsed(sram, parse_bytes),
        flash_bytes=parsed(flash, parse_bytes),
        instructions=parsed(instructions, partial(parse_count, what="instructions")),
        min_accuracy=parsed(min_accuracy, partial(parse_share, what="min-accuracy")),
        limits=tuple(parse_limit(text) for text in limit or ()),
        objective=objective,
        pareto=_names(pareto),
        bundle=bundle,
        space=space,
        accuracy_predictor=accuracy_predictor,
        num_classes=classes,
        precision=_names(precision),
        resolutions=parsed(resolutions, parse_resolutions),
        fix=tuple(fix or ()),
        strategy=name,
        options=options,
        confidence=confidence,
        verify=verify,
        rounds=rounds,
        evaluations=evaluations,
        evaluate=evaluate,
        statistic=statistic,
        regime=regime,
        seed=seed,
        out=out,
    )
    return _run(_one_each(request) if per_target else [request], json_output, spread)


def _spread(workers: int | None, cluster: str | None) -> Spread | None:
    """What true evaluations are spread over, None where nobody has said."""
    if workers is None and cluster is None:
        return None
    from nas_edge.pipeline.spread import chosen_spread

    return chosen_spread(workers, cluster)


def _run(requests: list[SearchRequest], json_output: bool, spread: Spread | None) -> int:
    """One search, or one for each of several targets."""
    from nas_edge.pipeline.searching.flow import search_flow

    if len(requests) > 1:
        return _run_each(requests, json_output, spread)
    with shown_progress() as progress:
        report = search_flow(requests[0], progress, spread)
    emit(json_output, report.to_json(), report.lines())
    return report.exit_code


def _run_each(requests: list[SearchRequest], json_output: bool, spread: Spread | None) -> int:
    """One search after another: what one of them fails with does not hide what the others came to."""
    from nas_edge.pipeline.searching.flow import search_flow

    runs: list[dict[str, Any]] = []
    lines: list[str] = []
    failed: dict[str, NasEdgeError] = {}
    code = 0
    for request in requests:
        lines.append(f"== {request.target}")
        try:
            with shown_progress() as progress:
                report = search_flow(request, progress, spread)
        except NasEdgeError as error:
            failed[request.target], code = error, max(code, error.exit_code)
            runs.append({"target": request.target, "error": str(error)})
            lines.append(f"error      {error}")
        except KeyboardInterrupt:
            code = INTERRUPTED
            lines.append("interrupted before anything was found")
        else:
            code = max(code, report.exit_code)
            runs.append({"target": request.target, **report.to_json()})
            lines += report.lines()
        if code == INTERRUPTED:
            break
    # The same mistake for every target is one mistake.
    if len(failed) == len(requests) and len({str(error) for error in failed.values()}) == 1:
        raise failed[requests[0].target]
    emit(json_output, {"runs": runs}, lines)
    for target, failure in failed.items():
        note(f"error: {target}: {' '.join(str(failure).split())}")
    return code


def _one_each(request: SearchRequest) -> list[SearchRequest]:
    """A request for each target."""
    from dataclasses import replace

    alone = [
        replace(
            request, target=one.target, latency_ms=one.latency_ms, energy_mj=one.energy_mj, host=one.host,
            serial=one.serial, others=(), out=None if request.out is None else request.out / Path(one.target).stem,
        )
        for one in request.targets
    ]  # fmt: skip
    return alone


def _budgets(
    targets: Texts | None, latencies: Texts | None, energies: Texts | None, hosts: Texts | None, serials: Texts | None
) -> list[TargetBudget]:
    """Each target with its own options. Raises ConfigError where their numbers do not fit."""
    from nas_edge.pipeline.searching.request import TargetBudget

    names = targets or ["local"]
    columns: list[list[Any]] = []
    for option, values in (("latency", latencies), ("energy", energies), ("host", hosts), ("serial", serials)):
        if values and len(values) != len(names):
            raise ConfigError(
                f"{len(names)} target{'s' * (len(names) > 1)} but {len(values)} --{option}: give one for each "
                "--target, in the same order"
            )
        columns.append(list(values) if values else [None] * len(names))
    return [
        TargetBudget(name, parsed(ms, parse_latency_ms), parsed(mj, parse_energy_mj), host or "", serial or "")
        for name, ms, mj, host, serial in zip(names, *columns, strict=True)
    ]


def _strategy(text: str) -> tuple[str, dict[str, Any]]:
    """ "aging:population=50" as a name and options."""
    if text == "auto":
        return text, {}
    from nas_edge.pipeline.comparing.request import parse_strategy

    return parse_strategy(text)


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip()) if text else ()
