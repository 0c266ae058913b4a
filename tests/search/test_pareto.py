"""Fronts against brute force, and the knee."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from nas_edge.search.pareto import knee, non_dominated, pareto_front

small = st.integers(1, 4).flatmap(
    lambda m: arrays(np.float64, st.tuples(st.integers(1, 40), st.just(m)), elements=st.integers(0, 5).map(float))
)


def by_brute_force(gains):
    better = (gains[:, None] >= gains[None]).all(axis=2) & (gains[:, None] > gains[None]).any(axis=2)
    return np.unique(gains[~better.any(axis=0)], axis=0)


@given(small)
def test_the_front_is_what_nothing_dominates_each_point_once(gains):
    front = gains[non_dominated(gains)]
    assert len(np.unique(front, axis=0)) == len(front)
    assert np.array_equal(np.unique(front, axis=0), by_brute_force(gains))


@given(small)
def test_the_front_descends_in_the_first_objective(gains):
    assert (np.diff(gains[non_dominated(gains)][:, 0]) <= 0).all()


def test_blocks_of_many_points_are_held_against_each_other():
    gains = np.random.default_rng(0).normal(size=(10_000, 3))
    front = gains[non_dominated(gains)]
    sample = gains[:500]
    inside = (front[None] >= sample[:, None]).all(axis=2).any(axis=1)
    assert inside.all()
    assert len(by_brute_force(front)) == len(front)


def test_two_objectives_agree_with_the_sweep():
    gains = np.random.default_rng(1).normal(size=(300, 2))
    assert set(non_dominated(gains)) == set(pareto_front(gains[:, 0], -gains[:, 1]))


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ([[0, 1], [0.9, 0.9], [1, 0]], 1),
        ([[0, 10], [0.5, 5.1], [1, 0]], 1),
        ([[3.0, 3.0]], 0),
        ([[1, 2], [1, 2]], 0),
    ],
)
def test_the_knee_lies_farthest_beyond_the_line_between_the_ends(points, expected):
    assert knee(np.array(points, float)) == expected
