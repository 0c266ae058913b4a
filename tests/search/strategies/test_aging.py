"""Aging evolution: the contract, and that the oldest die."""

from __future__ import annotations

import numpy as np
import pytest

from nas_edge.errors import QuantityError
from nas_edge.search import make_strategy
from nas_edge.search.strategies.aging import AgingEvolution, AgingOptions
from tests.search.strategy_contract import StrategyContract


class TestAging(StrategyContract):
    name = "aging"

    def test_the_oldest_dies_however_good_it_is(self, problem):
        strategy = make_strategy(self.name, problem, np.random.default_rng(0), {"population": 10, "batch": 1})
        first = strategy.ask(100)
        assert len(first) == 10
        best = np.linspace(1, 0, 10)[:, None]
        strategy.tell(first, best, np.zeros(10))
        child = strategy.ask(100)
        strategy.tell(child, np.full((1, 1), -1.0), np.zeros(1))
        assert np.array_equal(strategy.alive, np.concatenate([first[1:], child]))

    def test_parents_are_the_best_of_their_samples(self, problem):
        # A sample of many holds the best of ten practically always: all children are its mutants.
        options = AgingOptions(population=10, sample=500, batch=10, mutated_genes=1e-9, attempts=1)
        strategy = AgingEvolution(problem, options, np.random.default_rng(0))
        rows = strategy.ask(100)
        gain = np.random.default_rng(1).random(10)
        strategy.tell(rows, gain[:, None], np.zeros(10))
        assert (strategy.ask(100) == rows[gain.argmax()]).all()
        # What breaks a limit loses against anything that breaks it less.
        strategy.tell(rows, gain[:, None], np.where(np.arange(10) == gain.argmin(), 0.0, 0.5))
        assert (strategy.ask(100) == rows[gain.argmin()]).all()

    def test_a_batch_is_of_as_many_cycles_as_asked_for(self, problem):
        strategy = make_strategy(self.name, problem, np.random.default_rng(0), {"population": 20, "batch": 7})
        rows = strategy.ask(100)
        strategy.tell(rows, problem.gains(rows), problem.violation(rows))
        assert len(strategy.ask(100)) == 7
        assert len(strategy.ask(3)) == 3


@pytest.mark.parametrize(
    "options",
    [
        {"population": -1},
        {"sample": 0},
        {"batch": -1},
        {"population": 9, "batch": 10},
        {"mutated_genes": 0.0},
        {"attempts": 0},
    ],
)
def test_options_out_of_range_are_refused(options):
    with pytest.raises(QuantityError):
        AgingOptions(**options)
