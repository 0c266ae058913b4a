"""The files of a finished search: result, architecture, front, manifest."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

from nas_edge.files import write_text
from nas_edge.pipeline.running.directory import PARETO, write_manifest, write_result
from nas_edge.pipeline.searching.report import SearchReport
from nas_edge.pipeline.searching.task import SearchTask
from nas_edge.search.result import SearchResult

FITTED = "fitted in the search"
"""`accuracy_source` where a predictor was fitted to subnets measured in the search, with a proxy as its prior."""


def write_run(
    task: SearchTask, report: SearchReport, last: SearchResult | None, directory: Path, wall_s: float
) -> None:
    """Fill the run's directory: where nothing is measured, the same bytes for the same seed but for times and paths.

    Raises:
        ConfigError, StorageError: cannot be written.

    """
    request, source = task.request, task.source
    accuracy, latency = report.accuracy, report.latency
    result: dict[str, Any] = {
        **report.to_json(),
        "target": task.aims[0].target.name,
        "bundle": _bundle_name(task),
        "precision": report.precision,
        "space": report.space,
        "num_classes": source.num_classes,
        "budget": _budgets(task),
        "objectives": list(task.objectives),
        "strategy": last.strategy if last else request.strategy,
        "options": dict(request.options),
        "confidence": request.confidence,
        "statistic": request.statistic,
        "regime": request.regime,
        "interval": latency.interval,
        "upper95_ms": latency.upper95,
        "origin": latency.origin_text,
        "accuracy_interval95": accuracy.interval,
        "accuracy_images": accuracy.images,
        "accuracy_source": _accuracy_source(task),
        "basis": task.aims[0].predictors[task.precisions[0]].describe() | {"text": report.basis},
        "rounds": report.rounds,
        "trace": [] if last is None else [[n, value] for n, value in last.trace],
        "notes": list(report.notes),
        "request": {**request.to_json(), "out": None},
    }
    write_result(directory, result, report.arch | {"space": report.space, "num_classes": source.num_classes})
    if last is not None:
        _write_front(last, directory)
    inputs = {"target": task.aims[0].target.path, **source.files}
    for aim in task.aims:
        for precision, found in aim.tables.items():
            if found.path:
                name = "table" if len(task.aims) == len(aim.tables) == 1 else f"table of {aim.name}, {precision.value}"
                inputs[name] = found.path
            if precision in aim.kept:
                inputs[f"networks measured before on {aim.name}, {precision.value}"] = aim.kept[precision]
    inputs = {role: file for role, file in inputs.items() if file.exists()}
    write_manifest(directory, {"search": request.seed}, inputs, wall_s)


def _accuracy_source(task: SearchTask) -> str:
    """Whose the predicted accuracy is; a proxy's scores are given like a predictor's accuracies."""
    request = task.request
    if request.proxy and not task.source.proxy:
        return FITTED
    return "bundle" if task.source.bundle is not None and not request.accuracy_predictor else "given predictor"


def _bundle_name(task: SearchTask) -> str:
    bundle = task.source.bundle
    if bundle is None:
        return ""
    return str(bundle.path.resolve()) if Path(task.request.bundle).is_dir() else task.request.bundle


def _budgets(task: SearchTask) -> dict[str, Any]:
    """What was asked for; names as people know them where there is one target."""
    names = {"latency": "latency_ms", "energy": "energy_mj", "sram": "sram_bytes", "flash": "flash_bytes"}
    return {names.get(c.metric, c.metric if c.upper else f"{c.metric} {c.op}"): c.limit for c in task.constraints()}


def _write_front(result: SearchResult, directory: Path) -> None:
    """`pareto.csv`: not dominated in the objective and the first budget's metric, beyond the budget as well."""
    figures, text = result.front_figures, io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*(_with_unit(name) for name in figures), "arch"])
    for i, row in enumerate(result.front):
        numbers = [f"{values[i]:.6g}" for values in figures.values()]
        writer.writerow([*numbers, json.dumps(result.space.to_json(row), separators=(",", ":"))])
    write_text(directory / PARETO, text.getvalue())


def _with_unit(metric: str) -> str:
    base, at, target = metric.partition("@")
    unit = {"latency": "_ms", "energy": "_mj", "sram": "_bytes", "flash": "_bytes"}.get(base, "")
    return f"{base}{unit}{at}{target}"
