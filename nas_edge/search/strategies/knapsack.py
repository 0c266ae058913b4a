"""Many small knapsacks side by side: blocks and depths of greatest value within limits on sums of their costs.

Each is a multiple-choice knapsack. Its linear relaxation has one multiplier, the price of a unit of cost (Sinha and
Zoltners, 1979), found here by bisection; what room that leaves is used greedily. Arrays have the problems last, so
that each operation runs along contiguous memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas_edge.spaces.variation import Layout

Float32 = NDArray[np.float32]
Index = NDArray[np.intp]

HALVINGS = 6  # of the price, on a logarithmic scale
CHEAPEST, DEAREST = 0.02, 50.0  # prices that are tried at first, in units of value for mean cost
WIDER = 1.4  # than the prices that were found last is the range in which the next are looked for
CHUNK = 512  # knapsacks at a time: what they need stays in the cache
FILLS = 3  # options changed for better ones where room is left


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

    """

    def __init__(self, layout: Layout) -> None:
        self._starts = np.cumsum([0, *(len(stage.kernels) for stage in layout.stages)])[:-1]
        deepest = max((len(stage.kernels) for stage in layout.stages), default=0)
        # For each number of blocks the stages that may have it; stages that are shorter stand still.
        self._allowed = [np.array([[d in stage.depths] for stage in layout.stages]) for d in range(1, deepest + 1)]
        lengths = np.array([len(stage.kernels) for stage in layout.stages], np.intp)
        self._places = [self._starts + np.minimum(slot, lengths - 1) for slot in range(deepest)]
        self._range = (CHEAPEST, DEAREST)

    def solve(self, values: Float32, unit: Float32, costs: Sequence[Float32], rooms: Sequence[Float32]) -> Filled:
        """Fill them.

        Args:
            values: float32 [options, slots, n], what an option brings where its place is filled.
            unit: float32 [n], how much values differ: what prices are measured by.
            costs: for each limit float32 [options, slots, n].
            rooms: for each limit float32 [n].

        """
        n = values.shape[2]
        found, prices = [], []
        for start in range(0, n, CHUNK):
            part = slice(start, start + CHUNK)
            mine = [np.ascontiguousarray(each[:, :, part]) for each in costs]
            solved, price = self._solve(
                np.ascontiguousarray(values[:, :, part]), unit[part], mine, [room[part] for room in rooms]
            )
            found.append(solved)
            prices.append(price)
        if costs:
            # Prices hardly change from one call to the next: a narrow range needs fewer halvings.
            usual = np.concatenate(prices)
            self._range = (max(float(usual.min()) / WIDER, CHEAPEST), min(float(usual.max()) * WIDER, DEAREST))
        return Filled(
            np.concatenate([each.options for each in found], axis=1),
            np.concatenate([each.present for each in found], axis=1),
            np.concatenate([each.fits for each in found]),
        )

    def _solve(
        self, values: Float32, unit: Float32, costs: Sequence[Float32], rooms: Sequence[Float32]
    ) -> tuple[Filled, NDArray[np.floating[Any]]]:
        """A few of them, and their prices in units of `unit` for the mean cost, [n]."""
        n = values.shape[2]
        if not costs:
            options, present, _ = self._best(values, values, (), np.zeros(n, np.float32))
            return Filled(options, present, np.ones(n, bool)), np.zeros(n)
        # Several limits are priced together, each in units of its own room.
        cost = costs[0] if len(costs) == 1 else _joint(costs, rooms)
        scale = unit / np.maximum(np.abs(cost).mean(axis=(0, 1)), 1e-30) + np.float32(1e-30)
        low, high = (np.full(n, np.log(bound), np.float32) for bound in self._range)
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            fits = self._fits(values, cost, costs, rooms, np.exp(middle) * scale)
            high, low = np.where(fits, middle, high), np.where(fits, low, middle)
        options, present, sums = self._best(values, cost, costs, np.exp(high) * scale)
        left = [room - total for room, total in zip(rooms, sums, strict=True)]
        for _ in range(FILLS):
            _improve(values, costs, left, options, present)
        return Filled(options, present, np.all([rest >= 0 for rest in left], axis=0)), np.exp(high)

    def _fits(
        self, values: Float32, cost: Float32, costs: Sequence[Float32], rooms: Sequence[Float32], price: Float32
    ) -> NDArray[np.bool_]:
        """Whether the best at a price meets all limits, bool [n]."""
        worth, spare = values[0] - price * cost[0], np.empty_like(values[0])
        better = np.empty(worth.shape, bool)
        sums = [each[0].copy() for each in costs]
        for option in range(1, len(values)):
            np.multiply(cost[option], price, out=spare)
            np.subtract(values[option], spare, out=spare)
            np.greater(spare, worth, out=better)
            np.maximum(worth, spare, out=worth)
            for total, each in zip(sums, costs, strict=True):
                np.copyto(total, each[option], where=better)
        totals = self._deep(worth, sums)[0]
        fits: NDArray[np.bool_] = np.all([total <= room for total, room in zip(totals, rooms, strict=True)], axis=0)
        return fits

    def _best(
        self, values: Float32, cost: Float32, costs: Sequence[Float32], price: Float32
    ) -> tuple[Index, NDArray[np.bool_], list[Float32]]:
        """Options [slots, n], which are there, and the sums of costs [n], at a price."""
        worth = values - price * cost
        options = worth.argmax(axis=0)
        sums = [np.take_along_axis(each, options[None], 0)[0] for each in costs]
        totals, depths = self._deep(np.take_along_axis(worth, options[None], 0)[0], sums)
        slot = np.arange(len(options)) - np.repeat(self._starts, np.diff([*self._starts, len(options)]))
        stage = np.repeat(np.arange(len(self._starts)), np.diff([*self._starts, len(options)]))
        present = depths[stage] > slot[:, None]
        return options, present, totals

    def _deep(self, worth: Float32, sums: Sequence[Float32]) -> tuple[list[Float32], NDArray[np.int8]]:
        """Sums of costs [n] at each stage's best depth, and these depths [stages, n]."""
        shape = (len(self._starts), worth.shape[1])
        best, total = np.full(shape, -np.inf, np.float32), np.zeros(shape, np.float32)
        depths = np.zeros(shape, np.int8)
        spent, running = [np.zeros(shape, np.float32) for _ in sums], [np.zeros(shape, np.float32) for _ in sums]
        for depth, (places, allowed) in enumerate(zip(self._places, self._allowed, strict=True), 1):
            total += worth[places]
            for each, amount in zip(running, sums, strict=True):
                np.add(each, amount[places], out=each)
            if not allowed.any():
                continue
            deeper = total > best
            deeper &= allowed
            np.copyto(best, total, where=deeper)
            np.copyto(depths, np.int8(depth), where=deeper)
            for kept, each in zip(spent, running, strict=True):
                np.copyto(kept, each, where=deeper)
        return [each.sum(axis=0) for each in spent], depths


def _joint(costs: Sequence[Float32], rooms: Sequence[Float32]) -> Float32:
    """Costs in units of their room, added up: float32 [options, slots, n]."""
    total: Float32 = np.sum([each / np.maximum(room, 1e-6) for each, room in zip(costs, rooms, strict=True)], axis=0)
    return total


def _improve(
    values: Float32,
    costs: Sequence[Float32],
    left: list[Float32],
    options: Index,
    present: NDArray[np.bool_],
) -> None:
    """Change the one option of each knapsack whose change gains most within what is left; all in place."""
    count, slots, n = values.shape
    gain = values - np.take_along_axis(values, options[None], 0)
    more = [each - np.take_along_axis(each, options[None], 0) for each in costs]
    gain *= present
    for each, rest in zip(more, left, strict=True):
        gain *= each <= rest
    flat = gain.reshape(count * slots, n)
    at = flat.argmax(axis=0)
    who = np.flatnonzero(flat[at, np.arange(n)] > 0)
    option, slot = np.divmod(at[who], slots)
    for each, rest in zip(more, left, strict=True):
        rest[who] -= each[option, slot, who]
    options[slot, who] = option
