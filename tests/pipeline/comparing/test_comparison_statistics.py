"""The statistics of comparisons, held to scipy's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas_edge.pipeline.comparing.statistics import holm, least_p, paired, signed_rank_p, spread

stats = pytest.importorskip("scipy.stats")


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-1, 1).filter(lambda x: abs(x) > 1e-6), min_size=1, max_size=25, unique_by=abs))
def test_without_ties_the_signed_rank_test_is_scipys_exact_one(differences):
    d = np.array(differences)
    assert signed_rank_p(d) == pytest.approx(stats.wilcoxon(d, method="exact").pvalue, rel=1e-9)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(-4, 4), min_size=1, max_size=10))
def test_with_ties_and_zeros_it_counts_all_signs(differences):
    d = np.array(differences, float)
    d = d[d != 0]
    if not len(d):
        assert signed_rank_p(np.array(differences, float)) == 1.0
        return
    ranks = stats.rankdata(np.abs(d))
    signs = np.array(np.meshgrid(*[[0, 1]] * len(d))).reshape(len(d), -1)
    sums, mine = ranks @ signs, ranks[d > 0].sum()
    expected = min(1.0, 2 * min((sums <= mine).mean(), (sums >= mine).mean()))
    assert signed_rank_p(np.array(differences, float)) == pytest.approx(expected, abs=1e-12)


def test_beyond_200_pairs_the_normal_approximation_is_close():
    rng = np.random.default_rng(0)
    for shift in (0.0, 0.05, 0.15):
        d = rng.normal(shift, 1, 400)
        assert signed_rank_p(d) == pytest.approx(stats.wilcoxon(d, method="approx").pvalue, rel=0.02)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holms_correction_is_never_below_p_nor_above_bonferroni(p_values):
    adjusted = holm(p_values)
    for p, corrected in zip(p_values, adjusted, strict=True):
        assert p <= corrected <= min(1.0, len(p_values) * p) + 1e-12
    order = np.argsort(p_values)
    assert (np.diff(np.array(adjusted)[order]) >= 0).all()


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []


def test_ten_seeds_that_all_win_have_the_least_p_there_is():
    assert signed_rank_p(np.arange(1.0, 11.0)) == pytest.approx(least_p(10)) == pytest.approx(2 / 1024)


def test_runs_that_found_nothing_count_as_worse_than_any_that_did():
    found, nothing = np.array([0.5, 0.6, 0.7]), np.array([0.4, -np.inf, -np.inf])
    result = paired(found, nothing)
    assert (result.wins, result.ties, result.losses) == (3, 0, 0)
    assert result.difference is None
    both = paired(nothing, nothing)
    assert (both.wins, both.ties, both.p) == (0, 3, 1.0)
    assert spread(nothing).median is None
    assert spread(np.array([-np.inf, 0.1, 0.2, 0.3, 0.4])).median == 0.2


def test_quartiles_are_numpys():
    values = np.random.default_rng(1).random(10)
    found = spread(values)
    assert (found.low, found.median, found.high) == tuple(np.quantile(values, [0.25, 0.5, 0.75]))
