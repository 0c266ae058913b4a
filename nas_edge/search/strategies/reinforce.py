"""REINFORCE with a baseline (Williams, 1992; as a search: Zoph and Le, 2017) over a factorised policy.

The reward is that of MnasNet (Tan et al., 2019); the policy is one probability for each choice of each gene instead of
a recurrent controller, as in ProxylessNAS (Cai et al., 2019). It searches a trained supernet through a surrogate: these
papers trained each network, or the supernet along with the policy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nas_edge.search.problem import Problem
from nas_edge.search.strategies.base import register_strategy
from nas_edge.search.strategies.policy_search import GradientAscent, PolicyOptions, PolicySearch


@dataclass(frozen=True)
class ReinforceOptions(PolicyOptions):
    """Options of REINFORCE: those of every policy gradient."""


@register_strategy("reinforce", ReinforceOptions)
def reinforce(problem: Problem, options: ReinforceOptions, rng: np.random.Generator) -> PolicySearch:
    """A step of gradient ascent a batch."""
    return PolicySearch(problem, options, GradientAscent(options), rng)
