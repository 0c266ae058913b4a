"""Local search: the contract, and where it climbs."""

from __future__ import annotations

import numpy as np
import pytest

from nas_edge.errors import QuantityError
from nas_edge.search import make_strategy
from nas_edge.search.strategies.local import LocalOptions
from nas_edge.search.strategies.moves import single_moves
from nas_edge.search.strategies.visited import Visited
from tests.search.strategy_contract import StrategyContract


def told(strategy, problem, rows):
    strategy.tell(rows, problem.gains(rows), problem.violation(rows))
    return rows


class TestLocal(StrategyContract):
    name = "local"

    def test_it_looks_at_neighbours_of_the_best_that_do_not_break_the_limit(self, problem):
        strategy = make_strategy(self.name, problem, np.random.default_rng(0), {"climbers": 1, "batch": 10**6})
        first = told(strategy, problem, strategy.ask(50))
        within = first[problem.violation(first) == 0]
        best = within[problem.gains(within)[:, 0].argmax()]
        around, _ = single_moves(problem.space, best[None])
        expected = {tuple(row) for row in around[problem.violation(around) == 0]} - {tuple(row) for row in first}
        asked = strategy.ask(10**6)
        assert {tuple(row) for row in asked} == expected
        assert len(asked) == len(expected)

    def test_it_looks_around_widely_even_where_some_are_known_from_before(self, problem):
        strategy = make_strategy(self.name, problem, np.random.default_rng(0), {"climbers": 3, "initial": 40})
        known = np.stack([problem.space.smallest(), problem.space.largest()])
        told(strategy, problem, known)
        first = strategy.ask(10**6)
        assert 20 < len(first) <= 40
        assert not (first[:, None] == known).all(axis=2).any()

    def test_it_climbs_to_an_optimum_of_its_neighbourhood(self, problem):
        options = {"climbers": 1, "initial": 1, "random_restarts": 0.0, "batch": 5}
        strategy, best = make_strategy(self.name, problem, np.random.default_rng(3), options), None
        for _ in range(60):
            rows = told(strategy, problem, strategy.ask(1000))
            for row, gain in zip(rows, problem.gains(rows)[:, 0], strict=True):
                if problem.violation(row[None])[0] == 0 and (best is None or gain > best[1]):
                    best = row, gain
        around, _ = single_moves(problem.space, best[0][None])
        assert problem.gains(around[problem.violation(around) == 0])[:, 0].max() <= best[1]

    def test_it_starts_again_where_no_neighbour_is_better_and_ends_with_the_space(self, problem):
        rows = np.concatenate(self.rounds(problem, budget=10 * problem.space.size()))
        assert len(rows) > 0.3 * problem.space.size()

    def test_it_never_asks_twice_for_the_same(self, problem):
        rows = np.concatenate(self.rounds(problem, budget=200))
        assert len(np.unique(rows, axis=0)) == len(rows)


@pytest.mark.parametrize(
    "options", [{"climbers": 0}, {"initial": 0}, {"batch": 0}, {"kicked_genes": 0.0}, {"random_restarts": -0.1}]
)
def test_options_out_of_range_are_refused(options):
    with pytest.raises(QuantityError):
        LocalOptions(**options)


def test_what_was_visited_is_told_from_what_is_new(tiny_space):
    rng = np.random.default_rng(0)
    visited, every = Visited(tiny_space, rng), tiny_space.enumerate()
    visited.add(every[:100])
    visited.add(every[50:150])
    assert len(visited) == 150
    rows = np.concatenate([every[[149, 150, 3, 151, 150]]])
    assert visited.new(rows).tolist() == [1, 3]
    assert np.array_equal(visited.fresh(rows), every[[150, 151]])
    assert len(visited.new(visited.sample(20))) == 20
    visited.add(every)
    assert len(visited.sample(5)) == 0
