"""Populations to start from, and mutants that waste nothing."""

from __future__ import annotations

import numpy as np
import pytest

from nas_edge.search import AdditiveMetric, Constraint, Problem
from nas_edge.search.strategies.variants import mutants, spread


@pytest.fixture
def problem(tiny_space):
    macs = AdditiveMetric("macs", "MACs", tiny_space.costs(lambda block: block.macs, 4))
    limit = float(np.median(macs(tiny_space.enumerate())))
    return Problem(tiny_space, {"macs": macs}, ("macs",), (Constraint("macs", "<=", limit),))


def test_mutants_differ_from_their_parents_and_break_limits_no_further(problem):
    rng = np.random.default_rng(0)
    parents = problem.space.sample(200, rng)
    violation = problem.violation(parents)
    children = mutants(problem, parents, violation, 0.1, 50, rng)
    assert problem.space.is_valid(children).all()
    assert (children != parents).any(axis=1).all()
    assert (problem.violation(children) <= violation).all()


def test_without_constraints_the_first_mutant_that_differs_counts(problem):
    free = problem.without(problem.constraints)
    parents = free.space.sample(200, np.random.default_rng(0))
    children = mutants(free, parents, np.zeros(200), 0.1, 50, np.random.default_rng(1))
    assert (children != parents).any(axis=1).all()


def test_one_attempt_is_plain_mutation(problem):
    parents = problem.space.sample(20, np.random.default_rng(0))
    children = mutants(problem, parents, np.zeros(20), 0.1, 1, np.random.default_rng(1))
    assert np.array_equal(children, problem.space.mutate(parents, np.random.default_rng(1), 0.1))


def test_a_spread_population_reaches_both_ends_of_a_budget(problem):
    space, macs, rng = problem.space, problem.metrics["macs"], np.random.default_rng(0)
    rows, random = spread(space, 300, rng), space.sample(300, rng)
    assert space.is_valid(rows).all()
    assert np.array_equal(rows[:2], np.stack([space.smallest(), space.largest()]))
    assert np.std(macs(rows)) > np.std(macs(random))
    assert len(spread(space, 1, rng)) == 1
