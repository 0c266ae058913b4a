"""What an architecture can be judged by: registered metrics, each a function of a population.

A metric is made from a `MetricContext` by a factory that is registered under its name here, by a decorator
elsewhere, or by a Python entry point of the group `nas_edge.metrics`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nas_edge.errors import SpaceError, UnknownNameError
from nas_edge.spaces import Population, Precision, SearchSpace, TermCosts

if TYPE_CHECKING:
    from nas_edge.memory.firmware import FirmwareSize
    from nas_edge.memory.population import PopulationMemory

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
    """Of a prediction what the search needs."""

    @property
    def high(self) -> Float:
        """One-sided upper bound (ms, mJ ...), float64 [n]."""


class CostSource(Protocol):
    """A predictor of latency, energy or instructions, as the search sees it."""

    def predict(self, population: Population, confidence: float = ...) -> Bounds:
        """Predict int8 [n, genes] so that P(cost <= high) >= confidence; 0.5 is the point estimate."""


class AccuracySource(Protocol):
    """A predictor of accuracy, as the search sees it."""

    def check(self, space: SearchSpace) -> None:
        """Raise SpaceError where it was made for another space."""

    def predict(self, population: Population) -> Float:
        """Accuracy 0..1, float64 [n] of int8 [n, genes]."""


@dataclass(frozen=True)
class TargetSources:
    """What is known of one target.

    Attributes:
        latency, energy, instructions: predictors; None where the target has no such figures.
        confidence: at which its costs are bounded; None for the context's.

    """

    latency: CostSource | None = None
    energy: CostSource | None = None
    instructions: CostSource | None = None
    confidence: float | None = None


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
        space: of the populations; without a precision gene (see `search.mixed`).
        num_classes: of the classifier.
        accuracy: predictor, for "accuracy".
        target: of "latency", "energy", "instructions".
        targets: by name, for "latency@name" and so on.
        confidence: at which costs are bounded; 0.5 is the point estimate.
        precision: of weights and activations, for "sram" and "flash".
        firmware: of a microcontroller, whose "sram" and "flash" are those of the generated code; None elsewhere.

    """

    space: SearchSpace
    num_classes: int
    accuracy: AccuracySource | None = None
    target: TargetSources = TargetSources()
    targets: Mapping[str, TargetSources] = field(default_factory=dict)
    confidence: float = 0.9
    precision: Precision = Precision.FP32
    firmware: FirmwareSize | None = None

    @property
    def bound_at(self) -> float:
        """Confidence of the target's costs."""
        return self.confidence if self.target.confidence is None else self.target.confidence


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
    """Metrics by name, each once, in the given order; "latency@board" is the latency of the target named board.

    Raises:
        UnknownNameError: nobody registered one of the names, or the context has no such target.
        SpaceError: the context lacks what a metric needs, or its predictor is of another space.

    """
    return {name: _build(name, context) for name in dict.fromkeys(names)}


def _build(name: str, context: MetricContext) -> Metric:
    metric, _, target = name.partition("@")
    if not target:
        return _factory(metric)(context)
    if target not in context.targets:
        raise UnknownNameError("target of a metric", target, context.targets)
    built = _factory(metric)(replace(context, target=context.targets[target]))
    if not isinstance(built, AdditiveMetric | FunctionMetric):
        raise SpaceError(f"metric {metric!r} is not one of a target; write {metric} without @{target}")
    return replace(built, name=name)


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
    gradient = getattr(context.accuracy, "gradient", None)
    return FunctionMetric("accuracy", "", context.accuracy.predict, maximise=True, gradient=gradient)


@register_metric("latency")
def _latency(context: MetricContext) -> Metric:
    if context.target.latency is None:
        raise SpaceError("latency cannot be predicted: no target was named; add --target")
    return _bounded("latency", "ms", context.target.latency, context.bound_at)


@register_metric("energy")
def _energy(context: MetricContext) -> Metric:
    if context.target.energy is None:
        raise SpaceError("energy cannot be predicted: the target's table holds none; jetson-tx2 has one that does")
    return _bounded("energy", "mJ", context.target.energy, context.bound_at)


@register_metric("instructions")
def _instructions(context: MetricContext) -> Metric:
    if context.target.instructions is None:
        raise SpaceError("instructions cannot be predicted: the target has no table of counted instructions")
    return _bounded("instructions", "instructions", context.target.instructions, context.bound_at)


@register_metric("macs")
def _macs(context: MetricContext) -> Metric:
    return AdditiveMetric("macs", "MACs", context.space.costs(lambda block: block.macs, context.num_classes))


@register_metric("params")
def _params(context: MetricContext) -> Metric:
    return AdditiveMetric("params", "parameters", context.space.costs(lambda block: block.params, context.num_classes))


@register_metric("flash")
def _flash(context: MetricContext) -> Metric:
    """Weights and biases, batch norms folded; code as well where it is known, which is on microcontrollers."""
    space, precision = context.space, context.precision
    if (memory := _firmware_memory(context)) is not None:
        return FunctionMetric("flash", "bytes", memory.flash_bytes)
    return AdditiveMetric("flash", "bytes", space.costs(lambda b: b.weight_bytes, context.num_classes, precision))


@register_metric("sram")
def _sram(context: MetricContext) -> Metric:
    """On microcontrollers arena, stack and variables of the generated code.

    Elsewhere the layer whose input, output and kept shortcut are greatest together: runtimes plan as they like, but no
    plan can need less than most of it.
    """
    space, precision = context.space, context.precision
    if (memory := _firmware_memory(context)) is not None:
        return FunctionMetric("sram", "bytes", memory.sram_bytes)
    terms = space.terms(context.num_classes, precision)
    peaks = TermCosts.of(terms, len(space.genes), lambda block: block.activation_bytes, combine=max)
    return FunctionMetric("sram", "bytes", peaks.max)


def _firmware_memory(context: MetricContext) -> PopulationMemory | None:
    if context.firmware is None:
        return None
    if context.precision is not Precision.INT8:
        raise SpaceError(f"microcontrollers run networks in int8, not {context.precision.value}")
    from nas_edge.memory.population import PopulationMemory

    return PopulationMemory.of(context.space, context.num_classes, context.firmware)


def _bounded(name: str, unit: str, source: CostSource, confidence: float) -> Metric:
    # Where a predictor is a rising function of a sum over terms, least figures are proven instead of searched for.
    additive = getattr(source, "additive", None)
    found = additive(confidence) if additive is not None else None
    rises = None if found is None else Monotone(*found)
    return FunctionMetric(name, unit, lambda rows: source.predict(rows, confidence).high, rises_with=rises)
