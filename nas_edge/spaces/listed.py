"""Rows of a list by their content: which is this one, and which comes nearest to that one."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int8]

_CHUNK = 2**22  # distances held at a time, one byte each


class ListedRows:
    """Distinct rows with their positions.

    Args:
        rows: int8 [n, genes], each once, at least one; at most 254 genes.

    """

    def __init__(self, rows: Rows) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def _odd(self) -> NDArray[np.int64]:
        """Factors under which the rows have distinct 64-bit keys."""
        for seed in range(8):
            odd: NDArray[np.int64] = np.random.default_rng(seed).integers(1, 2**63 - 1, (self.rows.shape[1],)) | 1
            if len(np.unique(self.rows.astype(np.int64) @ odd)) == len(self.rows):
                return odd
        raise ValueError("rows are listed twice")

    @cached_property
    def _sorted(self) -> tuple[NDArray[np.int64], NDArray[np.intp]]:
        keys = self.rows.astype(np.int64) @ self._odd
        by_key = np.argsort(keys)
        return keys[by_key], by_key

    def find(self, population: NDArray[np.integer[Any]]) -> NDArray[np.intp]:
        """Position of each row of int [n, genes] in the list, [n]; -1 for those that are not in it."""
        keys, by_key = self._sorted
        wanted = population.astype(np.int64) @ self._odd
        place = by_key[np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)]
        # Rows from elsewhere may share a key with a listed one: the content decides.
        return np.where((self.rows[place] == population).all(axis=1), place, -1)

    def nearest(
        self, population: NDArray[np.integer[Any]], other_than: NDArray[np.intp] | None = None
    ) -> NDArray[np.intp]:
        """Position of the listed row that differs in fewest genes, [n]; the first of several.

        Args:
            population: int [n, genes].
            other_than: for each a position that is not wanted (-1 for none); ignored in a list of one.

        """
        found = np.empty(len(population), np.intp)
        step = max(1, _CHUNK // len(self.rows))
        columns = np.ascontiguousarray(self.rows.T)
        for start in range(0, len(population), step):
            part = population[start : start + step]
            distance = np.zeros((len(part), len(self.rows)), np.uint8)
            differs = np.empty(distance.shape, bool)
            for column, listed in enumerate(columns):
                np.not_equal(part[:, column, None], listed, out=differs)
                distance += differs.view(np.uint8)
            if other_than is not None:
                unwanted = other_than[start : start + step]
                some = np.flatnonzero(unwanted >= 0)
                distance[some, unwanted[some]] = 255
            found[start : start + step] = distance.argmin(axis=1)
        return found
