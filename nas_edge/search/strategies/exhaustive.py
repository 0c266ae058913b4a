"""Every architecture of a small space: as exact as the surrogate of the trained supernet is; nothing is trained."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas_edge.search.problem import Problem
from nas_edge.search.strategies.base import register_strategy
from nas_edge.spaces import Population


@dataclass(frozen=True)
class ExhaustiveOptions:
    """Options of exhaustive search.

    Attributes:
        limit: the largest space it agrees to list.

    """

    limit: int = 1_000_000


@register_strategy("exhaustive", ExhaustiveOptions)
class Exhaustive:
    """Lists the space. Raises SpaceError for one that is too large."""

    def __init__(self, problem: Problem, options: ExhaustiveOptions, rng: np.random.Generator) -> None:
        self._rest = problem.space.enumerate(options.limit)

    def ask(self, limit: int) -> Population:
        """The next ones in lexicographic order."""
        batch, self._rest = self._rest[:limit], self._rest[limit:]
        return batch

    def tell(self, population: Population, objectives: NDArray[np.float64], violation: NDArray[np.float64]) -> None:
        """Nothing is learnt."""
