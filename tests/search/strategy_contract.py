"""What every strategy must do. Subclass `StrategyContract`, name the strategy."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from nas_edge.errors import UnknownNameError
from nas_edge.search import AdditiveMetric, Constraint, FunctionMetric, Problem, make_strategy
from nas_edge.search.strategies.base import strategy_entry


class StrategyContract:
    name: str
    free = True  # whether it searches without any constraint

    @pytest.fixture
    def problem(self, tiny_space):
        macs = AdditiveMetric("macs", "MACs", tiny_space.costs(lambda block: block.macs, 4))
        score = FunctionMetric("accuracy", "", lambda population: np.sqrt(macs(population)) / 1e4, maximise=True)
        limit = float(np.median(macs(tiny_space.enumerate())))
        return Problem(tiny_space, {"accuracy": score, "macs": macs}, ("accuracy",), (Constraint("macs", "<=", limit),))

    def rounds(self, problem, seed=0, budget=60):
        strategy, asked = make_strategy(self.name, problem, np.random.default_rng(seed)), []
        while budget:
            rows = strategy.ask(budget)
            if not len(rows):
                break
            asked.append(rows)
            strategy.tell(rows, problem.gains(rows), problem.violation(rows))
            budget -= len(rows)
        return asked

    def test_it_asks_for_valid_rows_and_never_more_than_allowed(self, problem):
        for budget in (1, 2, 7, 60):
            rows = np.concatenate(self.rounds(problem, budget=budget))
            assert 0 < len(rows) <= budget
            assert rows.dtype == np.int8
            assert problem.space.is_valid(rows).all()

    def test_the_same_seed_asks_for_the_same(self, problem):
        first, second = self.rounds(problem, seed=5), self.rounds(problem, seed=5)
        assert len(first) == len(second)
        assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))

    def test_it_may_be_told_of_architectures_it_did_not_ask_for(self, problem):
        strategy = make_strategy(self.name, problem, np.random.default_rng(0))
        rows = problem.space.largest()[None]
        strategy.tell(rows, problem.gains(rows), problem.violation(rows))
        strategy.tell(rows[:0], problem.gains(rows[:0]), problem.violation(rows[:0]))
        assert len(strategy.ask(5))

    def test_it_searches_without_constraints_and_where_nothing_is_feasible(self, problem):
        if self.free:
            assert len(self.rounds(problem.without(problem.constraints)))
        limits = tuple(Constraint(c.metric, c.op, 1.0 if c.upper else 1e9) for c in problem.constraints)
        assert len(self.rounds(Problem(problem.space, problem.metrics, problem.objectives, limits)))

    def test_unknown_options_are_refused_with_the_known_ones(self, problem):
        known = [option.name for option in fields(strategy_entry(self.name).options)]
        for wrong in ("temperature", *(f"{name}x" for name in known)):
            with pytest.raises(UnknownNameError) as refused:
                make_strategy(self.name, problem, np.random.default_rng(0), {wrong: 1})
            assert all(name in str(refused.value).partition("known: ")[2] for name in known)
