"""Two tables side by side, two sittings as one."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas_edge.errors import TableError
from nas_edge.latency import LatencyTable, Role
from nas_edge.latency.diff import diff_tables
from nas_edge.latency.merge import merge_tables
from nas_edge.latency.table import canonical
from nas_edge.origin import Origin, OriginKind
from nas_edge.spaces import SearchSpace

from .toy import make_table


@pytest.fixture(scope="module")
def table() -> LatencyTable:
    found = make_table(SearchSpace.named("mcu").restrict([32], w=[1.0]), 10, calibration=4, holdout=2)
    origin = Origin(OriginKind.MEASURED, "board one", "2026-01-01")
    return replace(found, header=replace(found.header, origin=origin))


def slower(table: LatencyTable, factor: float, date: str = "2026-01-02") -> LatencyTable:
    """The same figures in a sitting whose clock was lower."""
    header = replace(table.header, origin=replace(table.header.origin, date=date))
    blocks = {block: replace(entry, ms=entry.ms * factor) for block, entry in table.blocks.items()}
    networks = tuple(replace(n, ms=n.ms * factor) for n in table.networks)
    return replace(table, header=header, blocks=blocks, networks=networks)


# Diff ----------------------------------------------------------------------------------------------------------


def test_a_table_is_the_same_as_itself(table: LatencyTable) -> None:
    found = diff_tables(table, table)
    assert found.same
    assert found.blocks is not None
    assert (found.blocks.shared, found.blocks.median) == (len(table.blocks), 1.0)
    assert found.networks is not None
    assert found.networks.shared == 6


def test_ratios_blocks_of_one_alone_and_headers_are_told(table: LatencyTable) -> None:
    other = slower(table, 1.5)
    dropped, kept = list(other.blocks)[:2], dict(islice(other.blocks.items(), 2, None))
    odd = next(iter(kept))
    kept[odd] = replace(kept[odd], ms=kept[odd].ms * 4)
    found = diff_tables(table, replace(other, blocks=kept, networks=other.networks[1:]))
    assert found.only_a == tuple(map(canonical, dropped))
    assert found.only_b == ()
    assert found.blocks is not None
    assert found.blocks.median == pytest.approx(1.5)
    assert found.blocks.worst[0][2] / found.blocks.worst[0][1] == pytest.approx(6.0)
    assert found.header == {"origin.date": ("2026-01-01", "2026-01-02")}
    assert (found.networks_only_a, found.networks_only_b) == (1, 0)
    data = found.to_json()
    assert data["blocks"]["ratio_median"] == 1.5
    assert not data["same"]


# Merge ---------------------------------------------------------------------------------------------------------


def test_a_sitting_at_a_lower_clock_changes_nothing_once_it_is_corrected(table: LatencyTable) -> None:
    merged = merge_tables(table, slower(table, 1.07))
    assert merged.drift == pytest.approx(1.07)
    assert merged.conflicts == ()
    assert merged.shared == len(table.blocks)
    for block, entry in table.blocks.items():
        assert merged.table.blocks[block].ms == pytest.approx(entry.ms)
        assert merged.table.blocks[block].count == 2 * entry.count
    assert [n.ms for n in merged.table.networks] == pytest.approx([n.ms for n in table.networks])
    assert merged.table.header.origin.date == "2026-01-02"
    assert "took 7.0 % more time" in merged.table.header.notes[-1]


@settings(deadline=None, max_examples=40)
@given(st.floats(0.5, 2.0), st.integers(1, 400), st.integers(1, 400), st.integers(0, 2**31 - 1))
def test_figures_are_weighed_by_their_runs(drift: float, first: int, second: int, seed: int) -> None:
    """Against a sum over every run, as if both sittings had been one."""
    rng = np.random.default_rng(seed)
    base = make_table(SearchSpace.named("mcu").restrict([32], w=[0.5]), 10, calibration=0)
    noise = rng.uniform(0.99, 1.01, len(base.blocks))
    a = replace(base, blocks={b: replace(e, count=first) for b, e in base.blocks.items()})
    b = replace(base, blocks={
        block: replace(e, ms=e.ms * drift * n, count=second)
        for (block, e), n in zip(base.blocks.items(), noise, strict=True)
    })  # fmt: skip
    merged = merge_tables(a, b)
    assert merged.drift == pytest.approx(drift, rel=0.011)
    for (block, entry), n in zip(base.blocks.items(), noise, strict=True):
        runs = [entry.ms] * first + [entry.ms * drift * n / merged.drift] * second
        assert merged.table.blocks[block].ms == pytest.approx(float(np.mean(runs)))


def test_what_one_sitting_lacks_the_other_gives_at_the_first_one_s_speed(table: LatencyTable) -> None:
    blocks = list(table.blocks)
    first = replace(table, blocks={b: table.blocks[b] for b in blocks[:-3]})
    second = slower(replace(table, blocks={b: table.blocks[b] for b in blocks[3:]}), 0.9)
    merged = merge_tables(first, second).table
    assert set(merged.blocks) == set(blocks)
    for block in blocks:
        assert merged.blocks[block].ms == pytest.approx(table.blocks[block].ms)


def test_blocks_that_still_differ_are_listed(table: LatencyTable) -> None:
    other = slower(table, 1.05)
    odd = list(table.blocks)[4]
    wild = replace(other, blocks=other.blocks | {odd: replace(other.blocks[odd], ms=other.blocks[odd].ms * 1.3)})
    merged = merge_tables(table, wild, conflict=0.1)
    ((block, first, second),) = merged.conflicts
    assert block == odd
    assert second / first == pytest.approx(1.3)
    assert merge_tables(table, wild, conflict=0.4).conflicts == ()


def test_networks_keep_their_roles_and_a_held_out_one_stays_so(table: LatencyTable) -> None:
    calibration = next(n for n in table.networks if n.role is Role.CALIBRATION)
    holdout = next(n for n in table.networks if n.role is Role.HOLDOUT)
    new = replace(holdout, name=calibration.name, arch={**holdout.arch, "r": 48}, role=Role.CALIBRATION)
    held_out = replace(calibration, name="renamed", role=Role.HOLDOUT)
    second = replace(table, networks=(held_out, replace(holdout, name="x"), new))
    merged = {n.name: n for n in merge_tables(table, second).table.networks}
    assert merged[calibration.name].role is Role.HOLDOUT
    assert merged[holdout.name].role is Role.HOLDOUT
    assert merged[f"{calibration.name}-2"].role is Role.CALIBRATION
    assert len(merged) == len(table.networks) + 1


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({"runtime": "other"}, "runtime is 'toy' and 'other'"),
        ({"threads": 2}, "threads is 1 and 2"),
        ({"regime": "cold"}, "regime is 'hot' and 'cold'"),
        ({"device": {"cpu": "another"}}, "device.cpu is None and 'another'"),
        ({"origin": Origin(OriginKind.MEASURED, "board two", "2026-01-02")}, "origin.machine is 'board one' and"),
    ],
)
def test_tables_of_other_conditions_are_refused_with_what_differs(
    table: LatencyTable, header: dict[str, object], message: str
) -> None:
    other = replace(table, header=replace(table.header, **header))  # type: ignore[arg-type]
    with pytest.raises(TableError, match=message):
        merge_tables(table, other)


def test_sittings_that_share_too_little_are_refused(table: LatencyTable) -> None:
    few = replace(table, blocks=dict(islice(table.blocks.items(), 4)))
    with pytest.raises(TableError, match="share 4 blocks, of which 5 are needed"):
        merge_tables(table, few)
