"""Constraints on sums over blocks, taken apart by block."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas_edge.errors import SpaceError
from nas_edge.search.constraints import Constraint
from nas_edge.search.metrics import Metric, Monotone
from nas_edge.search.separable import SlotCosts, Slots, slot_costs

Float32 = NDArray[np.float32]

STEPS, REFINEMENTS = 64, 6  # of the search for the sum at which a rising function reaches its limit
MARGIN = 1e-6  # of a limit, so that sums of float32 stay within it


@dataclass(frozen=True, eq=False)
class SlotLimit:
    """What blocks cost and what they may cost together.

    Attributes:
        each: float32 [options, slots, outer].
        room: float32 [outer], for all blocks at each width and resolution.

    """

    each: Float32
    room: Float32


def slot_limit(slots: Slots, constraint: Constraint, metric: Metric) -> SlotLimit:
    """An upper limit by block. Raises SpaceError where the metric is no rising function of a sum over blocks."""
    monotone = metric.monotone
    costs = None if monotone is None else slot_costs(slots, monotone.costs)
    if monotone is None or costs is None or not constraint.upper:
        raise SpaceError(f"constraint {constraint} is none on a sum over blocks")
    most = _greatest_sum(monotone, costs, constraint.limit)
    return SlotLimit(
        costs.each.astype(np.float32), (most - costs.base - MARGIN * max(abs(most), 1e-30)).astype(np.float32)
    )


def _greatest_sum(monotone: Monotone, costs: SlotCosts, limit: float) -> float:
    """The greatest sum whose figure is within the limit."""
    low, high = float(costs.base.min()), float((costs.base + costs.each.max(axis=0).sum(axis=0)).max())
    low = min(low, 0.0)
    for _ in range(REFINEMENTS):
        sums = np.linspace(low, high, STEPS)
        within = np.flatnonzero(monotone.function(sums) <= limit)
        if not len(within):
            return low
        last = int(within[-1])
        low, high = float(sums[last]), float(sums[min(last + 1, STEPS - 1)])
        if high <= low:
            break
    return low
