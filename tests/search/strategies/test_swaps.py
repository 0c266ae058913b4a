"""Neighbours block by block, and what knapsacks make of their gains."""

from __future__ import annotations

import numpy as np
import pytest

from nas_edge.search import AdditiveMetric, Constraint, FunctionMetric, Problem, search
from nas_edge.search.strategies.swaps import BlockSwaps
from nas_edge.spaces import SearchSpace


def additive(space, seed=0, share=0.3):
    rng = np.random.default_rng(seed)
    score = space.costs(lambda block: block.macs**0.4 * rng.uniform(0.5, 1.5), 6)
    price = space.costs(lambda block: block.macs / 1e8 * rng.uniform(0.7, 1.3) + 0.02, 6)
    # Nothing is shown of the score but its figures.
    metrics = {
        "accuracy": FunctionMetric("accuracy", "", score.sum, True),
        "latency": AdditiveMetric("latency", "ms", price),
    }
    limit = float(np.quantile(price.sum(space.sample(3000, rng)), share))
    return Problem(space, metrics, ("accuracy",), (Constraint("latency", "<=", limit),))


@pytest.mark.parametrize("name", ["lite0", "mbv3-32", "ofa-mbv3-w1.2", "mcu-tiny"])
def test_neighbours_are_valid_once_each_and_differ_in_one_block_or_one_depth(name):
    space = SearchSpace.named(name)
    swaps = BlockSwaps(additive(space))
    for row in space.sample(5, np.random.default_rng(0)):
        found = swaps.around(row)
        assert space.is_valid(found.rows).all()
        assert len(np.unique(np.concatenate([found.rows, row[None]]), axis=0)) == len(found.rows) + 1
        deeper = space.depths(found.rows) != space.depths(row[None])
        assert (deeper.sum(axis=1) == (found.depth > 0)).all()


def test_gains_of_neighbours_give_those_of_all_networks_of_that_resolution_where_they_add_up():
    space = SearchSpace.named("ofa-mbv3-w1.2")
    problem = additive(space)
    swaps, rng = BlockSwaps(problem), np.random.default_rng(1)
    row, others = space.sample(1, rng)[0], space.sample(100, rng)
    others[:, : space.layout.globals] = row[: space.layout.globals]
    around = swaps.around(row)
    base = problem.gains(row[None])[0, 0]
    values = swaps.values(around, problem.gains(around.rows)[:, 0] - base)
    has, options = swaps._slots.options(row[None]), swaps._slots.options(others)
    place = np.arange(len(options))[:, None]
    worth = [(values[np.maximum(o, 0), place] * (o >= 0)).sum(axis=0) for o in (has, options)]
    assert worth[1] - worth[0] == pytest.approx(problem.gains(others)[:, 0] - base)


def test_their_solutions_are_within_the_limits_and_better_than_the_network():
    space = SearchSpace.named("lite0")
    problem = additive(space)
    swaps, rng = BlockSwaps(problem), np.random.default_rng(2)
    rows = space.sample(200, rng)
    row = rows[problem.violation(rows) <= 0][0]
    around = swaps.around(row)
    gains = problem.gains(around.rows)[:, 0] - problem.gains(row[None])[0, 0]
    solutions = swaps.solutions(around, gains, 50, rng)
    assert len(solutions)
    assert space.is_valid(solutions).all()
    assert (problem.violation(solutions) <= 0).all()
    assert problem.gains(solutions).max() > problem.gains(around.rows)[problem.violation(around.rows) <= 0].max()


def test_limits_that_are_no_sums_do_not_suit():
    space = SearchSpace.named("lite0")
    problem = additive(space)
    assert BlockSwaps.suit(problem)
    peak = FunctionMetric("latency", "ms", problem.metrics["latency"])
    assert not BlockSwaps.suit(Problem(space, {**problem.metrics, "latency": peak}, ("accuracy",), problem.constraints))


@pytest.mark.parametrize("seed", range(3))
def test_evolution_finds_the_optimum_of_a_hidden_sum(seed):
    problem = additive(SearchSpace.named("lite0"), seed)
    shown = dict(problem.metrics)
    rng = np.random.default_rng(seed)
    score = problem.space.costs(lambda block: block.macs**0.4 * rng.uniform(0.5, 1.5), 6)
    shown["accuracy"] = FunctionMetric("accuracy", "", score.sum, True, score)
    best = search(problem.space, shown, problem.constraints, strategy="lagrangian", look_for_slack=False)
    found = search(
        problem.space, problem.metrics, problem.constraints, strategy="evolution", seed=seed, look_for_slack=False
    )
    assert found.figures["accuracy"] >= best.figures["accuracy"] * 0.999
