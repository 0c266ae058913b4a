"""The least cost at a floor: found by walking budgets, held to brute force."""

from __future__ import annotations

import numpy as np
import pytest

from nas_edge.errors import QuantityError, SpaceError
from nas_edge.search import AdditiveMetric, Constraint, FunctionMetric, Problem, make_strategy, search
from nas_edge.search.strategies.fitting import fitting_strategy
from nas_edge.search.strategies.least import LeastOptions, suits_least
from nas_edge.spaces import SearchSpace
from tests.search.strategies.test_islands import bent_score, macs_of
from tests.search.strategy_contract import StrategyContract


def problem_at(space, share, more=(), score=None):
    """The least MACs at a quantile of the score among random architectures."""
    score = bent_score(space) if score is None else score
    floor = float(np.quantile(score(space.sample(2000, np.random.default_rng(0))), share))
    params = AdditiveMetric("params", "parameters", space.costs(lambda block: block.params, 4))
    metrics = {"accuracy": score, "macs": macs_of(space), "params": params}
    return Problem(space, metrics, ("macs",), (Constraint("accuracy", ">=", floor), *more))


@pytest.fixture(scope="module")
def listed():
    """A part of lite0 that is small enough to be listed."""
    fixed = {f"s{s}_d": (d,) for s, d in [(1, 1), (2, 2), (3, 2), (4, 1), (5, 2), (6, 1)]}
    fixed |= {f"s{s}_{b}_k": (3,) for s, b in [(1, 1), (2, 1), (3, 1), (5, 1), (6, 1), (4, 1), (5, 2)]}
    return SearchSpace.named("lite0").restrict(resolutions=(96, 128), **fixed)


class TestLeast(StrategyContract):
    name = "least"
    free = False  # without a floor there is nothing to look for

    @pytest.fixture
    def problem(self, tiny_space):
        return problem_at(tiny_space, 0.7)


def additive_score(space):
    score = space.costs(lambda block: block.macs**0.4, 6)
    return FunctionMetric("accuracy", "", score.sum, maximise=True, costs=score)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("score", [bent_score, additive_score])
def test_it_is_within_a_hundredth_of_brute_force(listed, score, share):
    problem, everything = problem_at(listed, share, score=score(listed)), listed.enumerate()
    met = problem.violation(everything) <= 0
    least = float(problem.metrics["macs"](everything[met]).min())
    result = search(
        listed, problem.metrics, problem.constraints, objective="macs", strategy="least", evaluations=20_000
    )
    assert problem.violation(result.best[None])[0] <= 0
    assert result.figures["macs"] <= least * 1.01


def test_it_is_the_default_and_better_than_evolution_at_equal_evaluations():
    space = SearchSpace.named("lite0")
    problem = problem_at(space, 0.9)
    assert fitting_strategy(problem) == "least"
    found = {}
    for strategy in ("auto", "evolution"):
        result = search(
            space, problem.metrics, problem.constraints, objective="macs", strategy=strategy, evaluations=10_000,
            look_for_slack=False,
        )  # fmt: skip
        assert problem.violation(result.best[None])[0] <= 0
        assert result.evaluations <= 10_000
        found[strategy] = result.figures["macs"]
    assert found["auto"] <= found["evolution"]


def test_other_limits_are_met_as_well(listed):
    everything = listed.enumerate()
    params = problem_at(listed, 0.5).metrics["params"]
    limit = Constraint("params", "<=", float(np.quantile(params(everything), 0.3)))
    problem = problem_at(listed, 0.5, more=(limit,))
    met = problem.violation(everything) <= 0
    result = search(
        listed, problem.metrics, problem.constraints, objective="macs", strategy="least", evaluations=20_000
    )
    assert problem.violation(result.best[None])[0] <= 0
    assert result.figures["macs"] <= problem.metrics["macs"](everything[met]).min() * 1.01


def test_a_floor_below_all_gives_the_cheapest_at_once(listed):
    score = bent_score(listed)
    problem = problem_at(listed, 0.5)
    low = Constraint("accuracy", ">=", float(score(listed.enumerate()).min()) - 1)
    lifted = Problem(listed, problem.metrics, ("macs",), (low,))
    result = search(listed, lifted.metrics, [low], objective="macs", strategy="least", look_for_slack=False)
    assert result.figures["macs"] == problem.metrics["macs"](listed.enumerate()).min()
    assert result.evaluations < 8000


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda p: Problem(p.space, p.metrics, ("accuracy",), p.constraints), "'accuracy' is none to be made small"),
        (lambda p: Problem(p.space, p.metrics, ("macs", "params"), p.constraints), "several objectives"),
        (lambda p: p.without(p.constraints), "there are 0 limits from below"),
        (
            lambda p: Problem(p.space, p.metrics, ("macs",), (Constraint("params", ">=", 1.0),)),
            "params >= 1 is none on a figure of which more is better",
        ),
    ],
)
def test_what_a_problem_lacks_is_said(listed, change, words):
    problem = change(problem_at(listed, 0.5))
    assert not suits_least(problem)
    with pytest.raises(SpaceError, match=words):
        make_strategy("least", problem, np.random.default_rng(0))


def test_a_figure_without_a_derivative_is_left_to_evolution(listed):
    plain = FunctionMetric("accuracy", "", bent_score(listed), maximise=True)
    assert fitting_strategy(problem_at(listed, 0.5, score=plain)) == "evolution"


@pytest.mark.parametrize("options", [{"looks": 0}, {"courses": -1}, {"jitter": 0.5}, {"margin": -0.1}])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(QuantityError):
        LeastOptions(**options)
