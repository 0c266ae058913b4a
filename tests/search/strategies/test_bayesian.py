"""Bayesian search and the Gaussian process it stands on."""

from __future__ import annotations

import math

import numpy as np
import pytest

from nas_edge.errors import QuantityError
from nas_edge.search import AdditiveMetric, Constraint, FunctionMetric, Problem, make_strategy
from nas_edge.search.strategies.bayesian import BayesianOptions, log_improvement
from nas_edge.search.strategies.gaussian_process import (
    GaussianProcess,
    Hyperparameters,
    OneHot,
    fitted,
    likelihood,
)
from nas_edge.spaces import Gene, SearchSpace
from nas_edge.spaces.tabular import Figure, TabularSpace
from tests.search.strategy_contract import StrategyContract


class TestBayesian(StrategyContract):
    name = "bayesian"

    def test_it_never_asks_twice_for_the_same(self, problem):
        rows = np.concatenate(self.rounds(problem, budget=150))
        assert len(np.unique(rows, axis=0)) == len(rows)


def one_hot_of(space):
    return OneHot.of([np.concatenate([np.zeros(1, np.int8), values]) for values in space.layout.values])


def hyperparameters(genes, seed=0):
    return Hyperparameters(np.random.default_rng(seed).normal(0, 0.5, genes), -0.3, -0.5, -3.0, -0.7)


def dense_kernel(space, a, b, at):
    """The kernel as its formula says, gene by gene."""
    shares = at.shares()
    agree = np.array([[shares[x == y].sum() for y in b] for x in a])
    return math.exp(at.linear) * agree + math.exp(at.joint) * np.exp((agree - 1) / math.exp(at.reach))


def test_the_posterior_is_that_of_the_textbook(tiny_space):
    rng, space = np.random.default_rng(0), tiny_space
    everything = rng.permutation(space.enumerate())
    data, others = everything[:30], everything[30:45]
    figures, at = rng.normal(3.0, 2.0, 30), hyperparameters(len(space.genes))
    mean, deviation = GaussianProcess(one_hot_of(space), data, figures, at).predict(others)
    scale = figures.std()
    inverse = np.linalg.inv(dense_kernel(space, data, data, at) + (math.exp(at.noise) + 1e-8) * np.eye(30))
    known = dense_kernel(space, others, data, at)
    assert mean == pytest.approx(figures.mean() + known @ inverse @ (figures - figures.mean()))
    variance = np.diag(dense_kernel(space, others, others, at) - known @ inverse @ known.T)
    assert deviation == pytest.approx(scale * np.sqrt(variance))


def test_the_likelihood_and_its_derivative_are_right(tiny_space):
    rng, space = np.random.default_rng(1), tiny_space
    data, one_hot = rng.permutation(space.enumerate())[:25], one_hot_of(space)
    y, at = rng.normal(size=25), hyperparameters(len(space.genes), 2)
    value, slope = likelihood(one_hot, one_hot(data), y, at)
    stats = pytest.importorskip("scipy.stats")
    kernel = dense_kernel(space, data, data, at) + (math.exp(at.noise) + 1e-8) * np.eye(25)
    assert value == pytest.approx(stats.multivariate_normal(np.zeros(25), kernel).logpdf(y))
    vector = at.vector()
    for i in range(len(vector)):
        step = np.zeros(len(vector))
        step[i] = 1e-5
        ends = [likelihood(one_hot, one_hot(data), y, Hyperparameters.of(vector + s))[0] for s in (step, -step)]
        assert slope[i] == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-4, abs=1e-6)


def test_fitting_finds_the_genes_that_matter(tiny_space):
    rng, one_hot = np.random.default_rng(2), one_hot_of(tiny_space)
    rows = rng.permutation(tiny_space.enumerate())[:120]
    y = (rows[:, 1] == 1) * 2.0 - (rows[:, 2] == 2) + rng.normal(0, 0.05, len(rows))
    y = (y - y.mean()) / y.std()
    before = Hyperparameters(np.zeros(len(tiny_space.genes)))
    after = fitted(one_hot, one_hot(rows), y, before, 60)
    assert set(np.argsort(-after.shares())[:2]) == {1, 2}
    assert likelihood(one_hot, one_hot(rows), y, after)[0] > likelihood(one_hot, one_hot(rows), y, before)[0] + 10


def test_a_batch_is_spread_out_as_if_each_choice_had_been_told(tiny_space):
    rng, space = np.random.default_rng(3), tiny_space
    everything, one_hot = rng.permutation(space.enumerate()), one_hot_of(space)
    data, candidates, at = everything[:20], everything[20:120], hyperparameters(len(space.genes))
    figures = rng.normal(size=20)
    chosen = GaussianProcess(one_hot, data, figures, at).spread_out(candidates, 4, lambda mean, doubt: doubt)
    # The posterior's doubt does not depend on figures but through their scale: put the mean in for those chosen.
    kept = []
    for index in chosen:
        rows = np.concatenate([data, candidates[kept]])
        # Two figures at plus and minus the deviation keep the scale as it is.
        scale = np.concatenate([figures, np.zeros(len(kept))])
        _, doubt = GaussianProcess(one_hot, rows, scale, at).predict(candidates)
        doubt[kept] = -1
        assert doubt[index] == pytest.approx(doubt.max())
        kept.append(int(index))
    assert len(set(kept)) == 4


def test_expected_improvement_is_that_of_the_textbook_far_and_near():
    stats = pytest.importorskip("scipy.stats")
    ahead = np.linspace(-30, 5, 400)
    # log(pdf + a cdf) loses its digits far out, where log1p of Mills' ratio does not.
    mills = np.exp(stats.norm.logcdf(ahead) - stats.norm.logpdf(ahead))
    exact = stats.norm.logpdf(ahead) + np.log(np.maximum(1 + ahead * mills, 1e-300))
    near = ahead > -12
    assert log_improvement(ahead[near]) == pytest.approx(exact[near], abs=0.03)
    assert (np.diff(log_improvement(ahead)) > 0).all()


@pytest.mark.parametrize("limit", [None, 0.2])
def test_it_finds_the_best_of_a_space_in_a_tenth_of_its_evaluations(limit, tiny_space):
    rng = np.random.default_rng(4)
    costs = tiny_space.costs(lambda block: block.macs**0.5 * rng.uniform(0.8, 1.2), 3)
    price = AdditiveMetric("price", "ms", tiny_space.costs(lambda block: block.macs**0.5 * rng.uniform(0.8, 1.2), 3))
    score = FunctionMetric("score", "", lambda population: np.sqrt(costs.sum(population)), True)
    everything = tiny_space.enumerate()
    constraints = () if limit is None else (Constraint("price", "<=", float(np.quantile(price(everything), limit))),)
    problem = Problem(tiny_space, {"score": score, "price": price}, ("score",), constraints)
    optimum = problem.gains(everything)[problem.violation(everything) <= 0].max()
    budget, best = len(everything) // 10, -np.inf
    strategy = make_strategy("bayesian", problem, np.random.default_rng(0), {"initial": 12})
    while budget:
        rows = strategy.ask(budget)
        gains, violation = problem.gains(rows), problem.violation(rows)
        strategy.tell(rows, gains, violation)
        best = max(best, float(np.max(gains[:, 0], where=violation <= 0, initial=-np.inf)))
        budget -= len(rows)
    assert best == pytest.approx(optimum, rel=1e-9)


@pytest.mark.parametrize("strategy", ["bayesian", "differentiable"])
def test_a_list_without_stages_is_searched_within_its_rows(strategy):
    rng = np.random.default_rng(5)
    rows = rng.permutation(np.stack(np.meshgrid(*[[1, 2, 3]] * 6), -1).reshape(-1, 6).astype(np.int8))[:500]
    weights = rng.normal(size=(6, 4))
    cost = Figure("cost", "", False, rows.sum(axis=1).astype(float))
    genes = tuple(Gene(f"edge{i}", (1.0, 2.0, 3.0)) for i in range(6))
    space = TabularSpace("listed", genes, (("a", "b", "c"),) * 6, rows, (cost,))
    metric = FunctionMetric("score", "", lambda rows: weights[np.arange(6), rows].sum(axis=1), True)
    problem = Problem(space, {"score": metric}, ("score",), ())
    searcher, best, budget = make_strategy(strategy, problem, np.random.default_rng(0)), -np.inf, 100
    while budget:
        asked = searcher.ask(budget)
        assert space.is_valid(asked).all()
        gains = problem.gains(asked)
        searcher.tell(asked, gains, np.zeros(len(asked)))
        best, budget = max(best, float(gains.max())), budget - len(asked)
    assert best == pytest.approx(float(metric(rows).max()))


def test_batches_grow_and_the_model_does_not():
    space = SearchSpace.named("mbv3-32")
    macs = AdditiveMetric("macs", "MACs", space.costs(lambda block: block.macs, 6))
    score = FunctionMetric("score", "", lambda population: np.sqrt(macs(population)), True)
    problem = Problem(space, {"score": score, "macs": macs}, ("score",), (Constraint("macs", "<=", 1e7),))
    options = {"data": 60, "fitted_data": 40, "candidates": 50, "fit_steps": 5}
    strategy = make_strategy("bayesian", problem, np.random.default_rng(0), options)
    known = space.sample(3000, np.random.default_rng(1))
    strategy.tell(known, problem.gains(known), problem.violation(known))
    rows = strategy.ask(10_000)
    assert 100 < len(rows) <= 120
    assert (problem.violation(rows) <= 0).all()


@pytest.mark.parametrize("name", ["initial", "batch", "data", "fitted_data", "fit_steps", "candidates", "generations"])
def test_options_out_of_range_are_refused(name):
    with pytest.raises(QuantityError, match=name):
        BayesianOptions(**{name: 0})
