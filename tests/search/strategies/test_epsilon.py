"""A front by searches under one budget after another: the contract, and how it does beside NSGA-II."""

from __future__ import annotations

import numpy as np
import pytest

from nas_edge.errors import QuantityError, SpaceError
from nas_edge.search import AdditiveMetric, Constraint, FunctionMetric, Problem, make_strategy, search
from nas_edge.search.hypervolume import hypervolume
from nas_edge.search.strategies.epsilon import EpsilonOptions, suits_epsilon
from nas_edge.search.strategies.fitting import fitting_strategy
from nas_edge.spaces import SearchSpace
from tests.search.strategies.test_islands import bent_score, macs_of
from tests.search.strategy_contract import StrategyContract


def traded(space, objectives=("accuracy", "macs"), constraints=()):
    params = AdditiveMetric("params", "parameters", space.costs(lambda block: block.params, 4))
    metrics = {"accuracy": bent_score(space), "macs": macs_of(space), "params": params}
    return Problem(space, metrics, objectives, tuple(constraints))


def front_of(problem, strategy, evaluations, **options):
    result = search(
        problem.space, problem.metrics, problem.constraints, objective=problem.objectives, strategy=strategy,
        evaluations=evaluations, options=options,
    )  # fmt: skip
    assert result.evaluations <= evaluations
    signs = [1 if problem.metrics[name].maximise else -1 for name in problem.objectives]
    return np.stack([s * result.front_figures[n] for s, n in zip(signs, problem.objectives, strict=True)], axis=1)


class TestEpsilon(StrategyContract):
    name = "epsilon"

    @pytest.fixture
    def problem(self, tiny_space):
        return traded(tiny_space)


@pytest.fixture(scope="module")
def large():
    return SearchSpace.named("lite0")


@pytest.mark.parametrize("objectives", [("accuracy", "macs"), ("macs", "accuracy"), ("accuracy", "macs", "params")])
def test_it_finds_a_better_front_than_nsga2_from_as_many_evaluations(large, objectives):
    problem = traded(large, objectives)
    assert fitting_strategy(problem) == "epsilon"
    reference = problem.gains(large.sample(2000, np.random.default_rng(0))).min(axis=0)
    ours, theirs = (hypervolume(front_of(problem, name, 3000), reference) for name in ("auto", "nsga2"))
    assert ours > theirs


def test_sums_over_blocks_are_traded_off_by_prices(large):
    problem = traded(large, ("macs", "params"))
    score = AdditiveMetric("score", "", large.costs(lambda block: block.macs**0.4, 4), maximise=True)
    problem = Problem(large, {**problem.metrics, "score": score}, ("score", "macs"), ())
    assert suits_epsilon(problem)
    reference = problem.gains(large.sample(2000, np.random.default_rng(0))).min(axis=0)
    ours, theirs = (hypervolume(front_of(problem, name, 3000), reference) for name in ("epsilon", "nsga2"))
    assert ours > theirs


def test_limits_are_met_by_all_of_the_front(large):
    rows = large.sample(2000, np.random.default_rng(0))
    problem = traded(large)
    most, floor = (float(np.quantile(problem.metrics[n](rows), 0.5)) for n in ("params", "accuracy"))
    limits = [Constraint("params", "<=", most), Constraint("accuracy", ">=", floor)]
    front = front_of(traded(large, constraints=limits), "epsilon", 3000)
    assert len(front) > 10
    assert front[:, 0].min() >= floor


def test_few_evaluations_are_enough_for_something(large):
    for evaluations in (3, 50, 500):
        assert len(front_of(traded(large), "epsilon", evaluations))


def test_what_shows_too_little_is_refused_and_searched_by_nsga2(tiny_space):
    plain = FunctionMetric("accuracy", "", lambda rows: rows.sum(axis=1) / 1e3, maximise=True)
    macs = macs_of(tiny_space)
    hidden = Problem(tiny_space, {"accuracy": plain, "macs": macs}, ("accuracy", "macs"), ())
    single = Problem(tiny_space, {"accuracy": bent_score(tiny_space), "macs": macs}, ("accuracy",), ())
    assert fitting_strategy(hidden) == "nsga2"
    for problem in (hidden, single):
        with pytest.raises(SpaceError, match="use --strategy nsga2"):
            make_strategy("epsilon", problem, np.random.default_rng(0))


@pytest.mark.parametrize("options", [{"first": 0.0}, {"first": 0.6, "last": 0.4}, {"course": 10}, {"short": -1}])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(QuantityError):
        EpsilonOptions(**options)
