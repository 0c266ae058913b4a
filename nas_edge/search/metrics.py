"""What an architecture can be judged by: registered metrics, each a function of a population.

A metric is made from a `MetricContext` by a factory that is registered under its name here, by a decorator
elsewhere, or by a Python entry point of the group `nas_edge.metrics`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nas_edge.accuracy import AccuracyPredictor
from nas_edge.errors import SpaceError, UnknownNameError
from nas_edge.spaces import Population, SearchSpace, TermCosts

Float = NDArray[np.float64]


Gradient = Callable[[NDArray[np.floating[Any]]], tuple[Float, Float]]
"""float [n, features] mixtures of choices (`accuracy.FeatureLayout`) to float64 [n] and float64 [n, features]."""


@dataclass(frozen=True)
class Monotone:
    """A figure that rises with a sum over terms.

    Attributes:
        costs: of the sum.
        function: float64 [n] of sums to float64 [n] of figures, nowhere falling.

    """

    costs: TermCosts
    function: Callable[[Float], Float]

    def __call__(self, population: Population) -> Float:
        """float64 [n] of int8 [n, genes]."""
        return self.function(self.costs.sum(population))


def _sum_of(costs: TermCosts) -> Monotone:
    return Monotone(costs, lambda sums: sums)


class Metric(Protocol):
    """One figure of each architecture of a population."""

    @property
    def name(self) -> str:
        """As constraints and results call it."""

    @property
    def unit(self) -> str:
        """ "ms", "MACs", "" for a fraction or a count."""

    @property
    def maximise(self) -> bool:
        """Whether more is better."""

    @property
    def costs(self) -> TermCosts | None:
        """The same figure as a sum over terms, where it is one; extremes are then found exactly."""

    @property
    def monotone(self) -> Monotone | None:
        """The same figure as a rising function of such a sum, where it is one: extremes are exact as well."""

    @property
    def gradient(self) -> Gradient | None:
        """Figure and derivative by the one-hot genes, where the metric has them."""

    def __call__(self, population: Population) -> Float:
        """float64 [n] of int8 [n, genes]."""


class Bounds(Protocol):
    """Of a latency prediction what the search needs."""

    @property
    def high(self) -> Float:
        """One-sided upper bound in ms, float64 [n]."""


class LatencySource(Protocol):
    """A latency predictor, as the search sees it."""

    def predict(self, population: Population, confidence: float = ...) -> Bounds:
        """Predict int8 [n, genes] so that P(latency <= high) >= confidence; 0.5 is the point estimate."""


@dataclass(frozen=True)
class AdditiveMetric:
    """A sum over terms, less is better.

    Attributes:
        name, unit: as in `Metric`.
        costs: of every entry of every term.

    """

    name: str
    unit: str
    costs: TermCosts
    maximise: bool = False
    gradient: Gradient | None = None

    @property
    def monotone(self) -> Monotone | None:
        """The sum itself."""
        return _sum_of(self.costs)

    def __call__(self, population: Population) -> Float:
        """float64 [n] of int8 [n, genes]."""
        return self.costs.sum(population)


@dataclass(frozen=True)
class FunctionMetric:
    """Any function of a population.

    Attributes:
        name, unit, maximise: as in `Metric`.
        function: int8 [n, genes] to float64 [n].

    """

    name: str
    unit: str
    function: Callable[[Population], Float]
    maximise: bool = False
    costs: TermCosts | None = None
    rises_with: Monotone | None = None
    gradient: Gradient | None = None

    @property
    def monotone(self) -> Monotone | None:
        """`rises_with`, or the sum itself."""
        return self.rises_with if self.costs is None else _sum_of(self.costs)

    def __call__(self, population: Population) -> Float:
        """float64 [n] of int8 [n, genes]."""
        return self.function(population)


@dataclass(frozen=True)
class MetricContext:
    """What metrics are made of.

    Attributes:
        space: of the populations.
        num_classes: of the classifier.
        accuracy: predictor, for "accuracy".
        latency: predictor, for "latency".
        confidence: at which latency is bounded; 0.5 is the point estimate.

    """

    space: SearchSpace
    num_classes: int
    accuracy: AccuracyPredictor | None = None
    latency: LatencySource | None = None
    confidence: float = 0.9


MetricFactory = Callable[[MetricContext], Metric]
_FACTORIES: dict[str, MetricFactory] = {}


def register_metric(name: str) -> Callable[[MetricFactory], MetricFactory]:
    """Register the decorated factory under a name."""

    def register(factory: MetricFactory) -> MetricFactory:
        _FACTORIES[name] = factory
        return factory

    return register


def metric_names() -> tuple[str, ...]:
    """Names of the metrics that this process knows."""
    return tuple(sorted(_FACTORIES))


def build_metrics(names: Iterable[str], context: MetricContext) -> dict[str, Metric]:
    """Metrics by name, each once, in the given order.

    Raises:
        UnknownNameError: nobody registered one of the names.
        SpaceError: the context lacks what a metric needs, or its predictor is of another space.

    """
    return {name: _factory(name)(context) for name in dict.fromkeys(names)}


def _factory(name: str) -> MetricFactory:
    if name not in _FACTORIES:
        # Looking entry points up reads every installed package's metadata: only for names that are not ours.
        from importlib.metadata import entry_points

        for entry in entry_points(group="nas_edge.metrics", name=name):
            _FACTORIES[name] = entry.load()
            break
        else:
            raise UnknownNameError("metric", name, _FACTORIES)
    return _FACTORIES[name]


@register_metric("accuracy")
def _accuracy(context: MetricContext) -> Metric:
    if context.accuracy is None:
        raise SpaceError("accuracy cannot be predicted: the bundle has no accuracy predictor; train one")
    context.accuracy.check(context.space)
    return FunctionMetric("accuracy", "", context.accuracy.predict, maximise=True, gradient=context.accuracy.gradient)


@register_metric("latency")
def _latency(context: MetricContext) -> Metric:
    source, confidence = context.latency, context.confidence
    if source is None:
        raise SpaceError("latency cannot be predicted: no target was named; add --target")
    return FunctionMetric("latency", "ms", lambda population: source.predict(population, confidence).high)


@register_metric("macs")
def _macs(context: MetricContext) -> Metric:
    return AdditiveMetric("macs", "MACs", context.space.costs(lambda block: block.macs, context.num_classes))


@register_metric("params")
def _params(context: MetricContext) -> Metric:
    return AdditiveMetric("params", "parameters", context.space.costs(lambda block: block.params, context.num_classes))
