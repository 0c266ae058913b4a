"""What policy gradients have in common: sample architectures from a policy, reward them, and climb."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from nas_edge.errors import QuantityError
from nas_edge.search.problem import Problem
from nas_edge.search.strategies.adam import Adam
from nas_edge.search.strategies.policy import Policy
from nas_edge.search.strategies.reward import Reward
from nas_edge.spaces import Population

Float = NDArray[np.float64]

LEAST_DEVIATION = 1e-12


@dataclass(frozen=True)
class PolicyOptions:
    """Options that REINFORCE and PPO share.

    Attributes:
        batch: architectures sampled from the policy before it changes.
        learning_rate: of Adam, on the logits.
        entropy: weight of the entropy bonus: standard deviations of the reward that a nat of entropy is worth.
        baseline_decay: of the moving mean of rewards that is subtracted from them, and of their moving variance.
        within: exponent of the reward where limits are met (see `Reward`).
        beyond: exponent of the reward where they are not.

    """

    batch: int = 50
    learning_rate: float = 0.1
    entropy: float = 0.03
    baseline_decay: float = 0.9
    within: float = 0.0
    beyond: float = -1.0

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise QuantityError(f"option batch must be at least 1, not {self.batch}")
        if not self.learning_rate > 0 or not self.entropy >= 0 or not 0 <= self.baseline_decay < 1:
            raise QuantityError("options must keep learning_rate > 0, entropy >= 0 and baseline_decay in 0 to below 1")
        Reward(self.within, self.beyond)


class Learner(Protocol):
    """How a policy changes after a batch."""

    def __call__(self, policy: Policy, choices: Float, advantage: Float, /) -> None:
        """Change the policy's logits.

        Args:
            policy: that the batch was drawn from.
            choices: float64 [n, size], as `Policy.choices`.
            advantage: float64 [n], rewards less the baseline, in their standard deviations.

        """


class PolicySearch:
    """A policy, the baseline of its rewards, and how it learns."""

    def __init__(self, problem: Problem, options: PolicyOptions, learn: Learner, rng: np.random.Generator) -> None:
        self._problem, self._options, self._learn, self._rng = problem, options, learn, rng
        self.policy = Policy(problem.space)
        self._reward = Reward(options.within, options.beyond)
        self._moments: tuple[float, float] | None = None
        self._asked: Population | None = None

    def ask(self, limit: int) -> Population:
        """A batch from the policy; an architecture that it prefers may come again."""
        self._asked = self.policy.sample(min(limit, self._options.batch), self._rng)
        return self._asked

    def tell(self, population: Population, objectives: Float, violation: Float) -> None:
        """Reward it and learn; nothing from what the policy did not choose, of which its gradient knows nothing."""
        if self._asked is None or not np.array_equal(population, self._asked):
            return
        reward = self._reward.of(self._problem, population, objectives[:, 0], violation)
        self._learn(self.policy, self.policy.choices(population), self._advantage(reward))

    def _advantage(self, reward: Float) -> Float:
        """Rewards less the baseline that stood before them, in moving standard deviations."""
        now = float(reward.mean()), float(reward.var())
        mean, variance = now if self._moments is None else self._moments
        advantage: Float = (reward - mean) / max(variance**0.5, LEAST_DEVIATION * max(abs(mean), 1.0))
        kept = self._options.baseline_decay
        self._moments = kept * mean + (1 - kept) * now[0], kept * variance + (1 - kept) * now[1]
        return advantage


class GradientAscent:
    """Adam on the logits, along the policy gradient and that of the entropy bonus."""

    def __init__(self, options: PolicyOptions) -> None:
        self._adam, self._entropy = Adam(options.learning_rate), options.entropy

    def __call__(self, policy: Policy, choices: Float, weights: Float) -> None:
        """One step up the mean of weights [n] times log-likelihoods."""
        gradient = policy.likelihood_gradient(choices, weights / len(weights))
        policy.logits = policy.logits + self._adam.step(gradient + self._entropy * policy.entropy_gradient())
