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
    if request.resolutions is not None:
        space = space.restrict(resolutions=request.resolutions)
    objectives = request.objectives or (tabular_objective(space),)
    about = {"space": space.name, "architectures": space.size()}
    return ComparedProblem(space, tabular_metrics(space), objectives, None, {"space": path}, about)


def _of_surrogates(request: CompareRequest) -> ComparedProblem:
    from nas_edge.accuracy import AccuracyPredictor
    from nas_edge.latency import LatencyPredictor
    from nas_edge.pipeline.bundle import PREDICTOR, load_bundle
    from nas_edge.pipeline.tables.finding import load_table_for
    from nas_edge.pipeline.targets import load_target
    from nas_edge.search.metrics import MetricContext, TargetSources, build_metrics
    from nas_edge.spaces import SearchSpace

    if request.space is None:
        bundle = load_bundle(request.bundle)
        space, classes, name = bundle.space, bundle.num_classes, bundle.name
        path = bundle.path / PREDICTOR
        accuracy = bundle.accuracy_predictor()
    else:
        if request.accuracy_predictor is None:
            raise ConfigError(f"space {request.space!r} has no accuracies: add --accuracy-predictor FILE")
        space, classes, name = SearchSpace.named(request.space), 1000, request.space
        path = request.accuracy_predictor
        accuracy = AccuracyPredictor.read(path, space)
    if request.resolutions is not None:
        space = space.restrict(resolutions=request.resolutions)
    target = load_target(request.target)
    found = load_table_for(target)
    latency = LatencyPredictor.of(found.table, space, classes)
    context = MetricContext(space, classes, accuracy, TargetSources(latency), confidence=request.confidence)
    metrics = build_metrics(("accuracy", "latency", "macs", "params"), context)
    inputs = {"accuracy predictor": path} | ({"table": found.path} if found.path else {})
    about = {
        "space": space.name, "source": name, "target": target.name, "confidence": request.confidence,
        "resolutions": list(space.resolutions),
    }  # fmt: skip
    noise = NoiseFloor.of(accuracy.figures)
    return ComparedProblem(space, metrics, request.objectives or ("accuracy",), noise, inputs, about, found.notes)
