"""The gate for tables: coverage, hold-out error, odd and contradicting rows."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from nas_edge.latency import BlockEntry, LatencyTable
from nas_edge.latency.check import check_table, holdout_error, spearman
from nas_edge.latency.table import NOT_STATED, Source
from nas_edge.origin import Origin, OriginKind
from nas_edge.spaces import Kind, Padding, SearchSpace

from .toy import make_table

LITE0 = SearchSpace.named("lite0")


def test_a_good_table_passes_with_its_error() -> None:
    report = check_table(make_table(LITE0, calibration=12, holdout=10), LITE0, 10)
    assert report.ok
    assert report.coverage == 1
    assert report.holdout is not None
    assert report.holdout.mape_percent < 3
    assert report.holdout.spearman > 0.98
    assert report.odd == ()
    assert report.to_json()["holdout"]["networks"] == 10


def test_hold_out_networks_never_touch_the_fit() -> None:
    table = make_table(LITE0, calibration=12, holdout=10)
    wild = [replace(n, ms=3 * n.ms) if n.role == "holdout" else n for n in table.networks]
    report = check_table(replace(table, networks=tuple(wild)), LITE0, 10)
    assert not report.ok
    assert report.holdout is not None
    assert report.holdout.mape_percent == pytest.approx(66.7, abs=2)


def test_a_table_of_another_space_lacks_its_blocks() -> None:
    report = check_table(make_table(SearchSpace.named("mbv3-32"), calibration=0), LITE0, 10)
    assert not report.ok
    assert report.coverage < 0.1
    assert report.holdout is None
    assert holdout_error(make_table(LITE0, calibration=0), LITE0, 10) is None


def test_an_odd_entry_is_named() -> None:
    table = make_table(LITE0, calibration=0)
    block = next(b for b in table.blocks if b.kind is Kind.INVERTED_RESIDUAL and b.kernel == 5)
    blocks = {**table.blocks, block: BlockEntry(20 * table.blocks[block].ms)}
    odd = check_table(replace(table, blocks=blocks)).odd
    assert len(odd) == 1
    assert "k5" in odd[0]


def test_entries_in_another_unit_are_a_problem() -> None:
    table = make_table(LITE0, calibration=0)
    some = list(table.blocks)[40:50]
    blocks = {**table.blocks, **{block: BlockEntry(1000 * table.blocks[block].ms) for block in some}}
    (problem,) = check_table(replace(table, blocks=blocks)).problems
    assert "are units mixed" in problem


@pytest.mark.parametrize("sources", [(), (Source(NOT_STATED),)])
def test_published_figures_without_a_name_are_a_problem(sources: tuple[Source, ...]) -> None:
    table = make_table(LITE0, calibration=0)
    published = replace(table.header, origin=Origin(OriginKind.PUBLISHED, source="a file"), sources=sources)
    (problem,) = check_table(replace(table, header=published)).problems
    assert "whose figures" in problem
    named = replace(published, sources=(Source("somebody", licence="none stated"),))
    assert check_table(replace(table, header=named)).ok


def test_equal_blocks_that_differ_are_a_problem() -> None:
    table = make_table(LITE0, calibration=0)
    block = next(b for b in table.blocks if b.stride == 1 and b.kernel == 5)
    twin = {replace(block, padding=Padding.SYMMETRIC): BlockEntry(2 * table.blocks[block].ms)}
    problems = check_table(LatencyTable(table.header, {**table.blocks, **twin})).problems
    assert len(problems) == 1
    assert "twice" in problems[0]


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=3, max_size=20))
def test_spearman_is_as_somebody_else_computes_it(pairs: list[tuple[int, int]]) -> None:
    a, b = (np.array(values, float) for values in zip(*pairs, strict=True))
    if len(set(a)) < 2 or len(set(b)) < 2:
        assert math.isnan(spearman(a, b))
    else:
        assert spearman(a, b) == pytest.approx(spearmanr(a, b).statistic)
