"""Evolution, the default: (mu + lambda) over arrays, whose best climb; a linear model says what is worth evaluating.

The loop is that of Once-for-All's finder (Cai et al., 2020): parents by rank, uniform crossover, mutation, the best
survive. What is added makes it a memetic algorithm (Moscato, 1989):

- A linear model of what was told (see `linear`) screens the children: only those that promise most are evaluated.
- After a few generations the best survivors, unlike each other, climb side by side by combinations of small changes
  (see `climbs`). Where a climb ends, the next begins at a child of two peaks.
- Networks of one resolution compete with each other first (see `herd`), children over a limit are pulled back towards
  a parent that meets it before anything is spent on them, and nothing is evaluated twice.

It ends before the evaluations are used up where the last part of them made nothing better. It searches a trained
supernet through a surrogate; it is not the whole system of the papers named.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas_edge.errors import QuantityError
from nas_edge.search.constraints import order
from nas_edge.search.problem import Problem
from nas_edge.search.strategies.base import register_strategy
from nas_edge.search.strategies.climbs import Climbs
from nas_edge.search.strategies.herd import Herd
from nas_edge.search.strategies.linear import LinearModel
from nas_edge.search.strategies.variants import spread
from nas_edge.search.strategies.visited import Visited
from nas_edge.spaces import Population

Float = NDArray[np.float64]

EARLY = 3  # the random start takes at most this part of the evaluations
FITS, FIT_EVERY = 2, 8  # rounds of climbs before which the model is fitted again: the first ones, then every so many
ROUND = 100  # evaluations that a round is worth at least where it is asked whether to go on
BEGINNINGS = 200  # children of peaks that are looked at
BEGUN = 10  # that are evaluated for each climb to begin


@dataclass(frozen=True)
class EvolutionOptions:
    """Options of evolution.

    Attributes:
        population: survivors of a generation (mu).
        initial: random architectures at the start.
        generations: before the first climbs.
        children: architectures of a generation (lambda).
        screened: children made for each one that is evaluated.
        crossover: share of children that have two parents.
        mutated_genes: expected number of genes drawn anew in a child.
        niches: pairs of width and resolution that survive side by side.
        climbs: at a time.
        combinations: of one, two, three ... changes that a climb tries in a round.
        neighbours: architectures that a climb's linear model looks at.
        patience: rounds without success after which a climb ends.
        peaks: ends of climbs that are parents of the next.
        peak_niches: pairs of width and resolution that they are of.
        apart: genes by which the beginnings of climbs must differ.
        idle: evaluations after which the search ends where they made nothing better; 0 for never.

    """

    population: int = 100
    initial: int = 600
    generations: int = 3
    children: int = 300
    screened: int = 5
    crossover: float = 0.5
    mutated_genes: float = 2.0
    niches: int = 8
    climbs: int = 8
    combinations: tuple[int, ...] = (10, 20, 20, 10)
    neighbours: int = 64
    patience: int = 2
    peaks: int = 24
    peak_niches: int = 2
    apart: int = 4
    idle: int = 6000

    def __post_init__(self) -> None:
        for name in ("population", "initial", "children", "screened", "niches", "climbs", "neighbours", "patience"):
            if getattr(self, name) < 1:
                raise QuantityError(f"option {name} must be at least 1, not {getattr(self, name)}")
        if not 0 <= self.crossover <= 1 or self.mutated_genes <= 0 or self.generations < 0:
            raise QuantityError("options must keep crossover in 0 to 1, mutated_genes > 0 and generations >= 0")
        if self.peaks < 2 or self.idle < 0 or min(self.combinations, default=0) < 1:
            raise QuantityError("options must keep peaks >= 2, idle >= 0 and combinations of at least 1")


@register_strategy("evolution", EvolutionOptions)
class Evolution:
    """Vectorised memetic evolution of one objective."""

    def __init__(self, problem: Problem, options: EvolutionOptions, rng: np.random.Generator) -> None:
        space = problem.space
        self._problem, self._space, self._options, self._rng = problem, space, options, rng
        self._visited = Visited(space, rng)
        self._model = LinearModel(space)
        self._herd = Herd.empty(space)
        self._climbs = Climbs(problem, self._model, self._visited, options.neighbours, options.combinations)
        self._peaks = Herd.empty(space)
        self._generation = 0
        # (violation, -gain) of the best, and what was spent since.
        self._best, self._idle = (np.inf, np.inf), 0
        self._asked, self._climb = self._herd.rows, np.zeros(0, np.intp)

    def ask(self, limit: int) -> Population:
        """Random architectures, then children, then what climbs propose and where new ones may begin."""
        options = self._options
        if options.idle and self._idle >= options.idle:
            return self._herd.rows[:0]
        self._generation += 1
        if self._generation == 1:
            first = min(limit, options.initial, max(1, limit // EARLY))
            return self._visited.fresh(spread(self._space, first, self._rng))
        if self._generation <= options.generations + FITS or self._generation % FIT_EVERY == 0:
            self._model.fit()
        if self._generation <= options.generations + 1:
            rows = self._children(min(limit, options.children))
            if len(rows):
                return rows
        return self._ascents(limit)

    def tell(self, population: Population, objectives: Float, violation: Float) -> None:
        """Survival of the best; each climb moves on."""
        if not len(population):
            return
        gain = objectives[:, 0]
        # A round costs something, however little it evaluates.
        self._idle += max(len(population), ROUND)
        top = int(order(gain, violation)[0])
        if (violation[top], -gain[top]) < self._best:
            self._best, self._idle = (float(violation[top]), -float(gain[top])), 0
        self._visited.add(population)
        self._model.learn(population, gain)
        if not len(self._asked) or not np.array_equal(population, self._asked):
            herd = self._herd.with_rows(population, gain, violation)
            self._herd = herd.survivors(self._options.population, self._options.niches)
            return
        mine = self._climb >= 0
        self._climbs.move(population[mine], self._climb[mine], gain[mine], violation[mine])
        self._retire(self._climbs.failures >= self._options.patience)
        new = np.flatnonzero(~mine)
        new = new[order(gain[new], violation[new])][: self._options.climbs - len(self._climbs)]
        self._climbs.add(population[new], gain[new], violation[new])

    def _ascents(self, limit: int) -> Population:
        """What climbs propose, and where new ones may begin."""
        climbs, options = self._climbs, self._options
        if not len(climbs) and not len(self._peaks.rows):
            self._begin()
        rows, climb = climbs.propose()
        if len(climbs) < options.climbs:
            begun = self._beginnings(options.climbs - len(climbs))
            rows, climb = np.concatenate([rows, begun]), np.append(climb, np.full(len(begun), -1))
        new = self._visited.new(rows)[:limit]
        self._asked, self._climb = rows[new], climb[new]
        if len(new):
            return self._asked
        self._retire(np.ones(len(climbs), bool))
        return self._visited.sample(min(limit, options.children))

    def _retire(self, ended: NDArray[np.bool_]) -> None:
        """Climbs that end leave a peak."""
        climbs = self._climbs
        peaks = self._peaks.with_rows(climbs.rows[ended], climbs.gain[ended], climbs.violation[ended])
        if len(peaks.rows):
            self._peaks = peaks.survivors(self._options.peaks, self._options.peak_niches)
        climbs.drop(ended)

    def _begin(self) -> None:
        """Climb from survivors that are unlike each other: by turns the best of all, and the best of each niche."""
        herd, chosen = self._herd, list[int]()
        for i in np.stack([order(herd.gain, herd.violation), herd.by_niche()], axis=1).ravel():
            if ((herd.rows[chosen] != herd.rows[i]).sum(axis=1) >= 2 * self._options.apart).all():
                chosen.append(int(i))
            if len(chosen) == self._options.climbs:
                break
        self._climbs.add(herd.rows[chosen], herd.gain[chosen], herd.violation[chosen])

    def _beginnings(self, wanted: int) -> Population:
        """Children of peaks, unlike them: several for each climb that is wanted."""
        climbs, options, rng = self._climbs, self._options, self._rng
        parents = self._peaks.with_rows(climbs.rows, climbs.gain, climbs.violation)
        parents = parents.survivors(options.peaks, options.peak_niches)
        one, other = parents.pairs(BEGINNINGS, rng)
        rows = self._space.crossover(parents.rows[one], parents.rows[other], rng)
        rows = self._space.mutate(rows, rng, 1 / len(self._space.genes))
        rows = self._visited.fresh(self._pulled_back(rows, parents.rows[one], parents.violation[one]))
        unlike = (rows[:, None] != parents.rows).sum(axis=2).min(axis=1, initial=options.apart) >= options.apart
        return self._promising(rows[unlike], BEGUN * wanted)

    def _children(self, n: int) -> Population:
        """The most promising of many children of survivors."""
        space, rng, herd = self._space, self._rng, self._herd
        one, other = herd.pairs(n * self._options.screened, rng)
        first = herd.rows[one]
        two = rng.random(len(one)) < self._options.crossover
        rows = np.where(two[:, None], space.crossover(first, herd.rows[other], rng), first)
        rows = space.mutate(rows, rng, min(0.5, self._options.mutated_genes / len(space.genes)))
        rows = self._visited.fresh(self._pulled_back(rows, first, herd.violation[one]))
        return self._promising(rows, n)

    def _promising(self, rows: Population, n: int) -> Population:
        """The best `n` by the limits and by the model."""
        return rows[order(self._model.score(rows).astype(np.float64), self._problem.violation(rows))[:n]]

    def _pulled_back(self, rows: Population, parents: Population, violation: Float) -> Population:
        """Children that break limits further than a parent, made more like it."""
        for _ in range(2 if self._problem.constraints else 0):
            over = np.flatnonzero(self._problem.violation(rows) > violation)
            if not len(over):
                break
            rows[over] = self._space.crossover(rows[over], parents[over], self._rng)
        return rows
