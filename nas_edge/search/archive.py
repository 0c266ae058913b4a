"""All that a search evaluated."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from nas_edge.search.constraints import order, total_violation
from nas_edge.spaces import Population

Float = NDArray[np.float64]


class Archive:
    """Architectures with their gains and their excess over each constraint, in the order of evaluation."""

    def __init__(self) -> None:
        self._rows: list[Population] = []
        self._gains: list[Float] = []
        self._excess: list[Float] = []

    def add(self, rows: Population, gains: Float, excess: Float) -> None:
        """Keep int8 [n, genes], float64 [n, objectives] and float64 [n, constraints]."""
        self._rows.append(rows)
        self._gains.append(gains)
        self._excess.append(excess)
        self.__dict__.pop("_joined", None)

    @cached_property
    def _joined(self) -> tuple[Population, Float, Float]:
        return np.concatenate(self._rows), np.concatenate(self._gains), np.concatenate(self._excess)

    @property
    def empty(self) -> bool:
        """Whether nothing was evaluated."""
        return not self._rows

    @property
    def rows(self) -> Population:
        """int8 [n, genes]."""
        return self._joined[0]

    @property
    def gains(self) -> Float:
        """Float64 [n, objectives], all to be maximised."""
        return self._joined[1]

    @property
    def gain(self) -> Float:
        """Float64 [n], the first objective."""
        return self.gains[:, 0]

    @property
    def excess(self) -> Float:
        """Float64 [n, constraints]."""
        return self._joined[2]

    @property
    def feasible(self) -> NDArray[np.intp]:
        """Indices of what meets all constraints."""
        return np.flatnonzero((self.excess <= 0).all(axis=1))

    def best(self, count: int) -> NDArray[np.intp]:
        """Indices of the best `count` in the first objective within the constraints, best first; perhaps none."""
        feasible = self.feasible
        gain = self.gain[feasible]
        if len(feasible) > count:
            feasible = feasible[np.argpartition(-gain, count - 1)[:count]]
        return feasible[np.lexsort((feasible, -self.gain[feasible]))]

    def nearest(self) -> int:
        """Index of what comes nearest to the constraints."""
        return int(order(self.gain, total_violation(self.excess))[0])
