"""Small changes of architectures: each gene and each stage's depth alone, for many rows at once."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from nas_edge.spaces import Population, Space


def row_keys(population: Population, odd: NDArray[np.int64]) -> NDArray[np.int64]:
    """A 64-bit key of each row, [n]: with random odd factors [genes] unequal rows practically never share one."""
    keys: NDArray[np.int64] = population.astype(np.int64) @ odd
    return keys


@dataclass(frozen=True, eq=False)
class Moves:
    """All small moves that a space knows.

    A move writes one gene of a block that is there, or both of them, or makes a stage as deep as it says: blocks beyond
    are taken away, and those that are added are all alike, one move for each kernel and ratio that they may have.

    Attributes:
        written: int8 [moves, genes], what is written, 0 where nothing is.
        always: bool [moves, genes], where that is written whatever was there; elsewhere only into absent genes.
        wiped: bool [moves, genes], genes that become 0.
        genes: [moves, 2], the genes that a move writes, twice the same where it is one; -1 of a move of depth.
        stage: [moves], the stage of a move of depth; -1 of others.
        depth: [moves], what its depth becomes; -1 of others.
        again: bool [moves], another version of the same depth: of use only where blocks are added.

    """

    written: Population
    always: NDArray[np.bool_]
    wiped: NDArray[np.bool_]
    genes: NDArray[np.intp]
    stage: NDArray[np.intp]
    depth: NDArray[np.int64]
    again: NDArray[np.bool_]

    @classmethod
    def of(cls, space: Space, *, both: bool = False) -> Moves:
        """All of a space, with those that write both genes of a block or without."""
        layout = space.layout
        width = len(layout.values)
        single = [((c, c), (value, value)) for c, values in enumerate(layout.values) for value in values]
        blocks = [pair for stage in layout.stages for pair in zip(stage.kernels, stage.expands, strict=True)]
        double = [
            ((k, e), values) for k, e in blocks for values in itertools.product(layout.values[k], layout.values[e])
        ]
        pairs = single + (double if both else [])
        depths = [
            (s, int(depth), kind, i > 0)
            for s, stage in enumerate(layout.stages)
            for depth in stage.depths
            for i, kind in enumerate(
                itertools.product(layout.values[stage.kernels[-1]], layout.values[stage.expands[-1]])
            )
        ]
        first, count = len(pairs), len(pairs) + len(depths)
        moves = cls(
            np.zeros((count, width), np.int8),
            np.zeros((count, width), bool),
            np.zeros((count, width), bool),
            np.array([columns for columns, _ in pairs] + [(-1, -1)] * len(depths), np.intp).reshape(count, 2),
            np.array([-1] * first + [s for s, _, _, _ in depths], np.intp),
            np.array([-1] * first + [depth for _, depth, _, _ in depths], np.int64),
            np.array([False] * first + [again for _, _, _, again in depths], bool),
        )
        for i, (columns, values) in enumerate(pairs):
            moves.written[i, list(columns)], moves.always[i, list(columns)] = values, True
        for i, (s, depth, kind, _) in enumerate(depths, first):
            stage = layout.stages[s]
            for columns, value in zip((stage.kernels, stage.expands), kind, strict=True):
                moves.wiped[i, columns[depth:]] = True
                for column in columns[:depth]:
                    # A gene that is held takes what it may have.
                    allowed = layout.values[column].astype(np.int64)
                    moves.written[i, column] = allowed[np.abs(allowed - int(value)).argmin()]
        return moves

    @cached_property
    def unit(self) -> NDArray[np.intp]:
        """[moves], a number for what a move is about: a gene, a block or a stage's depth. Such moves exclude others."""
        width = self.wiped.shape[1]
        double = self.genes[:, 0] != self.genes[:, 1]
        unit = np.where(self.stage >= 0, width + self.stage, self.genes[:, 0])
        return np.where(double, unit + 2 * width, unit)

    def possible(self, space: Space, rows: Population) -> NDArray[np.bool_]:
        """Bool [n, moves]: which of them change all that they are about in a row, int8 [n, genes]."""
        possible = np.empty((len(rows), len(self.unit)), bool)
        deep = self.stage >= 0
        of_genes = np.flatnonzero(~deep)
        columns = self.genes[of_genes]
        old = rows[:, columns]
        possible[:, of_genes] = ((old != 0) & (old != self.written[of_genes[:, None], columns])).all(axis=2)
        if deep.any():
            depths = space.depths(rows)[:, self.stage[deep]]
            possible[:, deep] = (self.depth[deep] > depths) | ((self.depth[deep] < depths) & ~self.again[deep])
        return possible

    def apply(self, rows: Population, which: NDArray[np.intp]) -> Population:
        """What rows become.

        Args:
            rows: int8 [n, genes].
            which: [n, some], indices of moves of each row.

        Returns:
            int8 [n, some, genes].

        """
        written, present = self.written[which], rows[:, None]
        moved: Population = np.where(self.always[which] | ((present == 0) & (written > 0)), written, present)
        moved[self.wiped[which]] = 0
        return moved


def single_moves(space: Space, rows: Population) -> tuple[Population, NDArray[np.intp]]:
    """All architectures that differ from a row in one gene or one stage's depth.

    Args:
        space: of the rows.
        rows: int8 [n, genes].

    Returns:
        int8 [neighbours, genes] and, for each of them, the index of its row.

    """
    moves = Moves.of(space)
    parent, move = np.nonzero(moves.possible(space, rows))
    moved = moves.apply(rows[parent], move[:, None])[:, 0]
    if space.layout.stages:
        return moved, parent
    # A space without stages may be a list with gaps.
    listed = space.is_valid(moved)
    return moved[listed], parent[listed]
