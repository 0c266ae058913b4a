"""REINFORCE and PPO: the contract, gradients held to finite differences, MnasNet's reward."""

from __future__ import annotations

import numpy as np
import pytest

from nas_edge.errors import QuantityError
from nas_edge.search import AdditiveMetric, Constraint, FunctionMetric, Problem, make_strategy
from nas_edge.search.strategies.adam import Adam
from nas_edge.search.strategies.policy import Policy
from nas_edge.search.strategies.ppo import PpoOptions, clipped_weights
from nas_edge.search.strategies.reinforce import ReinforceOptions
from nas_edge.search.strategies.reward import Reward
from tests.search.strategy_contract import StrategyContract


class PolicyGradientContract:
    def test_it_comes_to_prefer_what_is_best_within_the_limit(self, problem):
        # As accuracy does, the objective grows far slower than what is limited: beyond the limit nothing is to be won.
        macs = problem.metrics["macs"]
        score = FunctionMetric("accuracy", "", lambda population: macs(population) ** 0.07, maximise=True)
        problem = Problem(problem.space, {"accuracy": score, "macs": macs}, ("accuracy",), problem.constraints)
        strategy = make_strategy(self.name, problem, np.random.default_rng(0), {"entropy": 0.0})
        for _ in range(80):
            rows = strategy.ask(10**6)
            strategy.tell(rows, problem.gains(rows), problem.violation(rows))
        rows, every = strategy.ask(10**6), problem.space.enumerate()
        gains = problem.gains(every[problem.violation(every) == 0])
        preferred = problem.gains(rows[problem.violation(rows) == 0])
        assert len(preferred) > 0.5 * len(rows)
        assert np.median(preferred) > np.quantile(gains, 0.95)

    def test_it_learns_nothing_from_what_it_did_not_choose(self, problem):
        strategy = make_strategy(self.name, problem, np.random.default_rng(0))
        rows = problem.space.sample(50, np.random.default_rng(1))
        strategy.tell(rows, problem.gains(rows), problem.violation(rows))
        assert (strategy.policy.logits == 0).all()


class TestReinforce(PolicyGradientContract, StrategyContract):
    name = "reinforce"

    def test_an_entropy_bonus_that_outweighs_everything_keeps_the_policy_uniform(self, problem):
        strategy = make_strategy(self.name, problem, np.random.default_rng(0), {"entropy": 1e6})
        before = strategy.policy.entropy()
        for _ in range(30):
            rows = strategy.ask(10**6)
            strategy.tell(rows, problem.gains(rows), problem.violation(rows))
        assert strategy.policy.entropy() == pytest.approx(before, rel=0.05)


class TestPpo(PolicyGradientContract, StrategyContract):
    name = "ppo"


@pytest.mark.parametrize(
    "options",
    [
        {"batch": 0},
        {"learning_rate": 0.0},
        {"entropy": -1.0},
        {"baseline_decay": 1.0},
        {"within": 0.1},
        {"beyond": 0.0},
    ],
)
@pytest.mark.parametrize("kind", [ReinforceOptions, PpoOptions])
def test_options_out_of_range_are_refused(kind, options):
    with pytest.raises(QuantityError):
        kind(**options)


@pytest.mark.parametrize("options", [{"clip": 0.0}, {"epochs": 0}])
def test_options_of_ppo_out_of_range_are_refused(options):
    with pytest.raises(QuantityError):
        PpoOptions(**options)


@pytest.fixture
def policy(tiny_space):
    policy = Policy(tiny_space)
    policy.logits = np.random.default_rng(0).normal(size=len(policy.logits))
    return policy


def by_differences(policy, function, step=1e-5):
    """Gradient of a function of the policy by its logits."""
    logits, gradient = policy.logits, np.empty(len(policy.logits))
    for i in range(len(logits)):
        shift = np.eye(1, len(logits), i)[0] * step
        policy.logits = logits + shift
        above = function()
        policy.logits = logits - shift
        gradient[i] = (above - function()) / (2 * step)
    policy.logits = logits
    return gradient


def test_the_gradient_of_the_likelihood_is_that_of_finite_differences(policy, tiny_space):
    rng = np.random.default_rng(1)
    choices, weights = policy.choices(tiny_space.sample(20, rng)), rng.normal(size=20)
    expected = by_differences(policy, lambda: float(weights @ policy.log_likelihood(choices)))
    assert policy.likelihood_gradient(choices, weights) == pytest.approx(expected, abs=1e-7)


def test_the_gradient_of_the_entropy_is_that_of_finite_differences(policy):
    assert policy.entropy_gradient() == pytest.approx(by_differences(policy, policy.entropy), abs=1e-7)


def test_the_gradient_of_the_clipped_objective_is_that_of_finite_differences(policy, tiny_space):
    rng = np.random.default_rng(2)
    choices, advantage, clip = policy.choices(tiny_space.sample(50, rng)), rng.normal(size=50), 0.2
    before = policy.log_likelihood(choices)
    policy.logits = policy.logits + 0.1 * rng.normal(size=len(policy.logits))

    def ratio():
        return np.exp(policy.log_likelihood(choices) - before)

    def objective():
        return float(np.minimum(ratio() * advantage, np.clip(ratio(), 1 - clip, 1 + clip) * advantage).sum())

    weights = clipped_weights(ratio(), advantage, clip)
    assert 0 < (weights == 0).sum() < 50
    assert policy.likelihood_gradient(choices, weights) == pytest.approx(by_differences(policy, objective), abs=1e-6)


def test_likelihoods_of_all_architectures_add_up_to_one(policy, tiny_space):
    likelihood = np.exp(policy.log_likelihood(policy.choices(tiny_space.enumerate())))
    assert likelihood.sum() == pytest.approx(1)


def test_architectures_are_sampled_as_often_as_they_are_likely(policy, tiny_space):
    every = tiny_space.enumerate()
    likelihood = np.exp(policy.log_likelihood(policy.choices(every)))
    rows = policy.sample(20_000, np.random.default_rng(0))
    likeliest = np.argsort(-likelihood)[:10]
    counted = np.array([(rows == every[i]).all(axis=1).mean() for i in likeliest])
    assert np.abs(counted - likelihood[likeliest]).max() < 4 * np.sqrt(likelihood[likeliest[0]] / 20_000)


def test_a_policy_that_is_quite_sure_has_finite_gradients(policy, tiny_space):
    policy.logits = policy.logits * 1e4
    choices = policy.choices(tiny_space.sample(20, np.random.default_rng(0)))
    assert np.isfinite(policy.likelihood_gradient(choices, np.ones(20))).all()
    assert np.isfinite(policy.entropy_gradient()).all()


class TestReward:
    @pytest.fixture
    def problem(self, tiny_space):
        macs = AdditiveMetric("macs", "MACs", tiny_space.costs(lambda block: block.macs, 4))
        limit = float(np.median(macs(tiny_space.enumerate())))
        return Problem(tiny_space, {"macs": macs}, ("macs",), (Constraint("macs", "<=", limit),))

    @pytest.mark.parametrize(("within", "beyond"), [(0.0, -1.0), (-0.07, -0.07)])
    def test_it_is_accuracy_times_a_power_of_latency_over_budget(self, problem, within, beyond):
        rows = problem.space.sample(50, np.random.default_rng(0))
        accuracy = np.random.default_rng(1).uniform(0.5, 0.9, 50)
        used = problem.metrics["macs"](rows) / problem.constraints[0].limit
        expected = accuracy * used ** np.where(used <= 1, within, beyond)
        found = Reward(within, beyond).of(problem, rows, accuracy, problem.violation(rows))
        assert found == pytest.approx(expected)

    def test_what_breaks_a_limit_is_worth_less_whatever_the_sign_of_the_objective(self, problem):
        rows = problem.space.sample(3, np.random.default_rng(0))
        for gain in (0.8, -20.0):
            reward = Reward().of(problem, rows, np.full(3, gain), np.array([0.0, 0.1, 0.5]))
            assert (np.diff(reward) < 0).all()
            assert reward[0] == gain


def test_adam_takes_the_steps_of_the_paper():
    adam, first, second = Adam(0.1), np.array([1.0, -4.0]), np.array([1.0, 2.0])
    assert adam.step(first) == pytest.approx([0.1, -0.1])
    mean, square = 0.9 * 0.1 * first + 0.1 * second, 0.999 * 0.001 * first**2 + 0.001 * second**2
    expected = 0.1 * (mean / (1 - 0.9**2)) / np.sqrt(square / (1 - 0.999**2))
    assert adam.step(second) == pytest.approx(expected, rel=1e-6)
