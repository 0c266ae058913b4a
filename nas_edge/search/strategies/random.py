"""Random search: the yardstick. Every depth, kernel, ratio and resolution equally likely.

As all strategies here it searches a trained supernet through a surrogate, and trains nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas_edge.errors import QuantityError
from nas_edge.search.problem import Problem
from nas_edge.search.strategies.base import register_strategy
from nas_edge.spaces import Population


@dataclass(frozen=True)
class RandomOptions:
    """Options of random search.

    Attributes:
        batch: architectures a round.

    """

    batch: int = 2000

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise QuantityError(f"batch must be at least 1, not {self.batch}")


@register_strategy("random", RandomOptions)
class RandomSearch:
    """Samples and never learns (Li and Talwalkar, 2019, on why it belongs into every comparison)."""

    def __init__(self, problem: Problem, options: RandomOptions, rng: np.random.Generator) -> None:
        self._space, self._options, self._rng = problem.space, options, rng

    def ask(self, limit: int) -> Population:
        """The next samples."""
        return self._space.sample(min(limit, self._options.batch), self._rng)

    def tell(self, population: Population, objectives: NDArray[np.float64], violation: NDArray[np.float64]) -> None:
        """Nothing is learnt."""
