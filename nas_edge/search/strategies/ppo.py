"""Proximal policy optimisation (Schulman et al., 2017) over a factorised policy, with MnasNet's reward (Tan et al.,
2019), whose controller was trained by it.

Each batch is used for several steps; a step no longer pulls at architectures whose probability has changed by more than
the clip range. The policy is one probability for each choice of each gene; MnasNet's was a recurrent network. It
searches a trained supernet through a surrogate; MnasNet trained every network.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas_edge.errors import QuantityError
from nas_edge.search.problem import Problem
from nas_edge.search.strategies.base import register_strategy
from nas_edge.search.strategies.policy import Policy
from nas_edge.search.strategies.policy_search import GradientAscent, PolicyOptions, PolicySearch

Float = NDArray[np.float64]


@dataclass(frozen=True)
class PpoOptions(PolicyOptions):
    """Options of PPO, beside those of every policy gradient.

    Attributes:
        learning_rate: lower than for one step a batch.
        entropy: likewise.
        clip: relative change of an architecture's probability beyond which it is not changed further.
        epochs: steps a batch.

    """

    learning_rate: float = 0.05
    entropy: float = 0.01
    clip: float = 0.2
    epochs: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.clip > 0 or self.epochs < 1:
            raise QuantityError(f"options must keep clip > 0 and epochs >= 1, not {self.clip} and {self.epochs}")


class ClippedAscent:
    """Gradient ascent on PPO's clipped objective."""

    def __init__(self, options: PpoOptions) -> None:
        self._options, self._ascend = options, GradientAscent(options)

    def __call__(self, policy: Policy, choices: Float, advantage: Float) -> None:
        """Several steps on one batch."""
        before = policy.log_likelihood(choices)
        for _ in range(self._options.epochs):
            ratio = np.exp(policy.log_likelihood(choices) - before)
            self._ascend(policy, choices, clipped_weights(ratio, advantage, self._options.clip))


def clipped_weights(ratio: Float, advantage: Float, clip: float) -> Float:
    """What log-likelihoods are weighted with in the gradient of min(ratio * A, clip(ratio, 1 - c, 1 + c) * A).

    Args:
        ratio: float64 [n], probabilities now over those that the batch was drawn with.
        advantage: float64 [n], A.
        clip: c.

    Returns:
        float64 [n]; 0 where the clipped side is the lesser.

    """
    beyond = np.where(advantage > 0, ratio > 1 + clip, ratio < 1 - clip)
    weights: Float = np.where(beyond, 0.0, ratio * advantage)
    return weights


@register_strategy("ppo", PpoOptions)
def ppo(problem: Problem, options: PpoOptions, rng: np.random.Generator) -> PolicySearch:
    """A few steps of clipped gradient ascent a batch."""
    return PolicySearch(problem, options, ClippedAscent(options), rng)
