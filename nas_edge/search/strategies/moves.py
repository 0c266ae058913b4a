"""Neighbours of architectures, and which of their differences are worth combining."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nas_edge.spaces import Population, SearchSpace

Float = NDArray[np.float64]


def row_keys(population: Population, odd: NDArray[np.int64]) -> NDArray[np.int64]:
    """A 64-bit key of each row, [n]: with random odd factors [genes] unequal rows practically never share one."""
    keys: NDArray[np.int64] = population.astype(np.int64) @ odd
    return keys


def single_moves(space: SearchSpace, rows: Population) -> tuple[Population, NDArray[np.intp]]:
    """All architectures that differ from a row in one gene or one stage's depth.

    A stage made deeper repeats the genes of its last block.

    Args:
        space: of the rows.
        rows: int8 [n, genes].

    Returns:
        int8 [moves, genes] and, for each move, the index of its row.

    """
    layout = space.layout
    moves, parents = [], []
    for column, values in enumerate(layout.values):
        for value in values:
            where = np.flatnonzero((rows[:, column] != value) & (rows[:, column] != 0))
            moved = rows[where]
            moved[:, column] = value
            moves.append(moved)
            parents.append(where)
    depths = space.depths(rows)
    for s, stage in enumerate(layout.stages):
        for depth in stage.depths:
            where = np.flatnonzero(depths[:, s] != depth)
            moved = rows[where]
            last = depths[where, s] - 1
            for columns in (stage.kernels, stage.expands):
                slots = np.arange(len(columns))
                kept = moved[:, columns]
                filler = kept[np.arange(len(where)), last][:, None]
                filled = np.where(slots <= last[:, None], kept, filler)
                moved[:, columns] = np.where(slots < depth, filled, 0)
            moves.append(moved)
            parents.append(where)
    population, parent = np.concatenate(moves), np.concatenate(parents)
    valid = space.is_valid(population)
    return population[valid], parent[valid]


def combined_moves(
    row: Population, moves: Population, gains: Float, costs: Float, excess: Float, count: int
) -> Population:
    """The `count` pairs of moves that promise most.

    A pair's gain and cost are taken to be the sums of its moves'. Moves that touch the same genes are not
    combined. Those that promise to break no limit come first, by promised gain.

    Args:
        row: int8 [genes], where the moves start.
        moves: int8 [m, genes], each applied alone.
        gains: float64 [m], what each adds to the objective.
        costs: float64 [m, constraints], what each adds to the excess.
        excess: float64 [constraints], of the row.
        count: how many are wanted.

    Returns:
        int8 [up to count, genes].

    """
    touched = (moves != row).astype(np.float32)
    first, second = np.nonzero(np.triu(touched @ touched.T == 0, 1))
    gain = gains[first] + gains[second]
    over = np.maximum(excess + costs[first] + costs[second], 0).sum(axis=1)
    best = np.lexsort((-gain, over > 0))[:count]
    if not len(best):
        return moves[:0]
    pairs = np.where(moves[first[best]] != row, moves[first[best]], moves[second[best]])
    return pairs
