"""NSGA-II: the contract, and what it does with several objectives."""

from __future__ import annotations

import numpy as np
import pytest

from nas_edge.errors import QuantityError
from nas_edge.search import Constraint, Problem, make_strategy
from nas_edge.search.hypervolume import hypervolume
from nas_edge.search.pareto import non_dominated
from nas_edge.search.strategies.nsga2 import Nsga2Options
from tests.search.strategy_contract import StrategyContract


class TestNsga2(StrategyContract):
    name = "nsga2"

    def found(self, problem, budget, seed=0, **options):
        strategy, rows = make_strategy(self.name, problem, np.random.default_rng(seed), options), []
        while budget > 0 and len(asked := strategy.ask(budget)):
            rows.append(asked)
            budget -= len(asked)
            strategy.tell(asked, problem.gains(asked), problem.violation(asked))
        return np.concatenate(rows)

    @pytest.fixture
    def two(self, problem):
        """A score that MACs alone do not explain, against MACs."""
        score = problem.space.costs(lambda block: block.macs**0.5 * (1 + 0.5 * (block.kernel == 5)), 4)
        metrics = {**problem.metrics, "score": type(problem.metrics["macs"])("score", "", score, maximise=True)}
        return Problem(problem.space, metrics, ("score", "macs"), ())

    def test_it_never_asks_twice_for_the_same(self, two):
        rows = self.found(two, 300, population=20)
        assert len(np.unique(rows, axis=0)) == len(rows) == 300

    def test_it_finds_most_of_the_front_of_a_space_from_a_fifth_of_it(self, two):
        whole = two.gains(two.space.enumerate())
        reference = whole.min(axis=0)
        found = two.gains(self.found(two, two.space.size() // 5, population=30))
        assert hypervolume(found, reference) > 0.95 * hypervolume(whole, reference)
        random = two.gains(two.space.sample(len(found), np.random.default_rng(0)))
        assert hypervolume(found, reference) > hypervolume(random, reference)

    def test_survivors_meet_the_constraints_and_lie_on_the_front(self, two):
        limit = float(np.quantile(two.metrics["macs"](two.space.enumerate()), 0.3))
        limited = Problem(two.space, two.metrics, two.objectives, (Constraint("macs", "<=", limit),))
        strategy = make_strategy(self.name, limited, np.random.default_rng(0), {"population": 10})
        rows = limited.space.enumerate()
        strategy.tell(rows, limited.gains(rows), limited.violation(rows))
        assert len(strategy.survivors) == 10
        assert (limited.violation(strategy.survivors) == 0).all()
        best = limited.gains(rows[limited.violation(rows) == 0])
        best = best[non_dominated(best)]
        assert all((best == point).all(axis=1).any() for point in limited.gains(strategy.survivors))

    def test_three_objectives_are_told_apart(self, two):
        three = Problem(two.space, two.metrics, ("score", "macs", "accuracy"), ())
        rows = self.found(three, 200, population=20)
        assert three.space.is_valid(rows).all()


@pytest.mark.parametrize("options", [{"population": 1}, {"crossover": 1.5}, {"mutated_genes": 0.0}])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(QuantityError):
        Nsga2Options(**options)
