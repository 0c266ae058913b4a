"""What strategies share that fill places for blocks by knapsacks: the places, the limits, and what a problem lacks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas_edge.search.metrics import Metric
from nas_edge.search.problem import Problem
from nas_edge.search.separable import SlotCosts, Slots, slot_costs
from nas_edge.search.strategies.knapsack import Filled, Knapsacks
from nas_edge.search.strategies.limits import SlotLimit, slot_limit
from nas_edge.spaces import Population

Float32 = NDArray[np.float32]
Index = NDArray[np.intp]

REPEATED = -1e9  # value of an option that a place does not have


@dataclass(frozen=True, eq=False)
class Blockwise:
    """A problem by place: what may fill each, and what all of them may cost together.

    Attributes:
        slots: the places and their options.
        limits: of the problem, each at every width and resolution.

    """

    slots: Slots
    limits: tuple[SlotLimit, ...]

    @classmethod
    def of(cls, problem: Problem) -> Blockwise:
        """Take a problem apart. Raises SpaceError where `lacking` says why it cannot be."""
        slots = Slots.of(problem.space)
        return cls(slots, tuple(slot_limit(slots, c, problem.metrics[c.metric]) for c in problem.constraints))

    @staticmethod
    def lacking(problem: Problem) -> str:
        """What a problem lacks for that, in words; empty where it lacks nothing."""
        if not problem.space.layout.stages:
            return f"space {problem.space.name!r} has no stages of blocks"
        slots = Slots.of(problem.space)
        for constraint in problem.constraints:
            if not constraint.upper or by_slot(slots, problem.metrics[constraint.metric]) is None:
                return f"constraint {constraint} is none on a sum over blocks"
        return ""

    def knapsacks(self) -> Knapsacks:
        """The knapsacks of these limits, which know no prices yet."""
        return Knapsacks(self.slots.space.layout, len(self.slots.distinct), self.limits)

    def hide_repeated(self, values: Float32) -> None:
        """Make options that a place does not have worth nothing, in values [options, slots, ...], in place."""
        values[~self.slots.distinct] = REPEATED

    def fitting(self, outer: Index, filled: Filled) -> Population:
        """Architectures int8 [up to n, genes] of the solutions that meet all limits; outer [n] as they were solved."""
        return self.slots.rows(outer, filled.options, filled.present)[filled.fits]


def by_slot(slots: Slots, metric: Metric) -> SlotCosts | None:
    """The sum over terms that a metric rises with, by place; None where there is none."""
    return None if metric.monotone is None else slot_costs(slots, metric.monotone.costs)


def log_uniform(least: float, most: float, n: int, rng: np.random.Generator) -> Float32:
    """Figures float32 [n], evenly spread on a logarithmic scale."""
    return np.exp(rng.uniform(np.log(least), np.log(most), n)).astype(np.float32)
