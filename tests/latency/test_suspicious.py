"""Rows that give cause for doubt are found; rows that only look alike are not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nas_edge.latency import BlockEntry, LatencyTable, TableHeader
from nas_edge.latency.check import check_table
from nas_edge.latency.suspicious import common_count, contaminated, describe_block, equal_figures, monotony
from nas_edge.origin import OriginKind
from nas_edge.spaces import BlockSpec, Kind, Padding

BLOCK = BlockSpec(Kind.INVERTED_RESIDUAL, 28, 28, 40, 120, 40, 3, 1, 120, residual=True)


def blocks(count: int) -> list[BlockSpec]:
    return [replace(BLOCK, out_channels=8 * n, residual=False) for n in range(1, count + 1)]


def table(figures: dict[BlockSpec, BlockEntry], target: str = "board") -> LatencyTable:
    return LatencyTable(TableHeader(target, "toy"), figures)


def entry(ms: float, count: int = 0, origin: OriginKind = OriginKind.PUBLISHED) -> BlockEntry:
    return BlockEntry(ms, count=count, origin=origin)


def test_a_figure_with_every_digit_of_another_table_s_was_copied_under_either_name() -> None:
    other = table({replace(BLOCK, padding=Padding.SAME): entry(1.23456789)}, "other")
    (row,) = contaminated(table({BLOCK: entry(1.23457)}), {"other": other})
    assert row.describe() == f"{describe_block(BLOCK)}: every digit is other's"


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (entry(1.23457), entry(1.23458)),
        (entry(0.25), entry(0.25)),  # too few digits to say anything
        (entry(1.23457, origin=OriginKind.MODELLED), entry(1.23457)),  # carried over from there, and said
    ],
)
def test_figures_that_may_be_equal_were_not(ours: BlockEntry, theirs: BlockEntry) -> None:
    assert contaminated(table({BLOCK: ours}), {"other": table({BLOCK: theirs})}) == ()


def test_rows_timed_another_number_of_times_than_nearly_all_others_are_found() -> None:
    figures = {block: entry(1.0 + n / 7, count=799) for n, block in enumerate(blocks(20))}
    odd = blocks(20)[3]
    (row,) = contaminated(table(figures | {odd: entry(1.1, count=500)}))
    assert row.block == odd
    assert row.why == "500 runs where nearly all others have 799"
    measured = {b: replace(e, origin=OriginKind.MEASURED) for b, e in (figures | {odd: entry(1.1, 500)}).items()}
    assert contaminated(table(measured)) == ()  # our own protocol adapts the number to the block
    assert common_count([5, 5, 5, 5, 7]) == 5
    assert common_count([5, 5, 5, 7, 7]) == 0
    assert common_count([0, 0]) == 0


def test_more_than_a_hundredth_of_foreign_rows_makes_a_table_unfit() -> None:
    figures = {block: entry(1.0 + n / 7.3) for n, block in enumerate(blocks(150))}
    for copied, fit in ((1, True), (2, False)):
        other = table(dict(list(figures.items())[1 : 1 + copied]), "other")
        report = check_table(table(figures), known={"other": other})
        assert (len(report.foreign), report.ok) == (copied, fit)
    assert "2 entries seem to be another table's; the first:" in report.problems[0]


def test_equal_figures_of_three_blocks_are_odd_and_of_two_are_chance() -> None:
    names = blocks(5)
    figures = dict(zip(names, map(entry, (1.23457, 1.23457, 1.23457, 2.34568, 2.34568)), strict=True))
    assert equal_figures(table(figures)) == (tuple(names[:3]),)


def test_a_group_that_is_faster_with_more_work_is_counted() -> None:
    def of(times: dict[int, float], column: str) -> LatencyTable:
        return table({replace(BLOCK, **{column: value}): entry(ms) for value, ms in times.items()})  # type: ignore[arg-type]

    rising, falling, nearly = {3: 1.0, 5: 1.2, 7: 1.5}, {3: 1.0, 5: 1.4, 7: 1.2}, {3: 1.0, 5: 0.97, 7: 1.5}
    assert [monotony(of(times, "kernel")).falling for times in (rising, falling, nearly)] == [0, 1, 0]
    assert monotony(of(nearly, "kernel"), tolerance=0.0).falling == 1
    widths = {80: 1.0, 120: 0.5}
    found = table({replace(BLOCK, mid_channels=m, groups=m): entry(ms) for m, ms in widths.items()})
    assert (monotony(found, "mid_channels").groups, monotony(found, "mid_channels").falling) == (1, 1)
    assert monotony(found).groups == 0
