"""The one protocol of all search strategies, and their registry.

The life of a strategy: it is made once from a problem, its options and a generator; then `ask` and `tell` alternate
until the evaluations are used up. `ask` gives a population of canonical rows; `tell` gets that population back with
its objectives and violations, in the same order. A strategy keeps no record of the best: the search does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from importlib import import_module
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nas_edge.errors import UnknownNameError
from nas_edge.search.problem import Problem
from nas_edge.spaces import Population


class Strategy(Protocol):
    """Proposes architectures and learns from what they turn out to be worth."""

    def ask(self, limit: int) -> Population:
        """At most `limit` architectures to be evaluated, int8 [n, genes]; none when there is nothing left to try."""

    def tell(self, population: Population, objectives: NDArray[np.float64], violation: NDArray[np.float64]) -> None:
        """What they are worth.

        Args:
            population: what `ask` gave, or architectures known from before, int8 [n, genes].
            objectives: float64 [n, objectives], all to be maximised.
            violation: float64 [n], total relative excess over the constraints, 0 where they are met.

        """


StrategyFactory = Callable[[Problem, Any, np.random.Generator], Strategy]


@dataclass(frozen=True)
class StrategyEntry:
    """A registered strategy.

    Attributes:
        name: as `--strategy` takes it.
        factory: makes it from a problem, its options and a generator.
        options: frozen dataclass of its options, all with defaults.

    """

    name: str
    factory: StrategyFactory
    options: type


_BUILT_IN = {
    "islands": "nas_edge.search.strategies.islands",
    "lagrangian": "nas_edge.search.strategies.lagrangian",
    "least": "nas_edge.search.strategies.least",
    "evolution": "nas_edge.search.strategies.evolution",
    "random": "nas_edge.search.strategies.random",
    "exhaustive": "nas_edge.search.strategies.exhaustive",
    "exact": "nas_edge.search.strategies.exact",
    "bayesian": "nas_edge.search.strategies.bayesian",
    "differentiable": "nas_edge.search.strategies.differentiable",
    "aging": "nas_edge.search.strategies.aging",
    "epsilon": "nas_edge.search.strategies.epsilon",
    "nsga2": "nas_edge.search.strategies.nsga2",
    "local": "nas_edge.search.strategies.local",
    "reinforce": "nas_edge.search.strategies.reinforce",
    "ppo": "nas_edge.search.strategies.ppo",
}
_ENTRIES: dict[str, StrategyEntry] = {}


def register_strategy(name: str, options: type) -> Callable[[StrategyFactory], StrategyFactory]:
    """Register the decorated class (or factory) under a name, with the dataclass of its options."""

    def register(factory: StrategyFactory) -> StrategyFactory:
        _ENTRIES[name] = StrategyEntry(name, factory, options)
        return factory

    return register


def strategy_names() -> tuple[str, ...]:
    """Names of the strategies that this process knows."""
    return tuple(sorted({*_BUILT_IN, *_ENTRIES}))


def strategy_entry(name: str) -> StrategyEntry:
    """The strategy of a name. Raises UnknownNameError with near names."""
    if name not in _ENTRIES and name in _BUILT_IN:
        import_module(_BUILT_IN[name])
    if name not in _ENTRIES:
        from importlib.metadata import entry_points

        for entry in entry_points(group="nas_edge.strategies", name=name):
            entry.load()
    if name not in _ENTRIES:
        raise UnknownNameError("strategy", name, strategy_names())
    return _ENTRIES[name]


def make_strategy(
    name: str, problem: Problem, rng: np.random.Generator, options: Mapping[str, Any] | object | None = None
) -> Strategy:
    """A strategy by name.

    Args:
        name: registered name.
        problem: what to search.
        rng: all its randomness.
        options: an instance of its options' dataclass, or a mapping of their names.

    Raises:
        UnknownNameError: the strategy or one of the options. QuantityError: an option that is out of range.

    """
    entry = strategy_entry(name)
    if options is None or isinstance(options, Mapping):
        known = [field.name for field in fields(entry.options)]
        for key in options or {}:
            if key not in known:
                raise UnknownNameError(f"option of strategy {name!r}:", key, known)
        options = entry.options(**(options or {}))
    if not isinstance(options, entry.options):
        raise TypeError(f"strategy {name!r} takes {entry.options.__name__}, not {type(options).__name__}")
    return entry.factory(problem, options, rng)
