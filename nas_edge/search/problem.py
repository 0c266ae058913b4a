"""What is searched for: objectives and constraints over one space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas_edge.errors import FormatError, UnknownNameError
from nas_edge.search.constraints import Constraint, total_violation
from nas_edge.search.metrics import Metric
from nas_edge.spaces import Population, Space

Float = NDArray[np.float64]


@dataclass(frozen=True)
class Problem:
    """Objectives to be maximised under constraints.

    Strategies may look at `space` and call `excess`, which is cheap and is not counted; what the objectives are,
    only `tell` says.

    Attributes:
        space: of the architectures.
        metrics: by name; those of objectives and constraints, and any others to be reported.
        objectives: names of metrics.
        constraints: any number, over metrics.

    """

    space: Space
    metrics: Mapping[str, Metric]
    objectives: tuple[str, ...]
    constraints: tuple[Constraint, ...]

    def __post_init__(self) -> None:
        for name in (*self.objectives, *(constraint.metric for constraint in self.constraints)):
            if name not in self.metrics:
                raise UnknownNameError("metric", name, self.metrics)
        if not self.objectives:
            raise ValueError("a search needs an objective")

    def values(self, name: str, population: Population) -> Float:
        """A metric's figures, float64 [n], finite.

        Raises:
            FormatError: the metric gives NaN or infinity, or another number of figures.

        """
        values = np.asarray(self.metrics[name](population), np.float64)
        if values.shape != (len(population),):
            raise FormatError(f"metric {name!r} gives an array {values.shape} for {len(population)} architectures")
        broken = np.flatnonzero(~np.isfinite(values))
        if len(broken):
            arch = self.space.to_json(population[broken[0]])
            raise FormatError(
                f"metric {name!r} gives {values[broken[0]]} for {len(broken)} of {len(population)} architectures, "
                f"such as {arch}; its predictor or table is damaged"
            )
        return values

    def gains(self, population: Population) -> Float:
        """Objectives as figures to be maximised, float64 [n, objectives]."""
        columns = [self.values(n, population) * (1 if self.metrics[n].maximise else -1) for n in self.objectives]
        return np.stack(columns, axis=1)

    def excess(self, population: Population) -> Float:
        """By how much of its limit each constraint is exceeded, float64 [n, constraints]; negative where it is met."""
        if not self.constraints:
            return np.zeros((len(population), 0))
        return np.stack([c.excess(self.values(c.metric, population)) for c in self.constraints], axis=1)

    def violation(self, population: Population) -> Float:
        """Total relative excess, float64 [n]; 0 where all constraints are met."""
        return total_violation(self.excess(population))

    def without(self, constraints: Sequence[Constraint]) -> Problem:
        """The same problem with these constraints lifted."""
        kept = tuple(constraint for constraint in self.constraints if constraint not in constraints)
        return Problem(self.space, self.metrics, self.objectives, kept)
