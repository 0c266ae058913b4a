"""Hypervolume, held to counting and to pymoo's."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas_edge.search.hypervolume import hypervolume

SIDE = 5


@given(st.integers(1, 4).flatmap(lambda m: st.lists(st.tuples(*[st.integers(-1, SIDE)] * m), max_size=12)))
def test_it_is_the_number_of_unit_cubes_below_some_point(rows):
    objectives = len(rows[0]) if rows else 2
    points = np.array(rows, np.float64).reshape(-1, objectives)
    cubes = np.array(list(itertools.product(range(SIDE), repeat=objectives)))
    covered = (cubes[:, None] < points[None]).all(axis=2).any(axis=1).sum()
    assert hypervolume(points, np.zeros(objectives)) == covered


@pytest.mark.parametrize("objectives", [2, 3, 4])
def test_it_is_that_of_pymoo(objectives):
    indicator = pytest.importorskip("pymoo.indicators.hv")
    points = np.random.default_rng(objectives).normal(size=(40, objectives))
    reference = np.full(objectives, -1.5)
    theirs = indicator.HV(ref_point=-reference)(-points)
    assert hypervolume(points, reference) == pytest.approx(theirs)


def test_a_reference_of_another_length_is_refused():
    with pytest.raises(ValueError, match="a reference for each objective"):
        hypervolume(np.zeros((3, 2)), np.zeros(3))
