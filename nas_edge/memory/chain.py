"""Arenas of chains: each tensor at one end of the arena, so that what is free stays in one piece.

Convolutional networks are chains of units: single layers, and inverted residuals with or without a shortcut. A unit
finds its input at the bottom or at the top of the arena, and leaves its output at one of them. What it needs depends on
nothing but its own sizes and that end: hence whole populations can be planned as arrays (`population`).

Where it can, a layer writes over its input: additions and depthwise convolutions in place, projections in place where a
shortcut waits, expansions and first convolutions over input that they have done with (`overlap`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from nas_edge.memory.footprint import scratch_bytes
from nas_edge.memory.layers import IMAGE, Layer, LayerKind
from nas_edge.memory.overlap import input_lead
from nas_edge.memory.packing import aligned


class End(Enum):
    """An end of the arena."""

    BOTTOM = "bottom"
    TOP = "top"

    @property
    def other(self) -> End:
        """The one across."""
        return End.TOP if self is End.BOTTOM else End.BOTTOM


@dataclass(frozen=True, slots=True)
class Place:
    """Where something begins: so many bytes from the bottom, or before the arena's end."""

    end: End
    bytes: int

    def address(self, arena_bytes: int) -> int:
        """In bytes from the arena's begin."""
        return self.bytes if self.end is End.BOTTOM else arena_bytes - self.bytes


@dataclass(frozen=True, slots=True)
class Step:
    """One layer of a unit.

    Attributes:
        output: its place; None for the caller's memory.
        scratch: its place; of no meaning where the layer needs none.
        live_bytes: what the arena must hold while the layer runs.

    """

    output: Place | None
    scratch: Place
    live_bytes: int


@dataclass(frozen=True, slots=True)
class UnitPlan:
    """A unit in its arena.

    Attributes:
        input: place of what it reads.
        steps: of its layers.
        leaves: the end that its output lies at.

    """

    input: Place
    steps: tuple[Step, ...]
    leaves: End

    @property
    def arena_bytes(self) -> int:
        """What the unit needs."""
        return max(step.live_bytes for step in self.steps)


def at(end: End, size: int) -> Place:
    """The place of so many bytes at an end."""
    return Place(end, 0 if end is End.BOTTOM else size)


def units_of(layers: Sequence[Layer]) -> list[tuple[Layer, ...]] | None:
    """A network's units in their order; None where it is no chain of them."""
    units: list[tuple[Layer, ...]] = []
    start = 0
    while start < len(layers):
        length = _unit_length(layers, start)
        if length == 0:
            return None
        units.append(tuple(layers[start : start + length]))
        start += length
    return units


def _unit_length(layers: Sequence[Layer], start: int) -> int:
    """Layers of the unit that begins here, 0 where none does."""
    source = start - 1

    def chained(length: int) -> bool:
        part = layers[start : start + length]
        return len(part) == length and all(one.inputs == (source + i,) for i, one in enumerate(part))

    kinds = [layer.kind for layer in layers[start : start + 4]]
    block = [LayerKind.DEPTHWISE, LayerKind.POINTWISE]
    for lead in (1, 0):
        length = lead + 2
        if kinds[lead:length] == block and (not lead or kinds[0] is LayerKind.POINTWISE) and chained(length):
            after = layers[start + length] if start + length < len(layers) else None
            summed = after is not None and set(after.inputs) == {source, source + length}
            found = length + 1 if summed and after is not None and after.kind is LayerKind.ADD else length
            used_later = any(source in one.inputs for one in layers[start + found :])
            return 0 if used_later or not _in_place(layers[start : start + found], bool(lead)) else found
    used_later = any(source in one.inputs for one in layers[start + 1 :])
    return 1 if chained(1) and layers[start].kind is not LayerKind.ADD and not used_later else 0


def _in_place(unit: Sequence[Layer], expands: bool) -> bool:
    """Whether an inverted residual's kernels can write where `plan_unit` has them write."""
    depthwise, project = unit[int(expands)], unit[int(expands) + 1]
    shortcut = unit[-1].kind is LayerKind.ADD
    smaller = depthwise.out_height <= depthwise.height and depthwise.out_width <= depthwise.width
    # An image may lie anywhere, in flash even: nothing is written over it.
    image = not expands and depthwise.inputs[0] == IMAGE
    return smaller and not image and (not shortcut or project.out_bytes <= project.in_bytes)


def plan_chain(units: Sequence[Sequence[Layer]]) -> tuple[UnitPlan, ...]:
    """Plans of consecutive units, an input first and the caller's output last: of all choices those that need least.

    A shortest path over the two ends, as long as the greatest need on the way; `population` does it for many networks.
    """
    best: dict[End, tuple[int, tuple[UnitPlan, ...]]] = {End.BOTTOM: (0, ())}
    for i, unit in enumerate(units):
        reached: dict[End, tuple[int, tuple[UnitPlan, ...]]] = {}
        for end, (most, before) in best.items():
            for plan in plan_unit(unit, end, from_image=i == 0, to_caller=i + 1 == len(units)):
                need = max(most, plan.arena_bytes)
                if plan.leaves not in reached or need < reached[plan.leaves][0]:
                    reached[plan.leaves] = (need, (*before, plan))
        best = reached
    return min(best.values(), key=lambda found: found[0])[1]


def plan_unit(unit: Sequence[Layer], end: End, *, from_image: bool, to_caller: bool) -> list[UnitPlan]:
    """Ways to place a unit of `units_of`.

    Args:
        unit: its layers.
        end: where its input lies; of no meaning for the image, which lies where it suits.
        from_image: it reads the network's input.
        to_caller: its output is the caller's.

    """
    if len(unit) == 1:
        return _single(unit[0], end, from_image, to_caller)
    if unit[-1].kind is LayerKind.ADD:
        return [_with_shortcut(unit, end)]
    return _without_shortcut(unit, end)


def _single(layer: Layer, end: End, from_image: bool, to_caller: bool) -> list[UnitPlan]:
    size, out, scratch = aligned(layer.in_bytes), aligned(layer.out_bytes), aligned(scratch_bytes(layer))
    if to_caller:
        beside = Place(End.BOTTOM, size if end is End.BOTTOM else 0)
        return [UnitPlan(at(end, size), (Step(None, beside, size + scratch),), end)]
    if from_image and layer.kind in (LayerKind.CONV, LayerKind.POINTWISE):
        lead = input_lead(layer)
        used = max(out, lead + size)
        step = Step(Place(End.BOTTOM, 0), Place(End.BOTTOM, used), used + scratch)
        return [UnitPlan(Place(End.BOTTOM, lead), (step,), End.BOTTOM)]
    ways = [UnitPlan(at(end, size), (_beside(layer, end),), end.other)]
    if layer.kind is LayerKind.POINTWISE and _ends_together(layer, end):
        ways.append(UnitPlan(at(end, size), (_over_the_end(layer),), end))
    return ways


def _ends_together(layer: Layer, end: End) -> bool:
    """Whether a layer's input may be the end of its output."""
    before = aligned(layer.out_bytes) - aligned(layer.in_bytes)
    return end is End.TOP and layer.out_bytes > layer.in_bytes and before >= input_lead(layer)


def _over_the_end(layer: Layer) -> Step:
    """A layer whose input at the top is the end of its output."""
    out = aligned(layer.out_bytes)
    return Step(at(End.TOP, out), Place(End.BOTTOM, 0), out + aligned(scratch_bytes(layer)))


def _without_shortcut(unit: Sequence[Layer], end: End) -> list[UnitPlan]:
    """[expand,] depthwise, project."""
    *first, depthwise, project = unit
    wide: list[tuple[tuple[Step, ...], End]] = [((), end)]  # how the wide tensor comes about, and where
    if first:
        wide = [((_beside(first[0], end),), end.other)]
        wide += [((_over_the_end(first[0]),), end)] if _ends_together(first[0], end) else []
    return [
        UnitPlan(at(end, aligned(unit[0].in_bytes)), (*before, _depthwise_in_place(depthwise, side), last), leaves)
        for before, side in wide
        for last, leaves in _projections(depthwise, project, side)
    ]


def _beside(layer: Layer, end: End) -> Step:
    """A layer from one end to the other."""
    size, out = aligned(layer.in_bytes), aligned(layer.out_bytes)
    bottom = Place(End.BOTTOM, size if end is End.BOTTOM else out)
    return Step(at(end.other, out), bottom, size + out + aligned(scratch_bytes(layer)))


def _depthwise_in_place(layer: Layer, side: End) -> Step:
    wide = aligned(layer.in_bytes)
    beside = Place(End.BOTTOM, wide if side is End.BOTTOM else 0)
    return Step(at(side, wide), beside, wide + aligned(scratch_bytes(layer)))


def _projections(depthwise: Layer, project: Layer, side: End) -> list[tuple[Step, End]]:
    """Ways to project what a depthwise layer left where the wide tensor began, and the ends that they leave it at."""
    wide, narrow = aligned(depthwise.in_bytes), aligned(depthwise.out_bytes)
    out, scratch = aligned(project.out_bytes), aligned(scratch_bytes(project))
    over = project.out_bytes <= project.in_bytes
    ways = []
    if side is End.BOTTOM:
        ways.append((Step(at(End.TOP, out), Place(End.BOTTOM, narrow), narrow + out + scratch), End.TOP))
        if over:
            ways.append((Step(at(End.BOTTOM, out), Place(End.BOTTOM, narrow), narrow + scratch), End.BOTTOM))
        return ways
    if narrow + scratch + out <= wide:  # all within what the wide tensor had
        ways.append((Step(at(End.TOP, out), Place(End.TOP, wide - narrow), wide), End.TOP))
    elif narrow + out <= wide or (over and out == wide):
        ways.append((Step(at(End.TOP, out), Place(End.BOTTOM, 0), wide + scratch), End.TOP))
    ways.append((Step(at(End.BOTTOM, out), Place(End.BOTTOM, out), wide + out + scratch), End.BOTTOM))
    return ways


def _with_shortcut(unit: Sequence[Layer], end: End) -> UnitPlan:
    """[expand,] depthwise, project in place, sum into the input, which stays where it is."""
    depthwise, project = unit[-3:-1]
    size = aligned(unit[0].in_bytes)
    wide = aligned(max(depthwise.in_bytes, depthwise.out_bytes))
    beside = Place(End.BOTTOM, size if end is End.BOTTOM else wide)
    place = at(end.other, wide)
    steps = [Step(place, beside, size + wide + aligned(scratch_bytes(layer))) for layer in unit[:-1]]
    steps.append(Step(at(end, size), beside, size + aligned(project.out_bytes)))
    return UnitPlan(at(end, size), tuple(steps), end)
