"""Neighbours of architectures, and which of their differences are worth combining."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from nas_edge.spaces import Population, Space

Float = NDArray[np.float64]

TRIPLE_PAIRS = 200  # pairs that triples are made of


def row_keys(population: Population, odd: NDArray[np.int64]) -> NDArray[np.int64]:
    """A 64-bit key of each row, [n]: with random odd factors [genes] unequal rows practically never share one."""
    keys: NDArray[np.int64] = population.astype(np.int64) @ odd
    return keys


def single_moves(space: Space, rows: Population) -> tuple[Population, NDArray[np.intp]]:
    """All architectures that differ from a row in one gene or one stage's depth.

    Blocks that make a stage deeper are alike, one move for each kernel and ratio that they may have.

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
            added = np.arange(len(stage.kernels))
            # Blocks that are added are all alike, of every kind; where none is, one version is enough.
            kinds = itertools.product(layout.values[stage.kernels[-1]], layout.values[stage.expands[-1]])
            for i, kind in enumerate(kinds):
                mine = where if i == 0 else where[depths[where, s] < depth]
                moved, present = rows[mine], depths[mine, s, None]
                for columns, value in zip((stage.kernels, stage.expands), kind, strict=True):
                    filled = np.where(added < present, moved[:, columns], value)
                    moved[:, columns] = np.where(added < depth, filled, 0)
                moves.append(moved)
                parents.append(mine)
    population, parent = np.concatenate(moves), np.concatenate(parents)
    valid = space.is_valid(population)
    return population[valid], parent[valid]


def combined_moves(
    row: Population, moves: Population, gains: Float, costs: Float, excess: Float, count: int
) -> Population:
    """The pairs and triples of moves that promise most, up to `count` of each.

    What a combination gains and costs is taken to be the sum of its moves'. Moves that touch the same genes are not
    combined. Those that promise to break no limit come first, by promised gain. Triples are made of the pairs that
    gain most for what they cost, at the rate of exchange between gain and cost that the single moves show.

    Args:
        row: int8 [genes], where the moves start.
        moves: int8 [m, genes], each applied alone.
        gains: float64 [m], what each adds to the objective.
        costs: float64 [m, constraints], what each adds to the excess.
        excess: float64 [constraints], of the row.
        count: how many are wanted.

    Returns:
        int8 [up to 2 * count, genes].

    """
    differs = moves != row
    touched = differs.astype(np.float32)
    apart = touched @ touched.T == 0
    first, second = np.nonzero(np.triu(apart, 1))
    if not len(first):
        return moves[:0]
    pair_gains, pair_costs = gains[first] + gains[second], costs[first] + costs[second]
    best = _promising(pair_gains, excess + pair_costs, count)
    pairs = np.where(differs[first[best]], moves[first[best]], moves[second[best]])
    total = costs.sum(axis=1)
    rate = float(gains @ total) / max(float(total @ total), 1e-30)
    worth = pair_gains - rate * pair_costs.sum(axis=1)
    kept = np.argpartition(-worth, TRIPLE_PAIRS)[:TRIPLE_PAIRS] if len(worth) > TRIPLE_PAIRS else np.arange(len(worth))
    pair, third = np.nonzero(apart[first[kept]] & apart[second[kept]])
    pair = kept[pair]
    # Each triple may be there three times, once for each of its pairs.
    best = _promising(pair_gains[pair] + gains[third], excess + pair_costs[pair] + costs[third], 3 * count)
    members = np.sort(np.stack([first[pair[best]], second[pair[best]], third[best]], axis=1), axis=1)
    _, once = np.unique(members, axis=0, return_index=True)
    best = best[np.sort(once)[:count]]
    pair, third = pair[best], third[best]
    triples = np.where(differs[first[pair]], moves[first[pair]], moves[second[pair]])
    return np.concatenate([pairs, np.where(differs[third], moves[third], triples)])


def _promising(gains: Float, excess: Float, count: int) -> NDArray[np.intp]:
    """Indices of the `count` best: those within the limits before the others, then by gain."""
    # Gains of those beyond the limits are moved below all others, so that one partition does.
    span = float(np.ptp(gains)) + 1.0 if len(gains) else 0.0
    rank = -(gains - span * (excess > 0).any(axis=1))
    best = np.argpartition(rank, count)[:count] if len(rank) > count else np.arange(len(rank))
    ordered: NDArray[np.intp] = best[np.argsort(rank[best], kind="stable")]
    return ordered
