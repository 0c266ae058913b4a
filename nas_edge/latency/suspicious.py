"""Rows that give cause for doubt: copied from another table, timed unlike the rest, slower with a smaller kernel."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from nas_edge.latency.table import BlockEntry, LatencyTable, canonical
from nas_edge.origin import OriginKind
from nas_edge.spaces import BlockSpec, Kind

UNIT_FACTOR = 200.0
"""Nothing but another unit is so far from its like."""

_DIGITS = 5  # fewer of them can be equal by chance
_FASTER = 0.05
_COMMON_SHARE = 0.8


@dataclass(frozen=True)
class Contaminated:
    """A row that does not seem to be this table's own.

    Attributes:
        block: of the row; None where only the import still knew its runs.
        text: the block in words.
        why: what gave it away.

    """

    block: BlockSpec | None
    text: str
    why: str

    def describe(self) -> str:
        """One line."""
        return f"{self.text}: {self.why}"


@dataclass(frozen=True)
class Monotony:
    """Groups of blocks that differ in one number alone, which should take the longer the greater it is.

    Attributes:
        groups: with two blocks or more.
        falling: groups in which a greater one is clearly faster than the next smaller one.

    """

    groups: int
    falling: int


def describe_block(block: BlockSpec) -> str:
    """One block in a few words: "inverted_residual 56x56x24 -> 40, k5 s2 mid 144"."""
    text = f"{block.kind} {block.height}x{block.width}x{block.in_channels} -> {block.out_channels}"
    if block.kind is Kind.INVERTED_RESIDUAL:
        text += f", k{block.kernel} s{block.stride} mid {block.mid_channels}{' se' if block.se else ''}"
    return text


def contaminated(table: LatencyTable, known: Mapping[str, LatencyTable] | None = None) -> tuple[Contaminated, ...]:
    """Rows equal to another table's to every digit, and rows timed another number of times than nearly all others.

    Args:
        table: to be looked at.
        known: other tables by name; the table itself must not be among them.

    """
    found: dict[str, Contaminated] = {}
    for block, name in _copied(table, known or {}):
        found.setdefault(describe_block(block), Contaminated(block, describe_block(block), f"every digit is {name}'s"))
    for block, why in _unlike_counts(table):
        found.setdefault(describe_block(block), Contaminated(block, describe_block(block), why))
    noted = table.header.protocol.get("unlike_counts", {})  # an import of several files adds their runs up
    for text, why in noted.items() if isinstance(noted, Mapping) else ():
        found.setdefault(str(text), Contaminated(None, str(text), str(why)))
    return tuple(found.values())


def equal_figures(table: LatencyTable) -> tuple[tuple[BlockSpec, ...], ...]:
    """Three blocks or more of one table with the same digits: copied rows, or a clock too coarse to tell them apart."""
    groups: dict[str, list[BlockSpec]] = {}
    for block, entry in table.blocks.items():
        if (digits := _digits(entry)) is not None:
            groups.setdefault(digits, []).append(block)
    return tuple(tuple(group) for group in groups.values() if len(group) >= 3)


def monotony(table: LatencyTable, column: str = "kernel", tolerance: float = _FASTER) -> Monotony:
    """Whether inverted residuals take the longer the greater `column` ("kernel" or "mid_channels").

    Args:
        table: to be looked at.
        column: field of the block that the blocks of a group differ in.
        tolerance: how much faster than the next smaller one a block may be, as a share.

    """
    groups: dict[BlockSpec, list[tuple[int, float]]] = {}
    for block, entry in table.blocks.items():
        if block.kind is Kind.INVERTED_RESIDUAL:
            like = replace(block, kernel=1) if column == "kernel" else replace(block, mid_channels=1, groups=1)
            groups.setdefault(like, []).append((getattr(block, column), entry.ms))
    several = [[ms for _, ms in sorted(group)] for group in groups.values() if len(group) > 1]
    return Monotony(len(several), sum(_falls(group, tolerance) for group in several))


def _falls(times: Sequence[float], tolerance: float) -> bool:
    return any(after < before * (1 - tolerance) for before, after in pairwise(times))


def _copied(table: LatencyTable, known: Mapping[str, LatencyTable]) -> Iterator[tuple[BlockSpec, str]]:
    for name, other in known.items():
        theirs = {canonical(block): _digits(entry) for block, entry in other.blocks.items()}
        for block, entry in table.blocks.items():
            digits = _digits(entry)
            if digits is not None and theirs.get(canonical(block)) == digits:
                yield block, name


def _digits(entry: BlockEntry) -> str | None:
    """The figure as a table stores it; None where it has too few digits to say anything, or was made by a model."""
    if entry.origin is OriginKind.MODELLED:
        return None
    text = f"{entry.ms:.6g}"
    return text if len(text.replace(".", "").strip("0")) >= _DIGITS else None


def common_count(counts: Sequence[int]) -> int:
    """The number of runs that at least four in five entries have exactly; 0 where there is none."""
    known = [count for count in counts if count]
    if not known:
        return 0
    value, times = Counter(known).most_common(1)[0]
    return value if times >= _COMMON_SHARE * len(counts) else 0


def unlike_count(count: int, common: int) -> bool:
    """Whether a number of runs is far from the common one; an unknown one (0) is not."""
    return count > 0 and abs(count - common) > 0.1 * common


def _unlike_counts(table: LatencyTable) -> Iterator[tuple[BlockSpec, str]]:
    """Published rows only: our own measuring times slow blocks less often, and says nothing by it."""
    rows = {block: e.count for block, e in table.blocks.items() if e.origin is OriginKind.PUBLISHED}
    common = common_count(list(rows.values()))
    for block, count in rows.items() if common else ():
        if unlike_count(count, common):
            yield block, f"{count} runs where nearly all others have {common}"
