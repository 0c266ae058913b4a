"""Islands: children that solve linearised problems. Knapsacks and costs by block are held to brute force."""

from __future__ import annotations

import numpy as np
import pytest

from nas_edge.accuracy import FeatureLayout
from nas_edge.errors import QuantityError, SpaceError
from nas_edge.search import (
    AdditiveMetric,
    Constraint,
    FunctionMetric,
    Monotone,
    Problem,
    extreme,
    make_strategy,
    search,
)
from nas_edge.search.separable import Slots, slot_costs
from nas_edge.search.strategies.islands import IslandOptions, suits_islands
from nas_edge.search.strategies.knapsack import Knapsacks
from nas_edge.search.strategies.limits import SlotLimit, slot_limit
from nas_edge.spaces import SearchSpace
from tests.search.strategy_contract import StrategyContract


def bent_score(space, seed=0):
    """A figure of its one-hot genes that is not linear, with its derivative."""
    layout = FeatureLayout.of(space)
    rng = np.random.default_rng(seed)
    weights, mixing = rng.normal(size=layout.size) + 0.5, rng.normal(size=(layout.size, 5)) / 4

    def gradient(mixture):
        hidden = np.tanh(mixture @ mixing)
        return mixture @ weights + hidden.sum(axis=1), weights + (1 - hidden**2) @ mixing.T

    return FunctionMetric("accuracy", "", lambda rows: gradient(layout.one_hot(rows))[0], True, gradient=gradient)


def macs_of(space):
    return AdditiveMetric("macs", "MACs", space.costs(lambda block: block.macs, 4))


def bent_problem(space, share=0.5):
    macs = macs_of(space)
    limit = float(np.quantile(macs(space.sample(2000, np.random.default_rng(0))), share))
    return Problem(
        space, {"accuracy": bent_score(space), "macs": macs}, ("accuracy",), (Constraint("macs", "<=", limit),)
    )


class TestIslands(StrategyContract):
    name = "islands"

    @pytest.fixture
    def problem(self, tiny_space):
        return bent_problem(tiny_space)

    def test_it_never_asks_twice_for_the_same(self, problem):
        rows = np.concatenate(self.rounds(problem, budget=200))
        assert len(np.unique(rows, axis=0)) == len(rows)

    def test_nearly_all_it_asks_for_meets_the_limits(self, problem):
        rows = np.concatenate(self.rounds(problem, budget=60))
        assert (problem.violation(rows) <= 0).mean() > 0.5

    def test_it_finds_the_best_of_a_small_space(self, problem):
        everything = problem.space.enumerate()
        best = problem.gains(everything)[problem.violation(everything) <= 0].max()
        found = np.concatenate(self.rounds(problem, budget=500))
        assert problem.gains(found)[problem.violation(found) <= 0].max() == pytest.approx(best)


@pytest.mark.parametrize("name", ["lite0", "mbv3-32", "ofa-mbv3-w1.2"])
def test_on_every_kind_of_space_it_asks_for_valid_rows_within_several_limits(name):
    space = SearchSpace.named(name)
    metrics = {"accuracy": bent_score(space), "macs": macs_of(space)}
    metrics["params"] = AdditiveMetric("params", "parameters", space.costs(lambda block: block.params, 4))
    sample = space.sample(2000, np.random.default_rng(0))
    limits = [Constraint(m, "<=", float(np.quantile(metrics[m](sample), 0.4))) for m in ("macs", "params")]
    problem = Problem(space, metrics, ("accuracy",), tuple(limits))
    strategy = make_strategy("islands", problem, np.random.default_rng(0))
    rows = strategy.ask(5000)
    assert len(rows)
    assert space.is_valid(rows).all()
    assert (problem.violation(rows) <= 0).all()


def test_it_beats_random_search_and_is_what_a_search_uses_by_itself():
    space = SearchSpace.named("lite0")
    problem = bent_problem(space)
    found = {
        name: search(space, problem.metrics, problem.constraints, strategy=name, evaluations=3000, look_for_slack=False)
        for name in ("auto", "random")
    }
    assert found["auto"].strategy == "islands"
    assert found["auto"].figures["accuracy"] > found["random"].figures["accuracy"]


@pytest.mark.parametrize("seed", range(3))
def test_a_floor_that_a_search_reaches_is_not_refused(seed):
    space = SearchSpace.named("ofa-mbv3-w1.2").restrict(resolutions=(160, 192, 224))
    score = bent_score(space, seed)
    reached = search(space, {"accuracy": score}, [], seed=1).figures["accuracy"]
    assert extreme(space, "accuracy", score, least=False).figure >= reached - 1e-9


def test_it_begins_anew_for_as_many_rounds_as_asked_for():
    problem = bent_problem(SearchSpace.named("lite0"))
    spent = [
        search(
            problem.space, problem.metrics, problem.constraints, strategy="islands", options={"rounds": rounds},
            look_for_slack=False,
        ).evaluations
        for rounds in (1, 2)
    ]  # fmt: skip
    assert spent[0] < spent[1] < 50_000


def test_a_problem_that_shows_too_little_is_refused_with_what_is_missing(tiny_space):
    problem = bent_problem(tiny_space)
    hidden = FunctionMetric("accuracy", "", problem.metrics["accuracy"].function, True)
    blind = Problem(tiny_space, {**problem.metrics, "accuracy": hidden}, ("accuracy",), problem.constraints)
    lower = Problem(tiny_space, problem.metrics, ("accuracy",), (Constraint("macs", ">=", 1.0),))
    for lacking, words in ((blind, "derivative"), (lower, "macs >= 1 is none")):
        assert not suits_islands(lacking)
        with pytest.raises(SpaceError, match=words):
            make_strategy("islands", lacking, np.random.default_rng(0))


@pytest.mark.parametrize(
    "options", [{"islands": 0}, {"crowd": 0}, {"crossed": 2.0}, {"least_noise": 1.0}, {"rounds": -1}]
)
def test_options_out_of_range_are_refused(options):
    with pytest.raises(QuantityError):
        IslandOptions(**options)


def test_costs_by_block_add_up_to_the_sum(tiny_space):
    slots = Slots.of(tiny_space)
    costs = tiny_space.costs(lambda block: block.macs, 4)
    parts = slot_costs(slots, costs)
    rows = tiny_space.sample(200, np.random.default_rng(0))
    options, outer = slots.options(rows), slots.outer_of(rows)
    each = parts.each[np.maximum(options, 0), np.arange(slots.size)[:, None], outer]
    assert (parts.base[outer] + (each * (options >= 0)).sum(axis=0)) == pytest.approx(costs.sum(rows))
    assert np.array_equal(slots.rows(outer, np.maximum(options, 0), options >= 0), rows)


def test_a_limit_on_a_rising_function_is_one_on_the_sum(tiny_space):
    costs = tiny_space.costs(lambda block: block.macs**0.5, 4)
    rise = Monotone(costs, lambda sums: 3 + (sums / 100) ** 2)
    metric = FunctionMetric("latency", "ms", rise, rises_with=rise)
    everything = tiny_space.enumerate()
    limit = float(np.median(metric(everything)))
    slots = Slots.of(tiny_space)
    bound = slot_limit(slots, Constraint("latency", "<=", limit), metric)
    most = bound.room + slot_costs(slots, costs).base
    assert 3 + (most / 100) ** 2 == pytest.approx(limit, rel=1e-4)
    assert (3 + (most / 100) ** 2 <= limit).all()


@pytest.mark.parametrize("count", [1, 2])
def test_knapsacks_fit_and_come_near_the_best(tiny_space, count):
    rng = np.random.default_rng(0)
    slots = Slots.of(tiny_space)
    everything = tiny_space.enumerate()
    options, present = slots.options(everything), slots.options(everything) >= 0
    place = np.arange(slots.size)[:, None]
    n = 50
    shape = (*slots.distinct.shape, n)
    values = rng.normal(0.5, 1, shape).astype(np.float32)
    values[~slots.distinct] = -1e9
    bonus = rng.normal(0, 0.5, shape[1:]).astype(np.float32)
    limits = [
        SlotLimit(rng.uniform(0.5, 2, shape).astype(np.float32), rng.uniform(3, 8, n).astype(np.float32))
        for _ in range(count)
    ]
    knapsacks = Knapsacks(tiny_space.layout, len(values), limits)
    filled = knapsacks.solve(values, bonus, np.ones(n, np.float32), np.arange(n))
    shares = []
    for i in np.flatnonzero(filled.fits):
        worth = ((values[np.maximum(options, 0), place, i] + bonus[:, i, None]) * present).sum(axis=0)
        mine = (values[filled.options[:, i], place[:, 0], i] + bonus[:, i]) @ filled.present[:, i]
        possible = np.ones(len(everything), bool)
        for limit in limits:
            assert limit.each[filled.options[:, i], place[:, 0], i] @ filled.present[:, i] <= limit.room[i] + 1e-5
            price = (limit.each[np.maximum(options, 0), place, i] * present).sum(axis=0)
            possible &= price <= limit.room[i]
        best = worth[possible].max()
        assert mine <= best + 1e-4
        shares.append(best - mine)
    assert len(shares) > 0.8 * n
    assert np.mean(shares) < 0.3


def test_knapsacks_without_limits_are_filled_with_the_best(tiny_space):
    slots, rng = Slots.of(tiny_space), np.random.default_rng(0)
    values = rng.uniform(1, 2, (*slots.distinct.shape, 20)).astype(np.float32)
    values[~slots.distinct] = -1e9
    nothing = np.zeros(values.shape[1:], np.float32)
    filled = Knapsacks(tiny_space.layout, len(values), []).solve(
        values, nothing, np.ones(20, np.float32), np.zeros(20, np.intp)
    )
    assert filled.fits.all()
    assert filled.present.all()
    assert np.array_equal(filled.options, values.argmax(axis=0))


def test_no_knapsack_fits_where_a_limit_leaves_no_room(tiny_space):
    slots = Slots.of(tiny_space)
    values = np.ones((*slots.distinct.shape, 5), np.float32)
    limit = SlotLimit(np.ones(values.shape, np.float32), np.full(5, -1.0, np.float32))
    nothing = np.zeros(values.shape[1:], np.float32)
    knapsacks = Knapsacks(tiny_space.layout, len(values), [limit])
    for _ in range(60):  # prices go on from where they ended: they must end somewhere
        filled = knapsacks.solve(values, nothing, np.ones(5, np.float32), np.arange(5))
        assert not filled.fits.any()
        assert filled.present[0].all()
