"""Packing: addresses for buffers that live at different times, so that the highest is as low as can be.

The problem is known as dynamic storage allocation and is NP-hard (Garey and Johnson 1979, SR2). No packing can be
smaller than the most that lives at once; networks that are chains reach that bound (`_from_both_ends`), and small
problems are solved exactly by branch and bound over placements in the order of addresses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

ALIGNMENT = 4
"""Bytes: what 32-bit loads and stores want."""

_CHAIN_NODES = 5_000
_EXACT_NODES = 30_000


@dataclass(frozen=True, slots=True)
class Buffer:
    """Some bytes that are needed from step `first` to step `last`, both included."""

    size: int
    first: int
    last: int

    def __post_init__(self) -> None:
        if self.size < 0 or self.first > self.last:
            raise ValueError(f"a buffer has a size of at least 0 and ends no sooner than it begins: {self}")

    def meets(self, other: Buffer) -> bool:
        """Whether both live at some step."""
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True, slots=True)
class Packing:
    """Where each buffer lies.

    Attributes:
        offsets: in bytes, in the order of the buffers.
        size: end of the highest one.
        bound: no packing can be smaller: the most that lives at once, or what exhaustive search has proven.

    """

    offsets: tuple[int, ...]
    size: int
    bound: int

    @property
    def optimal(self) -> bool:
        """Whether nothing smaller is possible."""
        return self.size == self.bound


def aligned(size: int, alignment: int = ALIGNMENT) -> int:
    """The next multiple of the alignment."""
    return -(-size // alignment) * alignment


def lower_bound(buffers: Sequence[Buffer], alignment: int = ALIGNMENT) -> int:
    """The most bytes that live at any one step, each buffer rounded up to the alignment."""
    changes: dict[int, int] = {}
    for buffer in buffers:
        size = aligned(buffer.size, alignment)
        changes[buffer.first] = changes.get(buffer.first, 0) + size
        changes[buffer.last + 1] = changes.get(buffer.last + 1, 0) - size
    live = most = 0
    for step in sorted(changes):
        live += changes[step]
        most = max(most, live)
    return most


def pack(buffers: Sequence[Buffer], alignment: int = ALIGNMENT, nodes: int = _EXACT_NODES) -> Packing:
    """Addresses for buffers, multiples of the alignment.

    Args:
        buffers: any, in any order.
        alignment: of every address, in bytes.
        nodes: placements that the exact search may try; the best known packing is given where they do not suffice.

    """
    rounded = [Buffer(aligned(b.size, alignment), b.first, b.last) for b in buffers]
    bound = lower_bound(rounded, 1)
    offsets = _from_both_ends(rounded, bound)
    if offsets is not None:
        return Packing(offsets, bound, bound)
    best = min((_first_fit(rounded, order) for order in _orders(rounded)), key=lambda found: _top(rounded, found))
    best, proven = _Exact(rounded, bound, nodes).improve(best)
    top = _top(rounded, best)
    return Packing(best, top, top if proven else bound)


def _top(buffers: Sequence[Buffer], offsets: Sequence[int]) -> int:
    return max((o + b.size for o, b in zip(offsets, buffers, strict=True)), default=0)


def _gaps(
    buffer: Buffer, buffers: Sequence[Buffer], offsets: Sequence[int | None], top: int
) -> Iterator[tuple[int, int]]:
    """Free ranges (start, end) below `top`, lowest first, while a buffer lives beside those that have an offset."""
    taken = sorted((o, o + b.size) for o, b in zip(offsets, buffers, strict=True) if o is not None and b.meets(buffer))
    start = 0
    for low, high in taken:
        if low > start:
            yield start, low
        start = max(start, high)
    if top > start:
        yield start, top


def _from_both_ends(buffers: Sequence[Buffer], height: int) -> tuple[int, ...] | None:
    """A packing no higher than `height`, each buffer in its turn at the lowest or at the highest free place.

    In a chain of layers an input lies at one end and its output at the other, so the choice seldom has to be taken
    back. None where there is no such packing, or where it was not found soon.
    """
    order = sorted(range(len(buffers)), key=lambda i: (buffers[i].first, -buffers[i].last, -buffers[i].size))
    offsets: list[int | None] = [None] * len(buffers)
    choices: list[Iterator[int]] = []
    tried = 0

    def places(i: int) -> Iterator[int]:
        size = buffers[i].size
        room = [(low, high) for low, high in _gaps(buffers[i], buffers, offsets, height) if high - low >= size]
        if size == 0:
            yield 0
        elif room:
            low, high = room[0][0], room[-1][1] - size
            yield low
            if high != low:
                yield high

    while len(choices) < len(order):
        choices.append(places(order[len(choices)]))
        while choices:
            place = next(choices[-1], None)
            i = order[len(choices) - 1]
            offsets[i] = place
            tried += 1
            if tried > _CHAIN_NODES:
                return None
            if place is not None:
                break
            choices.pop()
        else:
            return None
    return tuple(offset or 0 for offset in offsets)


def _orders(buffers: Sequence[Buffer]) -> Iterator[list[int]]:
    """Orders to place buffers in, greatest first in one sense or another."""
    keys: tuple[Callable[[Buffer], tuple[int, ...]], ...] = (
        lambda b: (-b.size, b.first),
        lambda b: (-b.size * (b.last - b.first + 1), b.first),
        lambda b: (b.first - b.last, -b.size),
        lambda b: (b.first, -b.size),
        lambda b: (-b.last, -b.size),
    )
    for key in keys:
        ranks = [key(buffer) for buffer in buffers]
        yield sorted(range(len(buffers)), key=ranks.__getitem__)


def _first_fit(buffers: Sequence[Buffer], order: Sequence[int]) -> tuple[int, ...]:
    """Each buffer at the lowest free place, in this order."""
    unbounded = sum(b.size for b in buffers) + 1
    offsets: list[int | None] = [None] * len(buffers)
    for i in order:
        gaps = _gaps(buffers[i], buffers, offsets, unbounded)
        offsets[i] = next(low for low, high in gaps if high - low >= buffers[i].size)
    return tuple(offset or 0 for offset in offsets)


class _Exact:
    """Branch and bound: buffers placed in the order of their addresses, each as low as those before it let it be.

    Every packing can be pushed down into one of these, so the best of them is the optimum.
    """

    def __init__(self, buffers: Sequence[Buffer], bound: int, nodes: int) -> None:
        self.buffers, self.bound, self.nodes = buffers, bound, nodes
        self.offsets: list[int | None] = [0 if b.size == 0 else None for b in buffers]
        self.best: tuple[int, ...] = ()
        self.top = 0

    def improve(self, known: tuple[int, ...]) -> tuple[tuple[int, ...], bool]:
        """The best packing found, and whether it is proven to be the best there is."""
        self.best, self.top = known, _top(self.buffers, known)
        if self.top > self.bound:
            self._search(0)
        return self.best, self.top == self.bound or self.nodes > 0

    def _search(self, floor: int) -> None:
        """Place the next buffer at `floor` or above."""
        left = [i for i, offset in enumerate(self.offsets) if offset is None]
        if not left:
            offsets = tuple(offset or 0 for offset in self.offsets)
            self.best, self.top = offsets, _top(self.buffers, offsets)
            return
        lowest = {i: max(floor, self._above(i)) for i in left}
        if any(lowest[i] + self.buffers[i].size >= self.top for i in left) or self._least(lowest) >= self.top:
            return
        for i in sorted(left, key=lambda i: (lowest[i], -self.buffers[i].size)):
            if self._above(i) < floor:
                continue  # it would fall below what was placed before it: another order has that packing
            if self.nodes <= 0 or self.top == self.bound:
                return
            self.nodes -= 1
            self.offsets[i] = lowest[i]
            self._search(lowest[i])
            self.offsets[i] = None

    def _above(self, i: int) -> int:
        """Lowest place above all that is placed and lives beside buffer i."""
        mine = self.buffers[i]
        return max(
            (o + b.size for o, b in zip(self.offsets, self.buffers, strict=True) if o is not None and b.meets(mine)),
            default=0,
        )

    def _least(self, lowest: dict[int, int]) -> int:
        """What the buffers that are left need at the least, all of one step above the lowest place of any of them."""
        most = 0
        for step in {self.buffers[i].first for i in lowest}:
            here = [i for i in lowest if self.buffers[i].first <= step <= self.buffers[i].last]
            most = max(most, min(lowest[i] for i in here) + sum(self.buffers[i].size for i in here))
        return most
