"""Non-dominated sorting and crowding, held to brute force and to pymoo's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas_edge.search.nondominated import crowding, dominates, fronts

# Few distinct values, so that points share coordinates and whole positions.
points_of = st.integers(1, 4).flatmap(
    lambda m: st.lists(st.tuples(*[st.integers(0, 6)] * m), min_size=1, max_size=40).map(
        lambda rows: np.array(rows, np.float64)
    )
)


def peeled_one_by_one(points, violation):
    def better(i, j):
        if violation[i] > 0 or violation[j] > 0:
            return violation[i] < violation[j]
        return bool((points[i] >= points[j]).all() and (points[i] > points[j]).any())

    rank, left, front = np.full(len(points), -1), set(range(len(points))), 0
    while left:
        here = {j for j in left if not any(better(i, j) for i in left)}
        rank[list(here)] = front
        left, front = left - here, front + 1
    return rank


@given(points_of)
def test_fronts_equal_brute_force(points):
    assert np.array_equal(fronts(points), peeled_one_by_one(points, np.zeros(len(points))))


@given(points_of, st.randoms(use_true_random=False))
def test_constrained_fronts_equal_brute_force(points, random):
    violation = np.array([random.choice([0.0, 0.0, 0.5, 1.0]) for _ in points])
    assert np.array_equal(fronts(points, violation), peeled_one_by_one(points, violation))


@given(points_of, st.integers(0, 40))
def test_fronts_after_the_one_that_completes_enough_count_as_one(points, enough):
    all_of_them, some = fronts(points), fronts(points, enough=enough)
    complete = some < some.max()
    assert np.array_equal(some[complete], all_of_them[complete])
    assert (all_of_them[~complete] >= some.max()).all()
    if len(set(some)) < len(set(all_of_them)):
        assert complete.sum() >= enough


@pytest.mark.parametrize("objectives", [1, 2, 3, 5])
def test_no_points_have_no_fronts(objectives):
    nothing = np.zeros((0, objectives))
    assert fronts(nothing).shape == crowding(nothing, fronts(nothing)).shape == (0,)


@pytest.mark.parametrize("objectives", [2, 3, 4])
def test_fronts_are_those_of_pymoo(objectives):
    sorting = pytest.importorskip("pymoo.util.nds.non_dominated_sorting")
    points = np.random.default_rng(objectives).normal(size=(300, objectives))
    _, rank = sorting.NonDominatedSorting().do(-points, return_rank=True)
    assert np.array_equal(fronts(points), rank)


@pytest.mark.parametrize("objectives", [2, 3])
def test_crowding_is_that_of_pymoo_but_for_its_mean_over_objectives(objectives):
    metrics = pytest.importorskip("pymoo.operators.survival.rank_and_crowding.metrics")
    points = np.random.default_rng(objectives).normal(size=(60, objectives))
    theirs = metrics.calc_crowding_distance(-points) * objectives
    assert crowding(points, np.zeros(60, np.int64)) == pytest.approx(theirs)


def test_crowding_counts_within_each_front_alone():
    line = np.array([[0.0, 4.0], [1.0, 3.0], [3.0, 1.0], [4.0, 0.0]])
    behind = line - 10
    points = np.concatenate([line, behind])
    front = np.repeat([0, 1], 4)
    expected = [np.inf, 3 / 4 + 3 / 4, 3 / 4 + 3 / 4, np.inf]
    assert crowding(points, front).tolist() == expected * 2
    assert crowding(points[::2], front[::2]).tolist() == [np.inf] * 4


def test_points_that_are_all_equal_are_crowded_without_a_warning():
    with np.errstate(all="raise"):
        distance = crowding(np.ones((4, 2)), np.zeros(4, np.int64))
    assert sorted(distance)[:2] == [0, 0]


def test_equal_points_do_not_dominate_each_other():
    points = np.array([[1.0, 2.0], [1.0, 2.0], [1.0, 1.0]])
    assert dominates(points, points).tolist() == [[False, False, True], [False, False, True], [False] * 3]
