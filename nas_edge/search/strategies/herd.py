"""The survivors of an evolution, in niches: networks of one width and resolution compete with each other first.

Which resolution is best shows only once its networks are good; without niches the first good one takes all.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from nas_edge.search.constraints import order
from nas_edge.spaces import Population, Space

Float = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Herd:
    """Survivors, niche after niche, each from best to worst.

    Attributes:
        rows: int8 [n, genes].
        gain: float64 [n], to be maximised.
        violation: float64 [n].
        niche: [n], the niche of each: its genes of width and resolution as one number.
        globals: number of leading genes that make a niche.

    """

    rows: Population
    gain: Float
    violation: Float
    niche: NDArray[np.int64]
    globals: int

    @classmethod
    def empty(cls, space: Space) -> Herd:
        """No survivors yet."""
        nothing = np.zeros((0, len(space.genes)), np.int8)
        return cls(nothing, np.zeros(0), np.zeros(0), np.zeros(0, np.int64), space.layout.globals)

    def with_rows(self, rows: Population, gain: Float, violation: Float) -> Herd:
        """These added, unsorted."""
        niche = np.zeros(len(rows), np.int64)
        for column in range(self.globals):
            niche = niche * 128 + rows[:, column]
        return Herd(
            np.concatenate([self.rows, rows]),
            np.concatenate([self.gain, gain]),
            np.concatenate([self.violation, violation]),
            np.concatenate([self.niche, niche]),
            self.globals,
        )

    def survivors(self, size: int, niches: int) -> Herd:
        """The best of the best niches, `size` in all, the niches equally large where they can be."""
        best = order(self.gain, self.violation)
        _, first, inverse = np.unique(self.niche[best], return_index=True, return_inverse=True)
        # Niches ranked by their best: first appearance in the order of all.
        rank = np.empty(len(first), np.intp)
        rank[np.argsort(first)] = np.arange(len(first))
        rank = rank[inverse]
        kept = min(niches, len(first))
        by_niche = np.argsort(rank, kind="stable")
        by_niche = by_niche[rank[by_niche] < kept]
        starts = np.searchsorted(rank[by_niche], np.arange(kept))
        place = np.arange(len(by_niche)) - starts[rank[by_niche]]
        chosen = best[by_niche[place < max(1, size // kept)]]
        return Herd(self.rows[chosen], self.gain[chosen], self.violation[chosen], self.niche[chosen], self.globals)

    @cached_property
    def _starts(self) -> NDArray[np.intp]:
        """Start of each niche, and the end."""
        changes = np.flatnonzero(np.diff(self.niche)) + 1
        return np.concatenate([[0], changes, [len(self.rows)]]).astype(np.intp)

    def pairs(self, n: int, rng: np.random.Generator) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Indices of `n` pairs of parents of one niche; the best twice as often as the average."""
        starts = self._starts
        niche = rng.integers(len(starts) - 1, size=n)
        size = np.diff(starts)[niche]
        places = (size * (1 - np.sqrt(1 - rng.random((2, n))))).astype(np.intp)
        return starts[niche] + places[0], starts[niche] + places[1]

    def by_niche(self) -> NDArray[np.intp]:
        """All indices: the best of each niche, then the second of each, and so on."""
        starts = self._starts
        place = np.arange(len(self.rows)) - np.repeat(starts[:-1], np.diff(starts))
        return np.argsort(place, kind="stable")
