"""Compare: every strategy on the same problem with the same number of evaluations, over many seeds."""

from __future__ import annotations

import csv
import io
import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from nas_edge import __version__
from nas_edge.files import make_directory, write_json, write_text
from nas_edge.pipeline.comparing.analysis import Analysis, Records, analyse, hypervolumes
from nas_edge.pipeline.comparing.optimum import KnownOptimum, known_optimum, refuse_hopeless
from nas_edge.pipeline.comparing.problem import ComparedProblem, problem_of
from nas_edge.pipeline.comparing.report import CompareReport
from nas_edge.pipeline.comparing.request import CompareRequest, parse_budgets, parse_strategy
from nas_edge.pipeline.comparing.runs import RunKey, RunRecord, RunStore, run_once
from nas_edge.pipeline.running.directory import hashes
from nas_edge.progress import Progress, silent
from nas_edge.search.constraints import Constraint
from nas_edge.search.problem import Problem

TABLE, SUMMARY, PLOT = "compare.csv", "summary.json", "anytime"
_POINTS = 200  # of a curve

Budgets = Mapping[str, tuple[Constraint, ...]]


def compare_flow(request: CompareRequest, progress: Progress = silent) -> CompareReport:
    """Run what is still to be run, and write the tables and plots of all of it.

    Raises:
        ConfigError: nothing to compare, or the directory holds another comparison. UnknownNameError: a strategy,
        option, metric, target or bundle. BudgetError: a budget that no architecture meets. MissingExtraError:
        matplotlib, where plots are wanted. QuantityError, FormatError, SpaceError: as searching does.

    """
    for strategy in request.compared:
        parse_strategy(strategy)
    if request.plot:
        from nas_edge.report.plots import require_matplotlib

        require_matplotlib()
    problem = problem_of(request)
    budgets: Budgets = {text: parse_budgets(text, problem.metrics) for text in request.budgets} or {"": ()}
    bare = Problem(problem.space, problem.metrics, problem.objectives, ())
    refuse_hopeless(bare, budgets, request.seed)
    store = RunStore(make_directory(request.out), _settings(request, problem))
    records, kept = _runs(request, problem, budgets, store, progress)
    optima: dict[str, KnownOptimum | None] = {}
    for number, (budget, constraints) in enumerate(budgets.items()):
        progress(number, len(budgets), "looking for the exact optimum")
        limited = Problem(problem.space, problem.metrics, problem.objectives, constraints)
        optima[budget] = known_optimum(limited) if len(problem.objectives) == 1 else None
    seeds = range(request.seed, request.seed + request.seeds)
    analysis = analyse(problem, request.compared, request.baseline, optima, seeds, records)
    files = [request.out / TABLE, request.out / SUMMARY]
    if request.plot:
        files += [request.out / f"{PLOT}.{kind}" for kind in ("png", "svg")]
    report = CompareReport(request, problem, analysis, tuple(files), kept, len(records))
    _write_table(request.out / TABLE, problem, analysis, records)
    write_json(request.out / SUMMARY, {"format": 1, **report.summary()})
    if request.plot:
        _plot(request, problem, analysis, seeds, records, files[2:])
    return report


def _settings(request: CompareRequest, problem: ComparedProblem) -> dict[str, object]:
    """What must be the same in all runs; strategies, seeds and budgets may be added later."""
    return {
        "version": __version__,
        **json.loads(json.dumps(dict(problem.about))),
        "objectives": list(problem.objectives),
        "evaluations": request.evaluations,
        "inputs": {role: hashes(path) for role, path in problem.inputs.items()},
    }


def _runs(
    request: CompareRequest,
    problem: ComparedProblem,
    budgets: Budgets,
    store: RunStore,
    progress: Progress,
) -> tuple[dict[RunKey, RunRecord], int]:
    """All runs, and how many of them were there already. Seed by seed: cut off, all strategies got as far."""
    seeds = range(request.seed, request.seed + request.seeds)
    keys = [RunKey(s, budget, seed) for seed, budget, s in itertools.product(seeds, budgets, request.compared)]
    records: dict[RunKey, RunRecord] = {}
    kept = 0
    for number, key in enumerate(keys):
        text = f"{key.strategy}, {key.budget or 'no budget'}, seed {key.seed}"
        record = store.get(key)
        if record is None:
            told = _part(progress, number, len(keys), text)
            record = run_once(problem, budgets[key.budget], key, request.evaluations, told)
            store.put(record)
        else:
            kept += 1
        records[key] = record
        progress(number + 1, len(keys), text)
    return records, kept


def _part(progress: Progress, number: int, runs: int, name: str) -> Progress:
    """One run's progress as that of all, under its name."""

    def told(done: float, total: float, text: str) -> None:
        progress(number + min(done / max(total, 1.0), 1.0), runs, name)

    return told


def _write_table(path: Path, problem: ComparedProblem, analysis: Analysis, records: Records) -> None:
    """`compare.csv`: one line a run."""
    sign = 1.0 if problem.metrics[problem.objectives[0]].maximise else -1.0
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["strategy", "budget", "seed", "evaluations", problem.objectives[0], "regret", "arch"])
    for key, record in records.items():
        known = analysis.optima[key.budget]
        regret = "" if known is None or record.value is None else f"{sign * (known.value - record.value):.9g}"
        value = "" if record.value is None else f"{record.value:.9g}"
        arch = "" if record.arch is None else json.dumps(record.arch, separators=(",", ":"))
        writer.writerow([key.strategy, key.budget, key.seed, record.evaluations, value, regret, arch])
    write_text(path, text.getvalue())


def _plot(
    request: CompareRequest,
    problem: ComparedProblem,
    analysis: Analysis,
    seeds: Sequence[int],
    records: Records,
    paths: Sequence[Path],
) -> None:
    from nas_edge.report.plots import Curve, Panel, plot_anytime

    several = len(problem.objectives) > 1
    sign = 1.0 if several or problem.metrics[problem.objectives[0]].maximise else -1.0
    most = max(record.evaluations for record in records.values())
    grid = np.unique(np.geomspace(1, max(most, 2), _POINTS).round())
    panels = []
    for budget, known in analysis.optima.items():
        curves = []
        traces: Mapping[RunKey, Sequence[tuple[int, float]]] = {key: record.trace for key, record in records.items()}
        if several:
            traces = hypervolumes(problem, request.compared, budget, seeds, records)
        for strategy in request.compared:
            # Gains, -inf before anything was found: quantiles among those are not drawn.
            runs = np.stack([_at(grid, traces[RunKey(strategy, budget, seed)], sign) for seed in seeds])
            with np.errstate(invalid="ignore"):
                low, median, high = sign * np.quantile(runs, [0.25, 0.5, 0.75], axis=0)
            low, median, high = (np.where(np.isfinite(v), v, np.nan) for v in (low, median, high))
            curves.append(Curve(strategy, grid, median, low, high))
        line = None if known is None else (known.value, "optimum" if known.exact else "bound")
        panels.append(Panel(budget or "no budget", curves, line))
    metric = problem.metrics[problem.objectives[0]]
    label = "hypervolume, share of the box" if several else f"{metric.name} {metric.unit}".strip()
    title = f"median of {len(seeds)} seeds, quartiles as bands"
    if problem.noise is not None and not several and metric.name == "accuracy":
        title += f"; the accuracy predictor is off by {problem.noise.rmse:.4f}"
    plot_anytime(panels, label, paths, title)


def _at(grid: np.ndarray, trace: Sequence[tuple[int, float]], sign: float) -> np.ndarray:
    """Best gain so far after each number of evaluations, -inf before the first."""
    if not trace:
        return np.full(len(grid), -np.inf)
    steps = np.array([n for n, _ in trace])
    gains = np.array([-np.inf, *(sign * value for _, value in trace)])
    return gains[np.searchsorted(steps, grid, side="right")]
