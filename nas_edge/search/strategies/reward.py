"""The reward of MnasNet (Tan et al., 2019): the objective, scaled by a power of how far limits are used."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas_edge.errors import QuantityError
from nas_edge.search.problem import Problem
from nas_edge.spaces import Population

Float = NDArray[np.float64]

LEAST_USE = 0.01  # of a limit; a ">=" that is met twofold uses nothing of it


@dataclass(frozen=True)
class Reward:
    """accuracy * (latency / budget)^w, for any objective and any number of limits.

    The paper's "hard" variant is within = 0, beyond = -1; its "soft" one -0.07 for both, which trades a little of the
    budget for accuracy and so need not end within it.

    Attributes:
        within: exponent w where a limit is met; 0 or less.
        beyond: exponent w where it is not; below 0.

    """

    within: float = 0.0
    beyond: float = -1.0

    def __post_init__(self) -> None:
        if self.within > 0 or not self.beyond < 0:
            raise QuantityError("exponents of the reward must keep within <= 0 and beyond < 0")

    def of(self, problem: Problem, rows: Population, gain: Float, violation: Float) -> Float:
        """Rewards, float64 [n].

        Args:
            problem: whose limits count.
            rows: int8 [n, genes].
            gain: float64 [n], objective to be maximised. Where it is negative (a figure to be made small) it is
                divided by the power, so that it falls as well.
            violation: float64 [n], total relative excess: latency / budget - 1.

        """
        scale = (1.0 + violation) ** self.beyond
        if self.within:
            used = np.clip(1.0 + problem.excess(rows), LEAST_USE, 1.0)
            scale = scale * np.prod(used, axis=1) ** self.within
        reward: Float = np.where(gain > 0, gain * scale, gain / scale)
        return reward
