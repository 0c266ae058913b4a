"""The problem that strategies are compared on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nas_edge.errors import ConfigError
from nas_edge.pipeline.comparing.request import CompareRequest
from nas_edge.search.metrics import Metric
from nas_edge.spaces import Space

MOST_BY_PROXY = 2000  # evaluations, where each takes a large part of a second


@dataclass(frozen=True)
class NoiseFloor:
    """How finely the surrogate of the accuracy can tell networks apart.

    Attributes:
        rmse: of the predictor on networks that it was not fitted to, as a fraction of 1.
        label_noise: of the accuracies that it was fitted to; None where it is not known.

    """

    rmse: float
    label_noise: float | None = None

    @classmethod
    def of(cls, figures: Mapping[str, float]) -> NoiseFloor | None:
        """From a predictor's figures; None where they say nothing."""
        return cls(figures["rmse"], figures.get("label_noise")) if "rmse" in figures else None


@dataclass(frozen=True, eq=False)
class ComparedProblem:
    """What is searched, the budgets left out.

    Attributes:
        space: a trained supernet's, or a table.
        metrics: by name, of objectives and budgets.
        objectives: names of metrics.
        noise: of the accuracy's surrogate; None where there is none (a table) or nothing is known.
        inputs: files that it rests on, by role.
        about: in plain data, for the record and to hold a resumed comparison against.
        notes: what a user should be told.

    """

    space: Space
    metrics: Mapping[str, Metric]
    objectives: tuple[str, ...]
    noise: NoiseFloor | None
    inputs: Mapping[str, Path]
    about: Mapping[str, Any]
    notes: tuple[str, ...] = field(default=())


def problem_of(request: CompareRequest) -> ComparedProblem:
    """Prepare the problem.

    Raises:
        UnknownNameError, FormatError, SpaceError, ConfigError: as searching does.

    """
    if request.space is not None and request.space.endswith((".csv", ".csv.gz")):
        return _of_table(request, Path(request.space))
    return _of_surrogates(request)


def _of_table(request: CompareRequest, path: Path) -> ComparedProblem:
    from nas_edge.search.tabular import tabular_metrics, tabular_objective
    from nas_edge.spaces.tabular import TabularSpace

    space = TabularSpace.read(path)
    of_networks = {
        "--resolutions": request.resolutions, "--fix": request.fix, "--precision": request.precision,
        "--classes": request.num_classes, "--accuracy-predictor": request.accuracy_predictor,
    }  # fmt: skip
    for option, value in of_networks.items():
        if value:
            raise ConfigError(f"{option} is of networks, {path} is a table of architectures: leave it out")
    objectives = request.objectives or (tabular_objective(space),)
    about = {"space": space.name, "architectures": space.size()}
    return ComparedProblem(space, tabular_metrics(space), objectives, None, {"space": path}, about)


def _of_surrogates(request: CompareRequest) -> ComparedProblem:
    from nas_edge.pipeline.devices.targets import load_target
    from nas_edge.pipeline.searching.aims import chosen_precisions, open_aim
    from nas_edge.pipeline.searching.request import ZERO_COST, SearchRequest
    from nas_edge.pipeline.searching.source import open_source
    from nas_edge.pipeline.searching.task import SearchTask
    from nas_edge.progress import silent

    several = len(request.objectives) > 1
    asked = SearchRequest(
        target=request.target, bundle=request.bundle, space=request.space or "",
        accuracy_predictor=request.accuracy_predictor, num_classes=request.num_classes, precision=request.precision,
        resolutions=request.resolutions, fix=request.fix, confidence=request.confidence, verify=False,
        pareto=request.objectives if several else (), objective="" if several else "".join(request.objectives),
        # What bounds the search decides which metrics are made; the limits themselves are read with their units.
        limits=tuple((name, "<=", 1.0) for name in request.budget_metrics), seed=request.seed,
    )  # fmt: skip
    asked.check()
    if asked.proxy and request.evaluations > MOST_BY_PROXY:
        raise ConfigError(
            f"each evaluation of a {ZERO_COST} proxy builds a network: add --evaluations 300, at most {MOST_BY_PROXY}"
        )
    precisions = chosen_precisions(asked, load_target(asked.target))
    source = open_source(asked, precisions)
    aim = open_aim(asked, asked.targets[0], source.space, source.num_classes, precisions, silent)
    task = SearchTask(asked, source, (aim,), precisions)
    tables = {f"table, {p.value}": found.path for p, found in aim.tables.items() if found.path is not None}
    inputs = {role: path for role, path in {**source.files, **tables}.items() if path.exists()}
    about = {
        **source.describe(), "target": aim.target.name, "precision": [p.value for p in precisions],
        "confidence": request.confidence, "resolutions": list(source.space.resolutions), "fix": list(request.fix),
        "accuracy_predictor": request.accuracy_predictor,
    }  # fmt: skip
    floors = [NoiseFloor.of(getattr(predictor, "figures", {})) for predictor in source.accuracy.values()]
    noise = max((f for f in floors if f is not None), key=lambda floor: floor.rmse, default=None)
    notes = (*source.notes, *aim.notes)
    return ComparedProblem(source.space, task.metrics(), task.objectives, noise, inputs, about, notes)
