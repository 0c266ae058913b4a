"""Many small knapsacks side by side: blocks and depths of greatest value within limits on sums of their costs.

Each is a multiple-choice knapsack. Its linear relaxation has one multiplier, the price of a unit of cost (Sinha and
Zoltners, 1979), found here by a safeguarded secant (Dowell and Jarratt, 1971) of a few steps; a change that gains most
(or loses least) within what room is left is then made a few times. Arrays have the problems last, so that each
operation runs along contiguous memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas_edge.search.strategies.limits import SlotLimit
from nas_edge.spaces.variation import Layout

Float32 = NDArray[np.float32]
Index = NDArray[np.intp]

FIRST_STEPS, STEPS = 8, 3  # of the price's search, where it begins anywhere and where it begins at what was usual
SLOPE = 1.5  # rise of the price's logarithm for that of the cost's, until two steps tell
LONGEST = 1.5  # step of the price's logarithm
FURTHEST = 15.0  # logarithm of a price either way
INNER = 0.1  # share of an interval that the next price keeps from its ends
CHUNK = 512  # knapsacks at a time: what they need stays in the cache
FILLS = 5  # options changed for better ones where room is left, or for cheaper ones where it is not
NEVER = np.float32(1e9)  # loss of what must not be done
STEEP = np.float32(1e20)  # loss of exceeding a limit by all of it
LEAST_ROOM = 1e-6  # in units of the dearest option; where there is less, no knapsack can be filled


@dataclass(frozen=True, eq=False)
class Filled:
    """Solutions of n knapsacks.

    Attributes:
        options: [slots, n].
        present: bool [slots, n].
        fits: bool [n], whether all limits are met.

    """

    options: Index
    present: NDArray[np.bool_]
    fits: NDArray[np.bool_]


class Knapsacks:
    """Knapsacks over the places of one space.

    Args:
        layout: whose stages say which depths there are; places are numbered through all stages.
        options: at each place.
        limits: on what blocks cost together, at each width and resolution.

    """

    def __init__(self, layout: Layout, options: int, limits: Sequence[SlotLimit]) -> None:
        self._stages = np.repeat(np.arange(len(layout.stages)), [len(stage.kernels) for stage in layout.stages])
        lengths = np.array([len(stage.kernels) for stage in layout.stages], np.intp)
        starts = np.cumsum([0, *lengths])[:-1]
        self._within = (np.arange(len(self._stages)) - starts[self._stages])[:, None]
        # For each number of blocks the stages that may have it; stages that are shorter stand still.
        deepest = int(lengths.max(initial=0))
        self._allowed = [np.array([[d in stage.depths] for stage in layout.stages]) for d in range(1, deepest + 1)]
        self._places = [starts + np.minimum(slot, lengths - 1) for slot in range(deepest)]
        self.limit(limits)
        self._usual = np.full(self._joint.shape[2], np.nan, np.float32)
        # An option's number is written into the last bits of what it is worth: its maximum then says which it was.
        self._bits = np.int32(2 ** max(options - 1, 1).bit_length() - 1)
        self._tags = np.arange(options, dtype=np.int32)[:, None, None]

    def limit(self, limits: Sequence[SlotLimit]) -> None:
        """Put other limits in the place of these, as many; which prices were usual is kept."""
        # In units of their room, so that several limits can share a price.
        self._costs = [_in_rooms(limit) for limit in limits]
        self._joint = np.sum(self._costs, axis=0, dtype=np.float32) if limits else np.zeros((0, 0, 0), np.float32)
        if limits:
            self._mean = np.maximum(np.abs(self._joint).mean(axis=(0, 1)), np.float32(1e-30))

    def solve(self, values: Float32, filled: Float32, unit: Float32, outer: Index) -> Filled:
        """Fill n of them.

        Args:
            values: float32 [options, slots, n], what an option brings where its place is filled.
            filled: float32 [slots, n], what any option brings there besides.
            unit: float32 [n], how much values differ: what prices are measured by.
            outer: [n], the width and resolution of each.

        """
        starts = range(0, max(len(outer), 1), CHUNK)
        if len(starts) == 1:
            return self._solve(values, filled, unit, outer)
        parts = [slice(start, start + CHUNK) for start in starts]
        found = [
            self._solve(np.ascontiguousarray(values[:, :, part]), filled[:, part], unit[part], outer[part])
            for part in parts
        ]
        return Filled(
            np.concatenate([each.options for each in found], axis=1),
            np.concatenate([each.present for each in found], axis=1),
            np.concatenate([each.fits for each in found]),
        )

    def _solve(self, values: Float32, filled: Float32, unit: Float32, outer: Index) -> Filled:
        """A few of them."""
        worth = np.empty_like(values)
        if not self._costs:
            np.copyto(worth, values)
            options, most = self._choose(worth)
            present, _ = self._deep(most + filled, ())
            return Filled(options, present, np.ones(values.shape[2], bool))
        costs = [np.take(cost, outer, axis=2) for cost in self._costs]
        joint = costs[0] if len(costs) == 1 else np.take(self._joint, outer, axis=2)
        scale = unit / self._mean[outer] + np.float32(1e-30)
        usual = self._usual[outer]
        known = not np.isnan(usual).any()
        search = _Price(np.where(np.isnan(usual), np.float32(0), usual))
        sums: list[Float32] = []
        for step in range(STEPS if known else FIRST_STEPS):
            if step:
                search.advance(np.log(np.maximum(np.max(sums, axis=0), np.float32(1e-6))))
            np.multiply(joint, np.exp(search.at) * scale, out=worth)
            np.subtract(values, worth, out=worth)
            options, most = self._choose(worth)
            spent = [np.take_along_axis(cost, options[None], 0)[0] for cost in costs]
            present, sums = self._deep(most + filled, spent)
        self._remember(outer, search.at)
        left = [1 - total for total in sums]
        _improve(values, costs, left, options, present, worth)
        return Filled(options, present, np.all([rest >= 0 for rest in left], axis=0))

    def _remember(self, outer: Index, found: Float32) -> None:
        """Begin at the mean of these prices next time."""
        count = np.bincount(outer, minlength=len(self._usual))
        total = np.bincount(outer, found, len(self._usual))
        seen = count > 0
        self._usual[seen] = total[seen] / count[seen]

    def _choose(self, worth: Float32) -> tuple[Index, Float32]:
        """The best option of each place and its worth (to five digits), both [slots, n]; spoils `worth`."""
        tagged = worth.view(np.int32)
        np.bitwise_and(tagged, ~self._bits, out=tagged)
        np.bitwise_or(tagged, self._tags, out=tagged)
        most: Float32 = worth.max(axis=0)
        return (most.view(np.int32) & self._bits).astype(np.intp), most

    def _deep(self, worth: Float32, spent: Sequence[Float32]) -> tuple[NDArray[np.bool_], list[Float32]]:
        """Which places are filled [slots, n] at each stage's best depth, and sums of costs [n]."""
        shape = (len(self._places and self._places[0]), worth.shape[1])
        best, total = np.full(shape, -np.inf, np.float32), np.zeros(shape, np.float32)
        depths = np.zeros(shape, np.int8)
        for depth, (places, allowed) in enumerate(zip(self._places, self._allowed, strict=True), 1):
            total += worth[places]
            if not allowed.any():
                continue
            deeper = total > best
            if not allowed.all():
                deeper &= allowed
            np.maximum(best, total, out=best, where=deeper)
            np.copyto(depths, np.int8(depth), where=deeper)
        present: NDArray[np.bool_] = depths[self._stages] > self._within
        return present, [np.where(present, each, np.float32(0)).sum(axis=0) for each in spent]


class _Price:
    """The logarithms of prices, [n], on their way to where costs are 1: safeguarded secants.

    Args:
        start: where to begin.

    """

    def __init__(self, start: Float32) -> None:
        self.at = start
        self._low, self._high = np.full(len(start), -np.inf, np.float32), np.full(len(start), np.inf, np.float32)
        self._over, self._under = np.zeros(len(start), np.float32), np.zeros(len(start), np.float32)

    def advance(self, excess: Float32) -> None:
        """Go on from the logarithms of costs at these prices."""
        dear = excess > 0
        self._low, self._over = np.where(dear, self.at, self._low), np.where(dear, excess, self._over)
        self._high, self._under = np.where(dear, self._high, self.at), np.where(dear, self._under, excess)
        wide = self._high - self._low
        between = np.isfinite(wide)
        share = self._over / np.maximum(self._over - self._under, np.float32(1e-9))
        secant = np.where(between, self._low, 0) + np.clip(share, INNER, 1 - INNER) * np.where(between, wide, 0)
        step = np.clip(SLOPE * excess, -LONGEST, LONGEST)
        # Where nothing fits at any price it would rise for ever.
        self.at = np.clip(np.where(between, secant, self.at + step), -FURTHEST, FURTHEST).astype(np.float32)


def _in_rooms(limit: SlotLimit) -> Float32:
    """Costs in units of their room, float32 [options, slots, outer]."""
    least = max(LEAST_ROOM * float(np.abs(limit.each).max(initial=0)), 1e-30)
    return (limit.each / np.maximum(limit.room, least)).astype(np.float32)


def _improve(
    values: Float32,
    costs: Sequence[Float32],
    left: list[Float32],
    options: Index,
    present: NDArray[np.bool_],
    scratch: Float32,
) -> None:
    """Make the one change of each knapsack that gains most within what is left, a few times; all in place.

    Where less than nothing is left, the change that loses least among those that mend it.
    """
    each = np.arange(values.shape[2])
    now = np.take_along_axis(values, options[None], 0)
    gain = values - np.where(present, now, NEVER)
    more: list[NDArray[np.floating[Any]]] = [cost - np.take_along_axis(cost, options[None], 0) for cost in costs]
    for _ in range(FILLS):
        # Without masks, which are slow: what exceeds a limit is lowered by ever so much.
        np.copyto(scratch, gain)
        for extra, rest in zip(more, left, strict=True):
            np.minimum(scratch, (rest - extra) * STEEP, out=scratch)
        slot = scratch.max(axis=0).argmax(axis=0)
        column = scratch[:, slot, each]
        option = column.argmax(axis=0)
        best = column[option, each]
        broken = np.any([rest < 0 for rest in left], axis=0)
        who = np.flatnonzero((best > 0) | (broken & (best > -NEVER)))
        option, slot = option[who], slot[who]
        for extra, rest in zip(more, left, strict=True):
            step = extra[option, slot, who]
            rest[who] -= step
            extra[:, slot, who] -= step
        gain[:, slot, who] -= best[who]
        options[slot, who] = option
