"""The neighbours of an architecture block by block, and what a knapsack makes of their gains.

Networks are nearly additive: what each block's options and each stage's depth gain alone says which of them are worth
having together. Where the limits are sums over blocks, that is a small knapsack (see `knapsack`); of an additive
figure its solution is the best network of that width and resolution, however far away, and where figures are not
additive a bonus for what the network has keeps solutions near.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas_edge.search.problem import Problem
from nas_edge.search.strategies.blockwise import Blockwise, log_uniform
from nas_edge.spaces import Population

Float = NDArray[np.float64]
Index = NDArray[np.intp]

NOISE = (0.01, 0.3)  # of values, in standard deviations of them
HOLD = (0.03, 3.0)  # bonus for what the network has, in the same unit
HELD = 0.7  # share of solutions with such a bonus


@dataclass(frozen=True, eq=False)
class Swaps:
    """An architecture's neighbours.

    Attributes:
        row: int8 [genes].
        rows: int8 [n, genes], those that another option makes, then those of another depth.
        option, slot: [n], which option another one was swapped for, and where; of those of another depth the option of
            the blocks that are added, -1 where there are none, and the first place of the stage.
        depth: [n], the stage's depth afterwards; 0 of those that another option makes.

    """

    row: Population
    rows: Population
    option: Index
    slot: Index
    depth: Index


class BlockSwaps:
    """Neighbours and their knapsacks in one problem, whose limits are all sums over blocks (`suit`)."""

    def __init__(self, problem: Problem) -> None:
        self._blocks = Blockwise.of(problem)
        self._slots, self._layout = self._blocks.slots, problem.space.layout
        lengths = [len(stage.kernels) for stage in self._layout.stages]
        self._starts = np.cumsum([0, *lengths])[:-1]

    @staticmethod
    def suit(problem: Problem) -> bool:
        """Whether a space has blocks and all limits are upper ones on sums over them."""
        return not Blockwise.lacking(problem)

    def around(self, row: Population) -> Swaps:
        """All neighbours of int8 [genes]: each block's other options, each stage's other depths."""
        slots = self._slots
        has = slots.options(row[None])[:, 0]
        other = slots.distinct & (np.arange(len(slots.distinct))[:, None] != has) & (has >= 0)
        option, slot = np.nonzero(other)
        changed = np.repeat(has[:, None], len(option), axis=1)
        changed[slot, np.arange(len(option))] = option
        deeper, kinds, starts, depths = self._other_depths(has)
        options = np.concatenate([changed, deeper], axis=1)
        outer = np.repeat(slots.outer_of(row[None]), options.shape[1])
        return Swaps(
            row,
            slots.rows(outer, np.maximum(options, 0), options >= 0),
            np.append(option, kinds),
            np.append(slot, starts),
            np.append(np.zeros(len(option), np.intp), depths),
        )

    def _other_depths(self, has: Index) -> tuple[Index, Index, Index, Index]:
        """Options [slots, n], those of added blocks, first places and depths [n] of every stage at other depths."""
        found: list[Index] = []
        notes: list[tuple[int, int, int]] = []
        for start, stage in zip(self._starts, self._layout.stages, strict=True):
            places = start + np.arange(len(stage.kernels))
            present = int((has[places] >= 0).sum())
            for depth in stage.depths[stage.depths != present]:
                added = places[present:depth]
                kinds = np.flatnonzero(self._slots.distinct[:, added].all(axis=1)) if len(added) else np.array([-1])
                for kind in kinds:
                    options = has.copy()
                    options[added] = kind
                    options[places[depth:]] = -1
                    found.append(options)
                    notes.append((int(kind), int(start), int(depth)))
        empty = np.zeros((len(has), 0), np.intp)
        kinds, starts, depths = np.array(notes, np.intp).reshape(-1, 3).T
        return np.stack(found, axis=1) if found else empty, kinds, starts, depths

    def values(self, swaps: Swaps, gains: Float) -> Float:
        """What each option brings where its place is filled, float64 [options, slots], by gains [n] over the row."""
        slots = self._slots
        has = slots.options(swaps.row[None])[:, 0]
        values = np.zeros(slots.distinct.shape)
        single = swaps.depth == 0
        values[swaps.option[single], swaps.slot[single]] = gains[single]
        for start, stage in zip(self._starts, self._layout.stages, strict=True):
            places = start + np.arange(len(stage.kernels))
            present = int((has[places] >= 0).sum())
            mine = (swaps.slot == start) & ~single
            # What fewer blocks lose is what those that go have brought.
            lost, at = 0.0, present
            for depth in sorted((int(d) for d in stage.depths if d < present), reverse=True):
                total = -float(gains[mine & (swaps.depth == depth)][0])
                values[:, places[depth:at]] += (total - lost) / (at - depth)
                lost, at = total, depth
            for kind in range(len(values)):
                brought, at = 0.0, present
                for depth in sorted(int(d) for d in stage.depths if d > present):
                    known = np.flatnonzero(mine & (swaps.depth == depth) & (swaps.option == kind))
                    if len(known):
                        values[kind, places[at:depth]] = (gains[known[0]] - brought) / (depth - at)
                        brought, at = float(gains[known[0]]), depth
        return values

    def solutions(self, swaps: Swaps, gains: Float, n: int, rng: np.random.Generator) -> Population:
        """What knapsacks over these gains [m] choose, the first without noise and bonuses: int8 [up to n, genes]."""
        slots = self._slots
        exact = self.values(swaps, gains)
        spread = np.full(n, max(float(exact[slots.distinct].std()), 1e-30), np.float32)
        values = np.repeat(exact[:, :, None].astype(np.float32), n, axis=2)
        later = (np.arange(n) > 0).astype(np.float32)
        values += rng.standard_normal(values.shape, np.float32) * (spread * later * log_uniform(*NOISE, n, rng))
        has = slots.options(swaps.row[None])[:, 0]
        bonus = spread * later * log_uniform(*HOLD, n, rng) * (rng.random(n) < HELD)
        there = np.flatnonzero(has >= 0)
        values[has[there], there] += bonus
        values[:, has < 0] -= bonus
        self._blocks.hide_repeated(values)
        outer = np.repeat(slots.outer_of(swaps.row[None]), n)
        # Prices of one network say little of another's: none are kept.
        filled = self._blocks.knapsacks().solve(values, np.zeros(values.shape[1:], np.float32), spread, outer)
        return self._blocks.fitting(outer, filled)
