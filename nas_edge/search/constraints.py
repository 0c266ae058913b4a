"""Constraints as data, and what it means to break them a little or a lot."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nas_edge.errors import QuantityError


@dataclass(frozen=True)
class Constraint:
    """A bound on a metric.

    Attributes:
        metric: its name ("latency", "macs", "accuracy" ...).
        op: "<=" or ">=".
        limit: in the metric's unit (ms, MACs, a fraction ...), not zero.

    """

    metric: str
    op: Literal["<=", ">="]
    limit: float

    def __post_init__(self) -> None:
        if self.op not in ("<=", ">="):
            raise QuantityError(f"a constraint on {self.metric} is '<=' or '>=', not {self.op!r}")
        if not math.isfinite(self.limit) or self.limit == 0:
            raise QuantityError(f"the limit on {self.metric} must be finite and not zero, not {self.limit}")

    @property
    def upper(self) -> bool:
        """Whether the limit is an upper one."""
        return self.op == "<="

    def excess(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """By how much of the limit each value lies on its wrong side: float64 [n], negative where there is room."""
        beyond = values - self.limit if self.upper else self.limit - values
        relative: NDArray[np.float64] = beyond / abs(self.limit)
        return relative

    def __str__(self) -> str:
        return f"{self.metric} {self.op} {self.limit:g}"


def total_violation(excess: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum of the positive relative excesses, float64 [n] of float64 [n, constraints]; 0 where all are met."""
    total: NDArray[np.float64] = np.maximum(excess, 0.0).sum(axis=1)
    return total


def order(objective: NDArray[np.float64], violation: NDArray[np.float64]) -> NDArray[np.intp]:
    """Indices [n], best first, by Deb's constrained domination (Deb et al., NSGA-II, 2002) for one objective.

    Feasible before infeasible, then the greater objective; of infeasible ones the lesser violation.
    """
    return np.lexsort((-objective, violation))


def describe(constraints: Sequence[Constraint]) -> str:
    """All on one line."""
    return ", ".join(str(constraint) for constraint in constraints) or "no constraint"
