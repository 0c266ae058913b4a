"""Which architectures were evaluated already."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nas_edge.search.strategies.moves import row_keys
from nas_edge.spaces import Population, Space

SAMPLES = 8  # random rows drawn for each new one that is wanted


class Visited:
    """A growing set of architectures of one space, kept as sorted 64-bit keys."""

    def __init__(self, space: Space, rng: np.random.Generator) -> None:
        self._space, self._rng = space, rng
        self._odd = rng.integers(1, 2**63 - 1, len(space.genes), np.int64) | 1
        self._keys = np.zeros(0, np.int64)

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, rows: Population) -> None:
        """Remember int8 [n, genes]."""
        keys = np.unique(row_keys(rows, self._odd))
        keys = keys[~self._known(keys)]
        self._keys = np.insert(self._keys, np.searchsorted(self._keys, keys), keys)

    def new(self, rows: Population) -> NDArray[np.intp]:
        """Ascending indices of those not added yet, each once, of int8 [n, genes]."""
        keys, first = np.unique(row_keys(rows, self._odd), return_index=True)
        return np.sort(first[~self._known(keys)])

    def fresh(self, rows: Population) -> Population:
        """Those not added yet, each once, in the order given: int8 [up to n, genes]."""
        return rows[self.new(rows)]

    def sample(self, n: int) -> Population:
        """Up to `n` random architectures not added yet, int8; none where a small space is practically used up."""
        return self.fresh(self._space.sample(SAMPLES * n, self._rng))[:n]

    def _known(self, keys: NDArray[np.int64]) -> NDArray[np.bool_]:
        if not len(self._keys):
            return np.zeros(len(keys), bool)
        place = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        known: NDArray[np.bool_] = self._keys[place] == keys
        return known
