"""What a search needs of a space: genes as columns, populations as arrays. Lowering to blocks is not part of it.

`SearchSpace` lowers to blocks and can be trained, priced, exported; `TabularSpace` is a list with figures. Strategies
take either, through this protocol alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nas_edge.spaces.space import Gene
from nas_edge.spaces.terms import Population
from nas_edge.spaces.variation import Layout


class Space(Protocol):
    """Architectures as rows of small integers, int8 [n, genes]: index of the choice plus one, 0 = absent."""

    @property
    def name(self) -> str:
        """For people and for files."""

    @property
    def genes(self) -> tuple[Gene, ...]:
        """The columns of a population, in order."""

    @property
    def columns(self) -> dict[str, int]:
        """Column of each gene by name."""

    @property
    def layout(self) -> Layout:
        """Values of each column and the stages, of which there may be none (`globals` is then all columns)."""

    def size(self) -> int:
        """Exact number of architectures."""

    def sample(self, n: int, rng: np.random.Generator) -> Population:
        """Random ones, int8 [n, genes]."""

    def mutate(self, population: Population, rng: np.random.Generator, rate: float = ...) -> Population:
        """A changed copy: each gene drawn anew with probability `rate`."""

    def crossover(self, a: Population, b: Population, rng: np.random.Generator) -> Population:
        """Children int8 [n, genes] of parents `a` and `b`."""

    def repair(self, population: NDArray[np.integer[Any]]) -> Population:
        """The nearest rows that are in the space."""

    def is_valid(self, population: NDArray[np.integer[Any]]) -> NDArray[np.bool_]:
        """Bool [n]: rows that are in the space."""

    def smallest(self) -> Population:
        """int8 [genes]: the architecture that is likely to cost least."""

    def largest(self) -> Population:
        """int8 [genes]: the one that is likely to cost most."""

    def enumerate(self, limit: int = ...) -> Population:
        """Every architecture, int8 [size, genes]. Raises SpaceError above `limit`."""

    def depths(self, population: Population) -> NDArray[np.int64]:
        """Blocks of each stage, int64 [n, stages]."""

    def to_json(self, arch: Population) -> dict[str, Any]:
        """One row as plain data."""

    def from_json(self, data: Any, where: str = ...) -> Population:
        """The inverse, int8 [genes]. Raises ArchitectureError."""

    def restrict(self, resolutions: Iterable[int] | None = None, **fixed: Iterable[float]) -> Space:
        """The same genes with fewer values to choose from. Raises SpaceError."""
