"""Evolution: (mu + lambda) over arrays, helped by the constraints, polished by combined single moves. The default where
a problem shows nothing but figures.

The loop is that of Once-for-All's finder (Cai et al., 2020): parents by rank, uniform crossover, mutation, the best
survive. Four things are added. Networks of one resolution compete with each other first (see `herd`). Children over a
limit are pulled back towards a parent that meets it, before anything is spent on them. Nothing is evaluated twice. And
after a while the neighbours of the best survivors are evaluated (each block and each depth changed alone); since
networks are nearly additive, their gains say which changes are worth trying together: as small knapsacks where the
limits are sums over blocks (see `swaps`), as pairs and triples of changes where they are not. It searches a
trained supernet through a surrogate, as that finder does; nothing is trained.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nas_edge.errors import QuantityError
from nas_edge.search.problem import Problem
from nas_edge.search.strategies.base import register_strategy
from nas_edge.search.strategies.herd import Herd
from nas_edge.search.strategies.moves import combined_moves, row_keys, single_moves
from nas_edge.search.strategies.swaps import BlockSwaps, Swaps
from nas_edge.spaces import Population

Float = NDArray[np.float64]

ATTEMPTS = 8  # generations of nothing but known architectures before random ones are drawn
KEPT = 200  # survivors, as long as nobody has said how many evaluations there are
LEAST_FRESH = 0.5  # share of children not seen before, below which more genes are mutated


@dataclass(frozen=True)
class EvolutionOptions:
    """Options of evolution.

    Attributes:
        population: survivors of a generation (mu); 0 for a tenth of the evaluations, at most 200.
        children: architectures of a generation (lambda); 0 for a twentieth of the evaluations, at most 1000.
        initial: random architectures at the start; 0 for a tenth of the evaluations, at most 2000.
        crossover: share of children that have two parents.
        mutated_genes: expected number of genes drawn anew in a child.
        polish_every: generations between two rounds of combined moves; 0 for never.
        polish_from: share of the evaluations after which polishing begins.
        polished: survivors polished in a round.
        combinations: pairs, and as many triples, of moves tried for each of them; or knapsacks, of both numbers.
        niches: pairs of width and resolution that survive side by side at first; ever fewer do.
        niche_share: of the evaluations, after which one niche is left.

    """

    population: int = 0
    children: int = 0
    initial: int = 0
    crossover: float = 0.5
    mutated_genes: float = 2.0
    polish_every: int = 3
    polish_from: float = 0.3
    polished: int = 4
    combinations: int = 60
    niches: int = 8
    niche_share: float = 0.7

    def __post_init__(self) -> None:
        for name, least in (("population", 0), ("children", 0), ("initial", 0), ("polished", 1), ("combinations", 1)):
            if getattr(self, name) < least:
                raise QuantityError(f"option {name} must be at least {least}, not {getattr(self, name)}")
        if not 0 <= self.crossover <= 1 or self.mutated_genes <= 0 or self.polish_every < 0:
            raise QuantityError("options must keep crossover in 0 to 1, mutated_genes > 0 and polish_every >= 0")
        if self.niches < 1 or not 0 < self.niche_share <= 1:
            raise QuantityError("options must keep niches >= 1 and niche_share above 0, at most 1")

    def sized(self, evaluations: int) -> EvolutionOptions:
        """These, with figures for all that is left to the number of evaluations."""
        return replace(
            self,
            population=self.population or min(200, max(10, evaluations // 10)),
            children=self.children or min(1000, max(10, evaluations // 20)),
            initial=self.initial or min(2000, max(20, evaluations // 10)),
        )


@dataclass
class _Polish:
    """Survivors whose neighbours are out for evaluation: what is needed to combine their moves."""

    rows: Population
    gains: Float
    neighbours: Population
    parent: NDArray[np.intp]
    swaps: list[Swaps]


@register_strategy("evolution", EvolutionOptions)
class Evolution:
    """Vectorised evolution of one objective."""

    def __init__(self, problem: Problem, options: EvolutionOptions, rng: np.random.Generator) -> None:
        space = problem.space
        self._problem, self._space, self._options, self._rng = problem, space, options, rng
        self._key = rng.integers(1, 2**63 - 1, len(space.genes), np.int64) | 1
        self._rate = self._least_rate = min(0.5, options.mutated_genes / len(space.genes))
        self._seen, self._seen_gain = np.zeros(0, np.int64), np.zeros(0)
        self._herd = Herd.empty(space)
        self._begun, self._total, self._told = False, 0, 0
        self._generation = 0
        self._polish: _Polish | None = None
        self._combine: Population | None = None
        self._polished: set[int] = set()
        self._swaps = BlockSwaps(problem) if BlockSwaps.suit(problem) else None

    def ask(self, limit: int) -> Population:
        """The next generation, or neighbours and combined moves of survivors."""
        self._total = max(self._total, self._told + limit)
        if not self._begun:
            self._begun, self._options = True, self._options.sized(limit)
            return self._fresh(self._initial(min(limit, self._options.initial)), limit)
        if self._combine is not None:
            rows, self._combine = self._fresh(self._combine, limit), None
            if len(rows):
                return rows
        self._generation += 1
        late = self._told >= self._options.polish_from * self._total
        if late and self._options.polish_every and self._generation % self._options.polish_every == 0:
            rows = self._neighbours(limit)
            if len(rows):
                return rows
        wanted = min(limit, self._options.children)
        for _ in range(ATTEMPTS):
            rows = self._fresh(self._children(wanted), limit)
            # Survivors that have become alike have children that were seen before: change more genes.
            few = len(rows) < wanted * LEAST_FRESH
            self._rate = min(0.5, self._rate * 1.2) if few else max(self._least_rate, self._rate / 1.1)
            if len(rows):
                return rows
        return self._fresh(self._space.sample(min(limit, self._options.children), self._rng), limit)

    def tell(self, population: Population, objectives: Float, violation: Float) -> None:
        """Survival of the best of old and new, in each niche."""
        if not len(population):
            return
        gain = objectives[:, 0]
        self._told += len(population)
        self._remember(population, gain)
        progress = self._told / max(self._total, self._told)
        niches = max(1, round(self._options.niches * (1 - progress / self._options.niche_share)))
        self._herd = self._herd.with_rows(population, gain, violation).survivors(
            self._options.population or KEPT, niches
        )
        if self._polish is not None:
            self._combine = self._combinations(self._polish)
            self._polish = None

    def _remember(self, rows: Population, gain: Float) -> None:
        """Keep keys and gains of what was evaluated, sorted by key."""
        keys, first = np.unique(row_keys(rows, self._key), return_index=True)
        _, known = self._find(keys)
        keys, gain = keys[~known], gain[first[~known]]
        place = np.searchsorted(self._seen, keys)
        self._seen, self._seen_gain = np.insert(self._seen, place, keys), np.insert(self._seen_gain, place, gain)

    def _find(self, keys: NDArray[np.int64]) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        """Where each key would be among those seen, and whether it is."""
        if not len(self._seen):
            return np.zeros(len(keys), np.intp), np.zeros(len(keys), bool)
        place = np.minimum(np.searchsorted(self._seen, keys), len(self._seen) - 1)
        return place, self._seen[place] == keys

    def _fresh(self, rows: Population, limit: int) -> Population:
        """Those not seen before, each once."""
        keys, first = np.unique(row_keys(rows, self._key), return_index=True)
        _, known = self._find(keys)
        return rows[np.sort(first[~known])[:limit]]

    def _initial(self, n: int) -> Population:
        """Random architectures, most of them mixed with the smallest or largest: any budget is in their range."""
        space, rng = self._space, self._rng
        rows = space.sample(n, rng)
        ends = np.stack([space.smallest(), space.largest()])
        resolution = rows[:, : space.layout.globals].copy()
        third = n // 3
        for i in range(2):
            part = slice(i * third, (i + 1) * third)
            rows[part] = space.crossover(rows[part], np.repeat(ends[i : i + 1], third, axis=0), rng)
        rows[:, : space.layout.globals] = resolution
        if n > 2:
            rows[:2] = ends
        return rows

    def _children(self, n: int) -> Population:
        space, rng, herd = self._space, self._rng, self._herd
        one, other = herd.pairs(n, rng)
        first = herd.rows[one]
        two = rng.random(n) < self._options.crossover
        rows = np.where(two[:, None], space.crossover(first, herd.rows[other], rng), first)
        rows = space.mutate(rows, rng, self._rate)
        for _ in range(2 if self._problem.constraints else 0):
            over = np.flatnonzero(self._problem.violation(rows) > herd.violation[one])
            if not len(over):
                break
            rows[over] = space.crossover(rows[over], first[over], rng)
        return rows

    def _neighbours(self, limit: int) -> Population:
        """Single moves from the best survivors that were not polished yet."""
        herd = self._herd
        chosen: list[int] = []
        keys = row_keys(herd.rows, self._key)
        for i in herd.by_niche():
            if int(keys[i]) not in self._polished:
                self._polished.add(int(keys[i]))
                chosen.append(int(i))
            if len(chosen) == self._options.polished:
                break
        if not chosen:
            return herd.rows[:0]
        rows = herd.rows[chosen]
        swaps = [self._swaps.around(row) for row in rows] if self._swaps is not None else []
        if swaps:
            neighbours = np.concatenate([each.rows for each in swaps])
            parent = np.repeat(np.arange(len(rows)), [len(each.rows) for each in swaps])
        else:
            neighbours, parent = single_moves(self._space, rows)
        fresh = self._fresh(neighbours, limit)
        polish = _Polish(rows, herd.gain[chosen], neighbours, parent, swaps)
        if not len(fresh):
            return self._fresh(self._combinations(polish), limit)
        self._polish = polish
        return fresh

    def _combinations(self, polish: _Polish) -> Population:
        """Moves from each polished survivor that promise most together within the limits."""
        place, known = self._find(row_keys(polish.neighbours, self._key))
        at_start, excess = self._problem.excess(polish.rows), self._problem.excess(polish.neighbours)
        found = [polish.rows[:0]]
        for p, row in enumerate(polish.rows):
            mine = np.flatnonzero((polish.parent == p) & known)
            gains = self._seen_gain[place[mine]] - polish.gains[p]
            costs = excess[mine] - at_start[p]
            moves = polish.neighbours[mine]
            count = self._options.combinations
            if self._swaps is not None and known[polish.parent == p].all():
                found.append(self._swaps.solutions(polish.swaps[p], gains, 2 * count, self._rng))
            else:
                found.append(combined_moves(row, moves, gains, costs, at_start[p], count))
        return self._space.repair(np.concatenate(found))
