"""Quantiles over visits and their limits."""

import math

import numpy as np
import pytest
from scipy import stats

from nas_edge.profiling.reference import ReferenceKernel, quiet_value
from nas_edge.profiling.statistics import quantile_ms, relative_half_width, student_t95, upper_limit_ms


@pytest.mark.parametrize("q", [0.5, 0.9])
def test_the_quantile_of_equal_visits_is_that_of_all_runs(q):
    visits = np.random.default_rng(0).lognormal(size=(7, 11))
    wanted = np.quantile(visits, q, method="averaged_inverted_cdf")
    assert quantile_ms(visits.tolist(), q) == pytest.approx(wanted)


def test_the_median_of_an_even_number_of_runs_is_in_the_middle():
    assert quantile_ms([[1.0, 2.0], [3.0, 10.0]], 0.5) == 2.5


def test_visits_weigh_the_same_however_many_runs_they_have():
    assert quantile_ms([[1.0] * 100, [5.0], [5.0]], 0.5) == 5.0


def test_the_upper_limit_covers_the_truth_about_as_often_as_it_says():
    """Visits scatter by 2 %, runs within a visit by 1 %: the limit is about the median over visits to come."""
    rng = np.random.default_rng(1)
    for visits, least in ((4, 0.85), (12, 0.9), (24, 0.91)):
        covered = 0
        for seed in range(200):
            means = 1 + 0.02 * rng.standard_normal(visits)
            runs = means[:, None] * (1 + 0.01 * rng.standard_normal((visits, 10)))
            covered += upper_limit_ms(runs.tolist(), 0.5, seed) >= 1.0
        assert least <= covered / 200 <= 0.995, visits


def test_the_upper_limit_of_one_visit_is_infinite_and_of_equal_visits_the_estimate():
    assert upper_limit_ms([[1.0, 2.0]], 0.5) == math.inf
    assert upper_limit_ms([[1.0], [1.0], [1.0]], 0.5) == 1.0


def test_student_quantiles_are_those_of_scipy():
    for degrees in (1, 2, 3, 4, 5, 7, 11, 30, 100):
        assert student_t95(degrees) == pytest.approx(stats.t.ppf(0.95, degrees), rel=4e-3)


def test_the_half_width_shrinks_with_visits_and_needs_three():
    assert relative_half_width([1.0, 1.0]) == math.inf
    assert relative_half_width([1.0] * 5) == 0.0
    rng = np.random.default_rng(0)
    few, many = (
        np.mean([relative_half_width(list(1 + 0.01 * rng.standard_normal(n))) for _ in range(50)]) for n in (5, 50)
    )
    assert many < 0.3 * few < 0.01


def test_the_quiet_value_is_low_but_not_the_least():
    readings = [1.0] * 30 + [1.5] * 60 + [0.5] * 5
    assert quiet_value(readings) == 1.0


def test_the_reference_kernel_reads_a_fraction_of_a_millisecond():
    kernel = ReferenceKernel()
    assert 0.005 < np.median([kernel() for _ in range(10)]) < 20
