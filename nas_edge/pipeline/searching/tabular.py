"""Searching a table of architectures: a test bed whose optimum is known, so that the regret can be told."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nas_edge.errors import ConfigError
from nas_edge.files import write_json
from nas_edge.pipeline.running.directory import RESULT, run_path, write_manifest, writing
from nas_edge.pipeline.searching.figures import FrontPoint
from nas_edge.pipeline.searching.report import INTERRUPTED, front_lines
from nas_edge.pipeline.searching.request import SearchRequest
from nas_edge.progress import Progress, silent
from nas_edge.search.constraints import Constraint
from nas_edge.search.infeasible import figure
from nas_edge.search.metrics import Metric
from nas_edge.search.result import SearchResult
from nas_edge.search.run import search
from nas_edge.search.tabular import Regret, regret, tabular_metrics, tabular_objective
from nas_edge.spaces.tabular import TabularSpace

FORMAT = 1


@dataclass(frozen=True)
class TabularReport:
    """What a search of a table found.

    Attributes:
        request: what was asked for.
        run: its directory.
        space: the table.
        arch: as JSON.
        figures: of the architecture, by metric.
        shown: the same in words.
        objective: what was searched for; of a Pareto search all of them.
        regret: to the table's optimum; None for several objectives.
        front: of a Pareto search.
        front_shown: some points of it in words.
        strategy, evaluations, wall_s: of the search.
        interrupted: ended by Ctrl-C: the best so far.

    """

    request: SearchRequest
    run: Path
    space: str
    arch: dict[str, Any]
    figures: Mapping[str, float]
    shown: Mapping[str, str]
    objective: tuple[str, ...]
    regret: Regret | None
    front: tuple[FrontPoint, ...]
    front_shown: tuple[str, ...]
    strategy: str
    evaluations: int
    wall_s: float
    interrupted: bool = False
    notes: tuple[str, ...] = field(default=())

    @property
    def exit_code(self) -> int:
        """0, or 130 after Ctrl-C."""
        return INTERRUPTED if self.interrupted else 0

    def to_json(self) -> dict[str, Any]:
        """What `--json` prints."""
        data: dict[str, Any] = {
            "run": str(self.run),
            "space": self.space,
            "arch": self.arch,
            "figures": dict(self.figures),
            "objectives": list(self.objective),
            "strategy": self.strategy,
            "evaluations": self.evaluations,
            "wall_s": self.wall_s,
        }
        if self.regret is not None:
            known = self.regret
            data["regret"] = {
                "optimum": known.optimum, "regret": known.regret, "rank": known.rank, "feasible": known.feasible,
            }  # fmt: skip
        if self.front:
            data["front"] = [point.to_json() for point in self.front]
        if self.interrupted:
            data["interrupted"] = True
        return data

    def lines(self) -> list[str]:
        """For a person."""
        lines = [f"found      {', '.join(f'{name} {text}' for name, text in self.shown.items())}"]
        lines.append(f"arch       {json.dumps(self.arch, separators=(',', ':'))}")
        if self.regret is not None:
            known = self.regret
            lines.append(
                f"regret     {known.regret:.6g}: the best of {known.feasible:,} architectures within the budgets has "
                f"{known.objective} {known.optimum:.6g}; {known.rank:,} are better than what was found"
            )
        if self.front:
            lines.append(f"front      {len(self.front)} architectures that nothing dominates")
            lines += self.front_shown
        lines += [f"note       {text}" for text in self.notes]
        lines.append(f"searched   {self.evaluations:,} architectures in {self.wall_s:.2f} s by {self.strategy}")
        lines.append(f"run        {self.run}")
        return lines


def search_table(request: SearchRequest, progress: Progress = silent) -> TabularReport:
    """Search a table of architectures and say how far the result is from its best.

    Budgets are `limits` over the table's own metrics.

    Raises:
        ConfigError: options that a table has no use for. FormatError: a damaged table (file and line).
        UnknownNameError: a metric that it does not have. BudgetError: nothing in it meets the limits.

    """
    _refuse_what_is_of_networks(request)
    if len(request.pareto) == 1 or len(set(request.pareto)) != len(request.pareto):
        raise ConfigError(f"--pareto needs two or more different metrics, not {','.join(request.pareto)!r}")
    begun = time.monotonic()
    source = Path(request.space)
    space = TabularSpace.read(source)
    path = run_path(request.out, source.name.partition(".")[0])
    metrics: dict[str, Metric] = tabular_metrics(space)
    objective = request.pareto or (request.objective or tabular_objective(space),)
    constraints = [Constraint(name, "<=" if op == "<=" else ">=", limit) for name, op, limit in request.limits]
    # "auto" would read a small table from end to end: there would be nothing to see.
    strategy = request.strategy if request.strategy != "auto" else ("evolution" if len(objective) == 1 else "nsga2")
    result = search(
        space, metrics, constraints, objective=objective, strategy=strategy, options=request.options,
        evaluations=min(request.evaluations, space.size()), seed=request.seed, look_for_slack=False, progress=progress,
    )  # fmt: skip
    front = _front(result) if len(objective) > 1 else ()
    report = TabularReport(
        request=request,
        run=path,
        space=space.name,
        arch=result.arch,
        figures=dict(result.figures),
        shown={name: figure(metrics[name], value) for name, value in result.figures.items()},
        objective=result.objectives,
        regret=regret(result) if len(objective) == 1 else None,
        front=front,
        front_shown=tuple(front_lines(front, lambda name, value: figure(metrics[name], value))),
        strategy=strategy,
        evaluations=result.evaluations,
        wall_s=round(result.wall_s, 4),
        interrupted=result.interrupted,
    )
    with writing(path) as directory:
        trace = [[n, value] for n, value in result.trace]
        asked = {"trace": trace, "seed": request.seed, "request": {**request.to_json(), "out": None}}
        write_json(directory / RESULT, {"format": FORMAT, "kind": "table", **report.to_json(), **asked})
        write_manifest(directory, {"search": request.seed}, {"space": source}, time.monotonic() - begun)
    return report


def _front(result: SearchResult) -> tuple[FrontPoint, ...]:
    return tuple(
        FrontPoint(
            result.space.to_json(row),
            {name: float(result.front_figures[name][i]) for name in result.objectives},
            {},
            bool((row == result.best).all()),
        )
        for i, row in enumerate(result.front)
    )


def _refuse_what_is_of_networks(request: SearchRequest) -> None:
    given = {
        "--latency": request.latency_ms, "--energy": request.energy_mj, "--macs": request.macs,
        "--params": request.params, "--sram": request.sram_bytes, "--flash": request.flash_bytes,
        "--instructions": request.instructions, "--min-accuracy": request.min_accuracy, "--verify": request.verify,
        "--fix": request.fix, "--resolutions": request.resolutions, "--evaluate": request.evaluate,
        "--accuracy-predictor": request.accuracy_predictor, "--precision": request.precision,
        "--target": request.others or request.target != SearchRequest.target, "--host": request.host,
        "--serial": request.serial, "--classes": request.num_classes,
        "--bundle": request.bundle != SearchRequest.bundle,
    }  # fmt: skip
    for option, value in given.items():
        if value:
            raise ConfigError(
                f"{option} is of networks, {request.space} is a table of architectures: leave it out; what can be "
                "bounded are its own metrics, like --limit 'latency<=20'"
            )
