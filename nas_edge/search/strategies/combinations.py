"""Which single moves are worth making together: a knapsack for each of several architectures, by beam search."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas_edge.spaces import Population

Float = NDArray[np.float64]

MOVES = 48  # single moves that combinations are made of
BEAM = 48  # combinations that are extended by one more move
SPARE = 2  # times as many as are wanted are looked at
PRICES = np.concatenate([[0.0], np.geomspace(1 / 30, 30, 15)])  # in units of the mean gain for the mean cost
NEAR = 0.01  # of a limit: constraints with less room than this weigh alike


@dataclass(frozen=True, eq=False)
class Steps:
    """Single moves of some architectures, and what they are thought to bring.

    Attributes:
        rows: int8 [n, genes], where the moves start.
        moved: int8 [n, moves, genes].
        possible: bool [n, moves].
        gains: float [n, moves], what each adds to the objective.
        costs: float64 [n, moves, constraints], what each adds to the excess.
        room: float64 [n, constraints], by how much the row is below each limit.
        unit: [n, moves], moves of one unit exclude each other.

    """

    rows: Population
    moved: Population
    possible: NDArray[np.bool_]
    gains: Float
    costs: Float
    room: Float
    unit: NDArray[np.intp]


def combined(
    steps: Steps, counts: tuple[int, ...], new: Callable[[Population], NDArray[np.intp]]
) -> tuple[Population, NDArray[np.intp]]:
    """The combinations of 1, 2, 3 ... moves that promise most.

    What a combination gains and costs is taken to be the sum of its moves'. Moves that touch the same genes are not
    combined. Those that keep within the limits come first, by gain; then those that exceed them least. The search is
    narrowed to the moves, and the combinations, that are worth most at the price that the limits have (see `_prices`).

    Args:
        steps: the moves.
        counts: how many combinations of one move, of two, ... are wanted of each row.
        new: indices of rows int8 [n, genes] that are of use; others are left out, and the next best take their place.

    Returns:
        int8 [found, genes] and the index of the row that each comes from.

    """
    cost, price = _prices(steps)
    worth = np.where(steps.possible, steps.gains - price[:, None] * cost, -np.inf)
    moves = min(MOVES, worth.shape[1])
    top = np.argpartition(-worth, moves - 1, axis=1)[:, :moves]
    top = np.take_along_axis(top, np.argsort(-np.take_along_axis(worth, top, 1), axis=1, kind="stable"), 1)
    at = np.arange(len(top))[:, None]
    worth, gains, costs = worth[at, top], steps.gains[at, top], steps.costs[at, top]
    touched = (steps.moved[at, top] != steps.rows[:, None]).astype(np.float32)
    apart = (touched @ touched.transpose(0, 2, 1) == 0) & np.isfinite(worth)[:, None]
    # Moves are added in the order of their worth, so that no combination is met twice.
    apart &= np.triu(np.ones((moves, moves), bool), 1)
    beam = _Beam(np.broadcast_to(np.arange(moves), (len(top), moves))[:, :, None], gains, costs, worth)
    found: list[Population] = []
    owner: list[NDArray[np.intp]] = []
    for level, count in enumerate(counts):
        if level:
            beam = beam.narrowed().extended(gains, costs, worth, apart)
        row, place = beam.best(steps.room, SPARE * count)
        made = steps.rows[row]
        for member in top[row[:, None], beam.members[row, place]].T:
            moved = steps.moved[row, member]
            made = np.where(moved != steps.rows[row], moved, made)
        fresh = new(made)
        made, row = made[fresh], row[fresh]
        # Rows ascend: the place of each among those of its row.
        kept = np.arange(len(row)) - np.searchsorted(row, row) < count
        found.append(made[kept])
        owner.append(row[kept])
    return np.concatenate(found), np.concatenate(owner)


@dataclass(frozen=True, eq=False)
class _Beam:
    """Combinations of equally many moves: those moves, and sums over them; impossible ones are worth -infinity.

    Attributes:
        members: [n, size, moves of each], in the order of the moves' worth.
        gains, worth: float [n, size].
        costs: float64 [n, size, constraints].

    """

    members: NDArray[np.intp]
    gains: Float
    costs: Float
    worth: Float

    def narrowed(self) -> _Beam:
        """Those that are worth most."""
        size = min(BEAM, self.worth.shape[1])
        chosen = np.argpartition(-self.worth, size - 1, axis=1)[:, :size]
        at = np.arange(len(chosen))[:, None]
        return _Beam(self.members[at, chosen], self.gains[at, chosen], self.costs[at, chosen], self.worth[at, chosen])

    def extended(self, gains: Float, costs: Float, worth: Float, apart: NDArray[np.bool_]) -> _Beam:
        """Each with one more of the single moves, where `apart` [n, moves, moves] says that they go together."""
        n, size, depth = self.members.shape
        moves = gains.shape[1]
        wide = (n, size * moves)
        each = np.arange(n)[:, None, None]
        free = apart[each, self.members].all(axis=2)
        total = np.where(free, self.worth[:, :, None] + worth[:, None], -np.inf)
        members = np.empty((n, size, moves, depth + 1), np.intp)
        members[..., :depth] = self.members[:, :, None]
        members[..., depth] = np.arange(moves)
        return _Beam(
            members.reshape(*wide, depth + 1),
            (self.gains[:, :, None] + gains[:, None]).reshape(wide),
            (self.costs[:, :, None] + costs[:, None]).reshape(*wide, costs.shape[2]),
            total.reshape(wide),
        )

    def best(self, room: Float, count: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Row and place of the best `count` of each row: within the limits by gain, then by what they exceed."""
        over = np.maximum(self.costs - room[:, None], 0.0).sum(axis=2)
        # Beyond the limits a combination ranks behind all that are within.
        rank = np.where(over > 0, np.abs(self.gains).max(initial=0.0) + over, -self.gains)
        rank[~np.isfinite(self.worth)] = np.inf
        count = min(count, rank.shape[1])
        place = np.argpartition(rank, count - 1, axis=1)[:, :count]
        place = np.take_along_axis(place, np.argsort(np.take_along_axis(rank, place, 1), axis=1), 1).ravel()
        row = np.repeat(np.arange(len(rank)), count)
        kept = np.isfinite(self.worth[row, place])
        return row[kept], place[kept]


def _prices(steps: Steps) -> tuple[Float, Float]:
    """The cost of each move as one figure [n, moves], and what a unit of it is worth in gain [n].

    The price is the one at which the best move of each unit, taken together, just fill the room: the multiplier of the
    multiple-choice knapsack's linear relaxation (Sinha and Zoltners, 1979), found on a grid.
    """
    weight = 1.0 / (np.maximum(steps.room, 0.0) + NEAR)
    cost = (steps.costs * weight[:, None]).sum(axis=2)
    room = (steps.room * weight).sum(axis=1)
    size = np.where(steps.possible, np.abs(cost), 0.0).sum(axis=1)
    scale = np.where(steps.possible, np.abs(steps.gains), 0.0).sum(axis=1) / np.maximum(size, 1e-30)
    prices = PRICES * scale[:, None]
    value = steps.gains[:, None] - prices[:, :, None] * cost[:, None]
    value = np.where(steps.possible[:, None], np.maximum(value, 0.0), 0.0)
    # The best of each unit: moves in the order of their units, the units of all rows one after another.
    n, moves = steps.unit.shape
    order = np.argsort(steps.unit, axis=1, kind="stable")
    unit = np.take_along_axis(steps.unit, order, axis=1)
    value = np.take_along_axis(value, np.broadcast_to(order[:, None], value.shape), axis=2)
    starts = np.flatnonzero(np.diff(unit, axis=1, prepend=-1).ravel())
    flat = value.transpose(1, 0, 2).reshape(len(PRICES), n * moves)
    best = np.maximum.reduceat(flat, starts, axis=1)
    total = np.add.reduceat(best, np.searchsorted(starts, np.arange(n) * moves), axis=1)
    dual = total.T + prices * room[:, None]
    return cost, prices[np.arange(len(prices)), dual.argmin(axis=1)]
