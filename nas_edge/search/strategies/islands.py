"""Evolution on islands whose children are solutions of linearised problems: the default where the problem shows enough.

Wanted is a surrogate with a derivative, and limits on (rising functions of) sums over blocks. Then the best network of
the surrogate's linear model around a parent, within all limits, is a small knapsack (see `knapsack`): as in sequential
linear programming (Griffith and Stewart, 1961), whose steps are held near the parent by a bonus for what it has, like a
trust region. Here each child solves one of its own: with random noise on the values (perturb and maximise, Papandreou
and Yuille, 2011), a random bonus, the mean of two survivors' models, or a mixture of two parents to stay near.

A network's surrogate has many peaks. Many small populations (islands) start apart, the better half goes on every few
generations (successive halving; Jamieson and Talwalkar, 2016), and the last few share all children. It ends there, or
begins anew for as long as `rounds` says. It searches a trained supernet through a surrogate; it trains nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from nas_edge.accuracy.features import FeatureLayout
from nas_edge.errors import QuantityError, SpaceError
from nas_edge.search.constraints import order
from nas_edge.search.metrics import Gradient
from nas_edge.search.problem import Problem
from nas_edge.search.separable import Slots
from nas_edge.search.strategies.base import register_strategy
from nas_edge.search.strategies.blockwise import Blockwise, log_uniform
from nas_edge.search.strategies.knapsack import CHUNK
from nas_edge.search.strategies.visited import Visited
from nas_edge.spaces import Population

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]
Index = NDArray[np.intp]

ATTEMPTS = 4  # generations of nothing but known architectures before random ones are drawn
FEWEST = 8  # children of an island in a generation, where few evaluations are allowed
SHORTEST = 20  # generations that the evaluations should suffice for
FORCED = np.float32(1e3)  # value of a block that must be there
STOCK = 2**17  # normal figures that noise is cut from


@dataclass(frozen=True)
class IslandOptions:
    """Options of islands.

    Attributes:
        islands: at the start.
        starts: random architectures of each, around which the first models are made.
        children: architectures of a generation, on all islands together.
        crowd: most children of one island in a generation.
        survivors: of each island.
        first_halving: generations before the worse half of the islands is given up.
        halve_every: generations between two halvings.
        last: islands that are left in the end.
        generations: of a round.
        crossed: share of children that stay near a mixture of two parents.
        averaged: share whose model is the mean of two survivors'.
        moved: share whose width and resolution are drawn anew.
        deepened: share that has one stage's depth drawn anew.
        least_noise, most_noise: of the model's values, in standard deviations of them.
        least_hold, most_hold: bonus for what the parent has, in the same unit.
        rounds: of islands, each from a new start; 0 for as many as the evaluations allow.

    """

    islands: int = 256
    starts: int = 4
    children: int = 2000
    crowd: int = 60
    survivors: int = 4
    first_halving: int = 3
    halve_every: int = 2
    last: int = 4
    generations: int = 18
    crossed: float = 0.3
    averaged: float = 0.6
    moved: float = 0.05
    deepened: float = 0.1
    least_noise: float = 0.05
    most_noise: float = 0.5
    least_hold: float = 0.1
    most_hold: float = 3.0
    rounds: int = 1

    def __post_init__(self) -> None:
        names = (
            "islands", "starts", "children", "crowd", "survivors", "first_halving", "halve_every", "last",
            "generations",
        )  # fmt: skip
        for name in names:
            if getattr(self, name) < 1:
                raise QuantityError(f"option {name} must be at least 1, not {getattr(self, name)}")
        for name in ("crossed", "averaged", "moved", "deepened"):
            if not 0 <= getattr(self, name) <= 1:
                raise QuantityError(f"option {name} must be in 0 to 1, not {getattr(self, name)}")
        if not 0 < self.least_noise <= self.most_noise or not 0 < self.least_hold <= self.most_hold:
            raise QuantityError("options must keep 0 < least_noise <= most_noise and 0 < least_hold <= most_hold")
        if self.rounds < 0:
            raise QuantityError(f"option rounds must be at least 0, not {self.rounds}")


@dataclass(frozen=True, eq=False)
class _Survivors:
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

    def take(self, chosen: Index) -> _Survivors:
        """Some of them."""
        return _Survivors(
            self.rows[chosen], self.gain[chosen], self.violation[chosen], self.island[chosen], self.outer[chosen],
            self.has[:, chosen], np.take(self.models, chosen, axis=2), self.spread[chosen],
        )  # fmt: skip

    def and_then(self, others: _Survivors) -> _Survivors:
        """These and others behind them."""
        return _Survivors(
            *(
                np.concatenate([getattr(self, name), getattr(others, name)], axis=0 if name == "rows" else -1)
                for name in (field.name for field in fields(self))
            )
        )


def suits_islands(problem: Problem) -> bool:
    """Whether a problem shows what this strategy needs."""
    return not _lacking(problem)


def _lacking(problem: Problem) -> str:
    """What a problem lacks for this strategy, in words; empty where it lacks nothing."""
    if len(problem.objectives) > 1:
        return "there are several objectives"
    objective = problem.metrics[problem.objectives[0]]
    if objective.gradient is None or not objective.maximise:
        return f"metric {problem.objectives[0]!r} is none to be maximised that shows its derivative"
    return Blockwise.lacking(problem)


@register_strategy("islands", IslandOptions)
class Islands:
    """Many small populations, each child the solution of a linearised problem.

    Raises:
        SpaceError: what the problem lacks for it.

    """

    def __init__(self, problem: Problem, options: IslandOptions, rng: np.random.Generator) -> None:
        lacking = _lacking(problem)
        if lacking:
            raise SpaceError(f"strategy 'islands' cannot search this: {lacking}; use --strategy evolution")
        self._space, self._options, self._rng = problem.space, options, rng
        self._blocks = Blockwise.of(problem)
        self._slots, self._knapsacks = self._blocks.slots, self._blocks.knapsacks()
        self._stock = rng.standard_normal(STOCK, np.float32)
        gradient = problem.metrics[problem.objectives[0]].gradient
        assert gradient is not None
        self._gradient: Gradient = gradient
        self._encode, self._features = _features(self._slots)
        self._visited = Visited(problem.space, rng)
        self._children, self._islands = 0, 0
        self._round, self._generation = 0, 0
        nothing = np.zeros((0, len(problem.space.genes)), np.int8)
        self._survivors = self._modelled(nothing, np.zeros(0), np.zeros(0), np.zeros(0, np.intp))
        self._asked, self._island = self._survivors.rows, self._survivors.island

    def ask(self, limit: int) -> Population:
        """The next generation of all islands."""
        options = self._options
        if not self._children:
            self._children = min(options.children, max(FEWEST, limit // SHORTEST))
            self._islands = min(options.islands, max(1, self._children // FEWEST))
        for _ in range(ATTEMPTS):
            if self._generation == 0 or self._generation >= options.generations:
                if options.rounds and self._round == options.rounds:
                    return self._survivors.rows[:0]
                self._begin()
            self._generation += 1
            count = min(self._children, limit, self._options.crowd * len(self._survivors.islands()[0]))
            rows, island = self._offspring(count)
            new = self._visited.new(rows)[:limit]
            if len(new):
                self._asked, self._island = rows[new], island[new]
                return self._asked
        self._asked = self._visited.sample(min(limit, self._children))
        self._island = np.zeros(len(self._asked), np.intp)
        return self._asked

    def tell(self, population: Population, objectives: Float, violation: Float) -> None:
        """The best of each island survive; of the islands, now and then the better half."""
        if not len(population):
            return
        self._visited.add(population)
        mine = np.array_equal(population, self._asked)
        # Strangers make an island of their own, behind all others.
        island = self._island if mine else np.full(len(population), self._islands, np.intp)
        since = self._generation - 1 - self._options.first_halving
        halve = mine and since >= 0 and since % self._options.halve_every == 0
        self._survive(population, objectives[:, 0], violation, island, halve=halve)

    def _begin(self) -> None:
        """Islands of random architectures at every width and resolution in turn, and one of the best so far."""
        self._round, self._generation = self._round + 1, 0
        known = self._survivors
        best = known.take(order(known.gain, known.violation)[: self._options.survivors])
        count = self._islands * self._options.starts
        rows = self._space.sample(count, self._rng)
        outer = self._slots.outer
        rows[:, : outer.shape[1]] = outer[self._rng.permutation(count) % len(outer)]
        island = np.repeat(np.arange(self._islands), self._options.starts)
        starts = self._modelled(rows, np.full(count, -np.inf), np.full(count, np.inf), island)
        self._survivors = starts.and_then(replace(best, island=np.full(len(best.rows), self._islands)))

    def _survive(self, rows: Population, gain: Float, violation: Float, island: Index, *, halve: bool) -> None:
        """Add these to the survivors and keep the best of each island; to `halve`, of the better half of them."""
        old = self._survivors
        gains, violations = np.append(old.gain, gain), np.append(old.violation, violation)
        islands = np.append(old.island, island)
        best = np.lexsort((-gains, violations, islands))
        # What was but a start gives way as soon as anything is known.
        best = best[np.isfinite(gains[best])]
        _, start, size = np.unique(islands[best], return_index=True, return_counts=True)
        place = np.arange(len(best)) - np.repeat(start, size)
        kept = place < self._options.survivors
        if halve:
            kept &= np.repeat(self._better_half(gains[best[start]], violations[best[start]]), size)
        best = best[kept]
        known = best < len(old.rows)
        new = best[~known] - len(old.rows)
        joined = old.take(best[known]).and_then(self._modelled(rows[new], gain[new], violation[new], island[new]))
        # Back from "known, then new" to island after island.
        self._survivors = joined.take(np.argsort(np.append(np.flatnonzero(known), np.flatnonzero(~known))))

    def _better_half(self, gain: Float, violation: Float) -> NDArray[np.bool_]:
        """Which islands go on, by the best of each: bool [islands]."""
        kept = np.zeros(len(gain), bool)
        kept[order(gain, violation)[: max(self._options.last, len(gain) // 2)]] = True
        return kept

    def _modelled(self, rows: Population, gain: Float, violation: Float, island: Index) -> _Survivors:
        """Architectures with the linear models around them."""
        models = np.zeros((*self._slots.distinct.shape, 0), np.float32)
        if len(rows):
            _, slope = self._gradient(self._encode.one_hot(rows))
            by_feature = slope.T.astype(np.float32)
            models = by_feature[self._features[0]] + by_feature[self._features[1]]
        spread = models.std(axis=(0, 1)) if len(rows) else np.zeros(0, np.float32)
        self._blocks.hide_repeated(models)
        outer, has = self._slots.outer_of(rows), self._slots.options(rows)
        return _Survivors(rows, gain, violation, island, outer, has, models, spread)

    def _offspring(self, n: int) -> tuple[Population, Index]:
        """Children that meet the limits, int8 [up to n, genes], and their islands."""
        parts = [self._litter(min(CHUNK, n - start)) for start in range(0, n, CHUNK)]
        return np.concatenate([rows for rows, _ in parts]), np.concatenate([island for _, island in parts])

    def _litter(self, n: int) -> tuple[Population, Index]:
        """So few children that what they need stays in the cache."""
        options, rng, known = self._options, self._rng, self._survivors
        start, size = known.islands()
        averaged = int(rng.binomial(n, options.averaged))
        # Neighbours in memory one after another, in each of the two parts.
        home = rng.integers(len(start), size=n)
        home[:averaged].sort()
        home[averaged:].sort()
        # The first of an island is a parent twice as often as the average.
        one, other, third = (
            start[home] + (size[home] * share).astype(np.intp)
            for share in (1 - np.sqrt(rng.random(n)), 1 - np.sqrt(rng.random(n)), rng.random(n))
        )
        third = third[:averaged]
        values = np.take(known.models, one, axis=2)
        values[:, :, :averaged] += np.take(known.models, third, axis=2)
        values[:, :, :averaged] *= np.float32(0.5)
        spread = known.spread[one]
        spread[:averaged] = (spread[:averaged] + known.spread[third]) / 2
        noise = self._noise(values.shape)
        noise *= spread * log_uniform(options.least_noise, options.most_noise, n, rng)
        values += noise
        filled = self._hold(values, one, other, spread * log_uniform(options.least_hold, options.most_hold, n, rng))
        self._deepen(filled)
        outer = known.outer[one]
        moved = np.flatnonzero(rng.random(n) < options.moved)
        outer[moved] = rng.integers(len(self._slots.outer), size=len(moved))
        found = self._knapsacks.solve(values, filled, spread, outer)
        rows = self._slots.rows(outer, found.options, found.present)
        return rows[found.fits], known.island[one[found.fits]]

    def _noise(self, shape: tuple[int, ...]) -> Float32:
        """Normal figures, cut from a stock at random places: that vectors of them recur is as good as impossible."""
        options, slots, n = shape
        windows = np.lib.stride_tricks.sliding_window_view(self._stock, n)
        return windows[self._rng.integers(len(windows), size=(options, slots))]

    def _hold(self, values: Float32, one: Index, other: Index, bonus: Float32) -> Float32:
        """Favour what a parent has, or a mixture of two: added to values [options, slots, n] in place.

        Returns:
            float32 [slots, n], what filling a place at all brings.

        """
        known, rng = self._survivors, self._rng
        mine = known.has[:, one]
        mixed = rng.random(mine.shape, np.float32) < 0.5 * (rng.random(len(one)) < self._options.crossed)
        wanted = np.where(mixed, known.has[:, other], mine)
        bonus = np.where(np.isfinite(known.gain[one]), bonus, np.float32(0)).astype(np.float32)
        slots, n = wanted.shape
        absent = wanted < 0
        place = (np.maximum(wanted, 0) * slots + np.arange(slots)[:, None]) * n + np.arange(n)
        values.reshape(-1)[place] += np.where(absent, np.float32(0), bonus)
        return np.where(absent, -bonus, np.float32(0))

    def _deepen(self, filled: Float32) -> None:
        """Give some children a stage of another depth, whatever it brings: to `filled` [slots, n] in place."""
        rng, stages = self._rng, self._space.layout.stages
        changed = rng.random(filled.shape[1]) < self._options.deepened
        stage = rng.integers(len(stages), size=filled.shape[1])
        start = 0
        for s, columns in enumerate(stages):
            mine = np.flatnonzero(changed & (stage == s))
            depth = columns.depths[rng.integers(len(columns.depths), size=len(mine))]
            slots = np.arange(len(columns.kernels))
            filled[start + slots[:, None], mine] += np.where(slots[:, None] < depth, FORCED, -FORCED)
            start += len(slots)


def _features(slots: Slots) -> tuple[FeatureLayout, Index]:
    """The encoding that derivatives are by, and the features of each option's kernel and ratio, [2, options, slots]."""
    genes = slots.space.genes
    firsts = np.cumsum([0, *(len(gene.choices) for gene in genes)])
    layout = FeatureLayout(slots.space.name, tuple((gene.name, gene.choices) for gene in genes))
    features: Index = (firsts[slots.columns][:, None] + slots.values - 1).astype(np.intp)
    return layout, features
