"""Differentiable search: its derivatives against finite differences, its expectations against draws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas_edge.accuracy import FeatureLayout
from nas_edge.errors import QuantityError
from nas_edge.search import AdditiveMetric, Constraint, FunctionMetric, Monotone, Problem, make_strategy
from nas_edge.search.strategies.differentiable import DifferentiableOptions
from nas_edge.search.strategies.relaxation import ExpectedSum, Relaxation
from nas_edge.search.strategies.slopes import relaxed, ridge
from nas_edge.spaces import SearchSpace, TermCosts, TermIndex
from tests.search.strategies.test_exact import templates
from tests.search.strategy_contract import StrategyContract


class TestDifferentiable(StrategyContract):
    name = "differentiable"

    def test_it_never_asks_twice_for_the_same(self, problem):
        rows = np.concatenate(self.rounds(problem, budget=150))
        assert len(np.unique(rows, axis=0)) == len(rows)


def random_costs(space, seed):
    rng, base = np.random.default_rng(seed), space.costs(lambda block: block.macs, 3)
    return TermCosts(base.index, np.where(base.values > 0, rng.normal(size=base.values.shape), 0.0))


def random_probabilities(relaxation, n, seed):
    return relaxation.probabilities(np.random.default_rng(seed).normal(0, 1.5, (n, relaxation.size)))


def assert_derivative(figure, relaxation, seed=0):
    """`figure` of probabilities and its derivative, by the logits, along random directions."""
    rng = np.random.default_rng(seed)
    logits, along = rng.normal(size=(2, 4, relaxation.size))
    probabilities = relaxation.probabilities(logits)
    _, slope = figure(probabilities)
    found = (relaxation.to_logits(probabilities, slope) * along).sum(axis=1)
    ends = [figure(relaxation.probabilities(logits + step * along))[0] for step in (1e-5, -1e-5)]
    assert found == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-4, abs=1e-6)


@settings(max_examples=25, deadline=None)
@given(template=templates(), seed=st.integers(0, 2**16))
def test_the_expectation_of_a_sum_is_exact(template, seed):
    space = SearchSpace(template)
    if space.size() > 20_000:
        return
    relaxation, costs = Relaxation(space), random_costs(space, seed)
    probabilities = random_probabilities(relaxation, 2, seed)
    # The probability of every architecture: of its depths, and of the choices of the blocks that are there.
    everything = space.enumerate()
    chosen = relaxation.logits_of(everything, 1.0)
    each = np.array([np.where(chosen > 0, row, 1.0).prod(axis=1) for row in probabilities])
    assert each.sum(axis=1) == pytest.approx(1.0)
    expected, _ = ExpectedSum(relaxation, costs)(probabilities)
    assert expected == pytest.approx(each @ costs.sum(everything))
    mixture = each @ FeatureLayout.of(space).one_hot(everything)
    assert relaxation.mixture(probabilities) == pytest.approx(mixture, abs=1e-6)
    assert_derivative(ExpectedSum(relaxation, costs), relaxation, seed)


def test_terms_over_two_blocks_are_expected_exactly_as_well(tiny_space):
    """Neighbouring blocks of one stage and of two: they are there together, or not."""
    genes, rng = len(tiny_space.genes), np.random.default_rng(0)
    strides = np.zeros((genes, 2), np.float32)
    stages = tiny_space.layout.stages
    strides[[stages[0].expands[0], stages[0].expands[1]], 0] = [10, 1]
    strides[[stages[0].expands[1], stages[1].expands[1]], 1] = [10, 1]
    costs = TermCosts(TermIndex(strides, np.array([0, 100], np.int32), 200), rng.normal(size=200))
    relaxation = Relaxation(tiny_space)
    probabilities, everything = random_probabilities(relaxation, 3, 1), tiny_space.enumerate()
    chosen = relaxation.logits_of(everything, 1.0)
    each = np.array([np.where(chosen > 0, row, 1.0).prod(axis=1) for row in probabilities])
    figure = ExpectedSum(relaxation, costs)
    assert figure(probabilities)[0] == pytest.approx(each @ costs.sum(everything))
    assert_derivative(figure, relaxation)


def test_draws_follow_the_probabilities(tiny_space):
    relaxation = Relaxation(tiny_space)
    probabilities = random_probabilities(relaxation, 2, 3)
    rows = relaxation.draw(probabilities, 4000, np.random.default_rng(0))
    assert tiny_space.is_valid(rows).all()
    found = relaxation.one_hot(rows).reshape(2, 4000, -1).mean(axis=1)
    assert found == pytest.approx(relaxation.mixture(probabilities), abs=0.04)
    sure = relaxation.probabilities(relaxation.logits_of(rows[:50], 40.0))
    assert np.array_equal(relaxation.likeliest(sure), rows[:50])
    assert relaxation.one_hot(rows) == pytest.approx(FeatureLayout.of(tiny_space).one_hot(rows))


def test_every_kind_of_metric_has_the_derivative_of_its_figure(tiny_space):
    relaxation, costs = Relaxation(tiny_space), random_costs(tiny_space, 5)
    rng = np.random.default_rng(6)
    direction = rng.normal(size=relaxation.features)

    def gradient(mixture):
        bent = np.tanh(mixture @ direction)
        return bent, (1 - bent**2)[:, None] * direction

    rise = Monotone(costs, np.arctan)
    rows = tiny_space.sample(200, rng)
    for metric in [
        AdditiveMetric("sum", "", costs),
        FunctionMetric("rising", "", rise, rises_with=rise),
        FunctionMetric("smooth", "", lambda population: np.zeros(len(population)), gradient=gradient),
    ]:
        assert_derivative(relaxed(metric, relaxation), relaxation)
    fit = ridge(relaxation.one_hot(rows), np.cos(rows.sum(axis=1)), relaxation)
    assert_derivative(fit, relaxation)
    assert relaxed(FunctionMetric("opaque", "", rise), relaxation) is None


def test_a_ridge_finds_what_is_additive(tiny_space):
    relaxation, rng = Relaxation(tiny_space), np.random.default_rng(7)
    direction = rng.normal(size=relaxation.features)
    rows, others = tiny_space.sample(400, rng), tiny_space.sample(50, rng)
    fit = ridge(relaxation.one_hot(rows), relaxation.one_hot(rows) @ direction, relaxation, 1e-6)
    sure = relaxation.probabilities(relaxation.logits_of(others, 60.0))
    assert fit(sure)[0] == pytest.approx(relaxation.one_hot(others) @ direction, abs=1e-4)


@pytest.mark.parametrize("shows", ["costs", "gradient", "nothing"])
def test_it_comes_near_the_optimum_whatever_the_objective_shows(shows, tiny_space):
    rng = np.random.default_rng(8)
    score = tiny_space.costs(lambda block: block.macs**0.5 * rng.uniform(0.8, 1.2), 3)
    price = AdditiveMetric("price", "ms", tiny_space.costs(lambda block: block.macs**0.5 * rng.uniform(0.8, 1.2), 3))
    everything, relaxation = tiny_space.enumerate(), Relaxation(tiny_space)
    one_hot = relaxation.one_hot(everything)
    slope = np.linalg.lstsq(one_hot, score.sum(everything), rcond=None)[0]
    metric = {
        "costs": FunctionMetric("score", "", score.sum, True, score),
        "gradient": FunctionMetric(
            "score", "", lambda population: relaxation.one_hot(population) @ slope, True,
            gradient=lambda mixture: (mixture @ slope, np.broadcast_to(slope, mixture.shape)),
        ),
        "nothing": FunctionMetric("score", "", score.sum, True),
    }[shows]  # fmt: skip
    limit = Constraint("price", "<=", float(np.quantile(price(everything), 0.3)))
    problem = Problem(tiny_space, {"score": metric, "price": price}, ("score",), (limit,))
    gains = problem.gains(everything)[problem.violation(everything) <= 0, 0]
    budget, best = 80, -np.inf
    strategy = make_strategy("differentiable", problem, np.random.default_rng(0), {"initial": 40, "starts": 8})
    while budget:
        rows = strategy.ask(budget)
        found, violation = problem.gains(rows), problem.violation(rows)
        strategy.tell(rows, found, violation)
        best = max(best, float(np.max(found[:, 0], where=violation <= 0, initial=-np.inf)))
        budget -= len(rows)
    assert (gains > best).mean() < 0.02


@pytest.mark.parametrize(
    "options",
    [
        *({name: 0} for name in ("starts", "steps", "draws", "initial", "learning_rate", "penalty", "coldest")),
        {"warm": 1.5},
        {"coldest": 3.0},
    ],
)
def test_options_out_of_range_are_refused(options):
    with pytest.raises(QuantityError):
        DifferentiableOptions(**options)
