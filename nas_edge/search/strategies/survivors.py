"""Who survives on which island, with the linear models around them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from nas_edge.spaces import Population

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]
Index = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Survivors:
    """Island after island, each from best to worst.

    Attributes:
        rows: int8 [n, genes].
        gain, violation: float64 [n]; -inf and inf where a row is but a start that was not evaluated.
        island: [n], ascending.
        outer: [n], which width and resolution.
        has: [slots, n], the option at each place; -1 where it is empty.
        models: float32 [options, slots, n], what each option brings by the linear model around the row.
        spread: float32 [n], standard deviation of that.

    """

    rows: Population
    gain: Float
    violation: Float
    island: Index
    outer: Index
    has: Index
    models: Float32
    spread: Float32

    def islands(self) -> tuple[Index, Index]:
        """Start and size of each island."""
        _, start, size = np.unique(self.island, return_index=True, return_counts=True)
        return start, size

    @cached_property
    def shared(self) -> Float32:
        """The mean of each island's models, float32 [options, slots, islands]."""
        start, size = self.islands()
        mean: Float32 = np.add.reduceat(self.models, start, axis=2)
        mean /= size.astype(np.float32)
        return mean

    def take(self, chosen: Index) -> Survivors:
        """Some of them."""
        return Survivors(
            self.rows[chosen], self.gain[chosen], self.violation[chosen], self.island[chosen], self.outer[chosen],
            self.has[:, chosen], np.take(self.models, chosen, axis=2), self.spread[chosen],
        )  # fmt: skip

    def and_then(self, others: Survivors) -> Survivors:
        """These and others behind them."""
        return Survivors(
            *(
                np.concatenate([getattr(self, name), getattr(others, name)], axis=0 if name == "rows" else -1)
                for name in (field.name for field in fields(self))
            )
        )
