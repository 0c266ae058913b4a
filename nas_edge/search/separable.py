"""Sums over terms taken apart into blocks: what each block's kernel and ratio add, at each width and resolution."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from nas_edge.spaces import Population, Space, TermCosts

Float = NDArray[np.float64]
Index = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Slots:
    """A space as places for blocks, each filled by one of its options or left empty by its stage's depth.

    Options of places that have fewer than others are repeated; `distinct` tells.

    Attributes:
        space: made of stages.
        outer: int8 [outer, globals], all combinations of the genes that are never absent.
        columns: [2, slots], where kernel and ratio of each place are.
        values: int8 [2, options, slots], kernel and ratio of each option.
        distinct: bool [options, slots], false for repetitions.

    """

    space: Space
    outer: Population
    columns: Index
    values: Population
    distinct: NDArray[np.bool_]

    @classmethod
    def of(cls, space: Space) -> Slots:
        """The places of a space."""
        layout = space.layout
        outer = np.array(list(itertools.product(*(layout.values[c] for c in range(layout.globals)))), np.int8)
        pairs = [(int(k), int(e)) for stage in layout.stages for k, e in zip(stage.kernels, stage.expands, strict=True)]
        choices = [np.array(list(itertools.product(layout.values[k], layout.values[e])), np.int8) for k, e in pairs]
        most = max((len(options) for options in choices), default=1)
        each = np.arange(most)
        values = [options[each % len(options)].T for options in choices]
        return cls(
            space,
            outer.reshape(len(outer), layout.globals),
            np.array(pairs, np.intp).reshape(-1, 2).T,
            np.stack(values, axis=2) if values else np.zeros((2, most, 0), np.int8),
            np.stack([each < len(options) for options in choices], axis=1) if choices else np.zeros((most, 0), bool),
        )

    @property
    def size(self) -> int:
        """Number of places."""
        return int(self.columns.shape[1])

    @cached_property
    def _codes(self) -> Index:
        """Option by place, kernel and ratio, [slots, 128, 128] for values that a gene has; -1 for others."""
        most = int(self.values.max(initial=0)) + 1
        table = np.full((self.size, most, most), -1, np.intp)
        for option in reversed(range(len(self.distinct))):
            table[np.arange(self.size), self.values[0, option], self.values[1, option]] = option
        return table

    def options(self, rows: Population) -> Index:
        """Which option fills each place, [slots, n] of int8 [n, genes]; -1 where it is empty."""
        kernel, ratio = rows.T[self.columns]
        found: Index = self._codes[np.arange(self.size)[:, None], kernel, ratio]
        return found

    def outer_of(self, rows: Population) -> Index:
        """Which combination of the genes that are never absent each row has, [n]."""
        same = (rows[:, None, : self.outer.shape[1]] == self.outer).all(axis=2)
        found: Index = np.argmax(same, axis=1)
        return found

    def rows(self, outer: Index, options: Index, present: NDArray[np.bool_]) -> Population:
        """Architectures int8 [n, genes] of [n], [slots, n] and bool [slots, n]."""
        rows = np.zeros((len(outer), self.space.layout.genes), np.int8)
        rows[:, : self.outer.shape[1]] = self.outer[outer]
        chosen = self.values[:, options, np.arange(self.size)[:, None]] * present
        rows[:, self.columns[0]], rows[:, self.columns[1]] = chosen[0].T, chosen[1].T
        return rows


@dataclass(frozen=True, eq=False)
class SlotCosts:
    """A sum over terms by place.

    Attributes:
        base: float64 [outer], of what is always there.
        each: float64 [options, slots, outer], added by an option where the place is filled.

    """

    base: Float
    each: Float


def slot_costs(slots: Slots, costs: TermCosts) -> SlotCosts | None:
    """A sum by place; None where a term joins genes of several places."""
    slot_of = {int(column): s for s, pair in enumerate(slots.columns.T) for column in pair}
    touched = [{slot_of[int(c)] for c in np.flatnonzero(t) if int(c) in slot_of} for t in costs.index.strides.T]
    if any(len(places) > 1 for places in touched):
        return None
    most, outer = len(slots.distinct), len(slots.outer)
    rows = np.zeros((outer, most, slots.space.layout.genes), np.int8)
    rows[:, :, : slots.outer.shape[1]] = slots.outer[:, None]
    for slot, (kernel, ratio) in enumerate(slots.columns.T):
        rows[:, :, kernel], rows[:, :, ratio] = slots.values[:, :, slot]
    priced = costs.values[costs.index.locate(rows.reshape(outer * most, -1))].reshape(outer, most, -1)
    each = np.zeros((most, slots.size, outer))
    for term, places in enumerate(touched):
        for slot in places:
            each[:, slot] += priced[:, :, term].T
    base = priced[:, 0, [t for t, places in enumerate(touched) if not places]].sum(axis=1)
    return SlotCosts(base, each)


def separable_extreme(space: Space, costs: TermCosts, *, least: bool) -> Population | None:
    """The exact optimum of a sum over terms, int8 [genes]; None where a term joins genes of several blocks.

    For each width and resolution every block's best kernel and ratio is independent of the others, and so is each
    stage's best depth.
    """
    slots = Slots.of(space)
    found = slot_costs(slots, costs)
    if found is None:
        return None
    sign = 1.0 if least else -1.0
    total, each = sign * found.base, sign * found.each
    options, best = each.argmin(axis=0), each.min(axis=0)
    present = np.zeros(best.shape, bool)
    start = 0
    for stage in space.layout.stages:
        places = start + np.arange(len(stage.kernels))
        sums = np.cumsum(best[places], axis=0)[stage.depths - 1]
        depth = stage.depths[sums.argmin(axis=0)]
        present[places] = np.arange(len(places))[:, None] < depth
        total += sums.min(axis=0)
        start += len(places)
    outer = np.argmin(total, keepdims=True)
    optimum: Population = slots.rows(outer, options[:, outer], present[:, outer])[0]
    return optimum
