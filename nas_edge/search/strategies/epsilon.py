"""A front by searches under one budget after another: the default of several objectives where the problem shows enough.

To trade accuracy off against latency is to ask for the best accuracy within many latencies, which is what `islands` and
`lagrangian` are good at: the epsilon-constraint method (Haimes, Lasdon and Wismer, 1971). First NSGA-II finds where the
front lies. Then courses of the one or the other begin at points spread over it, under the point's own costs as limits:
long ones that find good networks of their own, then short ones between them, which mostly carry over what those found.
Limits vary from generation to generation, so that what lies between two points is searched as well, and networks of
different cost are compared by what cost is worth there (the slope of the front). In the end NSGA-II goes on from all
that was found and fills the gaps. It looks inside the metrics as the other two do, searches a trained supernet through
a surrogate and trains nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas_edge.errors import QuantityError, SpaceError
from nas_edge.search.constraints import Constraint
from nas_edge.search.pareto import non_dominated
from nas_edge.search.problem import Problem
from nas_edge.search.strategies.base import register_strategy
from nas_edge.search.strategies.islands import IslandOptions, suits_islands
from nas_edge.search.strategies.lagrangian import LagrangianOptions, suits_lagrangian
from nas_edge.search.strategies.moving import IslandCourse, PriceCourse
from nas_edge.search.strategies.nsga2 import Nsga2, Nsga2Options
from nas_edge.spaces import Population

Float = NDArray[np.float64]
Index = NDArray[np.intp]

LONG_SHARE = 0.75  # of the courses' evaluations that the long ones have
LEAST_LONG, LEAST_COURSE = 6, 400  # long courses where there is room for them, and what room is, in evaluations
LONG_GENERATIONS, SHORT_GENERATIONS, SHORT_ISLANDS = 18, 14, 4
ELITE = 8  # networks that a course begins with
NEIGHBOURS = 12  # points of the front that its slope is taken from, for each objective
REASSIGNED = 20  # times, at most, that points are parted anew


@dataclass(frozen=True)
class EpsilonOptions:
    """Options of the search by budgets.

    Attributes:
        population: survivors of NSGA-II, and children.
        first, last: shares of the evaluations that NSGA-II has before and after the courses.
        course: evaluations of a long course, of which there are at least six where evaluations are few.
        short: short courses for each long one.

    """

    population: int = 100
    first: float = 0.1
    last: float = 0.1
    course: int = 4500
    short: int = 3

    def __post_init__(self) -> None:
        Nsga2Options(self.population)
        if not (0 < self.first < 1 and 0 <= self.last < 1 and self.first + self.last < 1):
            raise QuantityError("options must keep first above 0, last at least 0 and both together below 1")
        if self.course < LEAST_COURSE:
            raise QuantityError(f"option course must be at least {LEAST_COURSE}, not {self.course}")
        if self.short < 0:
            raise QuantityError(f"option short must be at least 0, not {self.short}")


def suits_epsilon(problem: Problem) -> bool:
    """Whether a problem has several objectives and shows what is needed."""
    return _figure(problem) is not None


def _figure(problem: Problem) -> int | None:
    """Which objective courses make best while the others are limits; None where none can be."""
    if len(problem.objectives) < 2:
        return None
    for place in range(len(problem.objectives)):
        turned = _turned(problem, place, np.ones(len(problem.objectives)))
        if turned is not None and (suits_islands(turned) or suits_lagrangian(turned)):
            return place
    return None


def _turned(problem: Problem, place: int, limits: Float) -> Problem | None:
    """One objective to be made best within limits [objectives] on the others; None where those are not costs."""
    figure = problem.objectives[place]
    costs = [i for i in range(len(problem.objectives)) if i != place]
    if any(problem.metrics[problem.objectives[i]].maximise for i in costs):
        return None
    # A floor on what is made best anyway is met as soon as it can be.
    kept = [c for c in problem.constraints if c.upper or c.metric != figure]
    kept += [Constraint(problem.objectives[i], "<=", float(limits[i])) for i in costs]
    return Problem(problem.space, problem.metrics, (figure,), tuple(kept))


@dataclass(frozen=True, eq=False)
class _Leg:
    """A course that is to come: where it begins, float64 [objectives], and what it may spend."""

    gains: Float
    evaluations: int
    long: bool


@register_strategy("epsilon", EpsilonOptions)
class Epsilon:
    """NSGA-II, courses under limits spread over its front, and NSGA-II again.

    Raises:
        SpaceError: the problem shows too little of itself.

    """

    def __init__(self, problem: Problem, options: EpsilonOptions, rng: np.random.Generator) -> None:
        place = _figure(problem)
        if place is None:
            raise SpaceError(
                "strategy 'epsilon' cannot search this: it needs several objectives, one with a derivative or a sum "
                "over blocks, the others costs that are sums over blocks, as all limits are; use --strategy nsga2"
            )
        self._problem, self._options, self._rng, self._place = problem, options, rng, place
        self._costs = np.delete(np.arange(len(problem.objectives)), place)
        self._nsga2 = Nsga2(problem, Nsga2Options(options.population), rng)
        self._rows = np.zeros((0, len(problem.space.genes)), np.int8)
        self._gains = np.zeros((0, len(problem.objectives)))
        self._new: list[tuple[Population, Float]] = []
        self._total = 0
        self._legs: Iterator[_Leg] | None = None
        self._course: IslandCourse | PriceCourse | None = None
        self._filling = False
        # Of a course: limits [objectives], by how much they vary, worth of a unit of each cost, evaluations left then.
        self._limits, self._step, self._prices, self._until = np.zeros(0), np.ones(0), np.zeros(0), 0

    def ask(self, limit: int) -> Population:
        """The next generation of NSGA-II or of a course."""
        self._total = self._total or limit
        looking = self._total - limit < self._options.first * self._total
        if not self._filling and not looking and self._front():
            if self._legs is None:
                self._legs = iter(self._planned(limit))
            while self._course is not None or self._next(limit):
                rows = self._of_course(limit)
                if len(rows):
                    return rows
                self._course = None
            self._filling = True
            self._nsga2.tell(self._rows, self._gains, np.zeros(len(self._rows)))
        return self._nsga2.ask(limit)

    def tell(self, population: Population, objectives: Float, violation: Float) -> None:
        """What the course, or NSGA-II, makes of it."""
        if not len(population):
            return
        if not self._filling:
            met = violation <= 0
            self._new.append((population[met], objectives[met]))
        if self._course is None:
            self._nsga2.tell(population, objectives, violation)
        else:
            self._course.tell(population, self._worth(objectives)[:, None], violation)

    def _front(self) -> bool:
        """Add what is new to the front; whether there is one."""
        if self._new:
            rows = np.concatenate([self._rows, *(rows for rows, _ in self._new)])
            gains = np.concatenate([self._gains, *(gains for _, gains in self._new)])
            kept = non_dominated(gains)
            self._rows, self._gains, self._new = rows[kept], gains[kept], []
        return len(self._rows) > 0

    def _planned(self, limit: int) -> list[_Leg]:
        """Long courses in the middle of parts of the front, then short ones, each farthest from those before."""
        room = limit - self._options.last * self._total
        long = max(LONG_SHARE * room / self._options.course, min(LEAST_LONG, room / LEAST_COURSE), 1)
        points = _scaled(self._gains)
        centres = _central(points, round(long))
        share, count = LONG_SHARE if self._options.short else 1.0, len(centres)
        between = _spread(points, centres, count * (1 + self._options.short))[count:]
        legs = [_Leg(self._gains[i], int(share * room / count), True) for i in centres]
        legs += [_Leg(self._gains[i], int((1 - share) * room / len(between)), False) for i in between]
        costs = np.abs(self._gains)
        range_ = costs.max(axis=0) / np.maximum(costs.min(axis=0), 1e-300)
        self._step = range_ ** (1 / max(len(legs) - 1, 1))
        return legs

    def _next(self, limit: int) -> bool:
        """Begin the next course, and tell it of what is known near there; whether there is one."""
        leg = next(self._legs, None) if self._legs is not None else None
        if leg is None:
            return False
        self._limits, self._until = -leg.gains, max(limit - leg.evaluations, 0)
        near = self._nearest(leg.gains)
        self._prices = self._slopes(near)
        self._course = self._made(leg)
        best = near[np.argsort(-self._worth(self._gains[near]), kind="stable")[:ELITE]]
        self._course.tell(self._rows[best], self._worth(self._gains[best])[:, None], np.zeros(len(best)))
        return True

    def _made(self, leg: _Leg) -> IslandCourse | PriceCourse:
        problem = _turned(self._problem, self._place, self._limits)
        assert problem is not None
        generations = LONG_GENERATIONS if leg.long else SHORT_GENERATIONS
        children = max(1, leg.evaluations // generations)
        if suits_lagrangian(problem):
            return PriceCourse(problem, LagrangianOptions(children, generations), self._rng)
        many = IslandOptions(children=children, generations=generations, first_halving=2, halve_every=1)
        few = IslandOptions(SHORT_ISLANDS, children=children, generations=generations)
        return IslandCourse(problem, many if leg.long else few, self._rng)

    def _of_course(self, limit: int) -> Population:
        """Its next generation, under limits that vary; none where it has ended or spent what it may."""
        assert self._course is not None
        factors = self._step ** self._rng.uniform(-0.5, 0.5, len(self._step))
        problem = _turned(self._problem, self._place, self._limits * factors)
        assert problem is not None
        self._course.move(problem)
        left = limit - self._until
        return self._course.ask(left) if left > 0 else self._rows[:0]

    def _worth(self, gains: Float) -> Float:
        """What is made best less the price of its costs, float64 [n]."""
        worth: Float = gains[:, self._place] + gains[:, self._costs] @ self._prices
        return worth

    def _nearest(self, gains: Float) -> Index:
        """Points of the front about one, by costs in units of their extent, the nearest first."""
        span = np.ptp(self._gains, axis=0)
        distance = np.linalg.norm(((self._gains - gains) / np.where(span > 0, span, 1.0))[:, self._costs], axis=1)
        return np.argsort(distance, kind="stable")[: NEIGHBOURS * len(gains)]

    def _slopes(self, near: Index) -> Float:
        """What a unit of each cost is worth about there, float64 [costs]: a plane through these points of the front."""
        costs, figure = -self._gains[near][:, self._costs], self._gains[near, self._place]
        span = np.ptp(costs, axis=0)
        units = np.where(span > 0, span, np.inf)
        centred = (costs - costs.mean(axis=0)) / units
        slopes: Float = np.linalg.lstsq(centred, figure - figure.mean(), rcond=None)[0] / units
        return np.maximum(slopes, 0.0)


def _scaled(gains: Float) -> Float:
    """Gains in units of their extent, float64 [n, objectives]."""
    span = np.ptp(gains, axis=0)
    scaled: Float = (gains - gains.min(axis=0)) / np.where(span > 0, span, 1.0)
    return scaled


def _spread(points: Float, first: list[int], count: int) -> list[int]:
    """Indices of up to `count` points: the first ones, then always the farthest from those before."""
    chosen = list(dict.fromkeys(first))
    distance = np.min([np.linalg.norm(points - points[i], axis=1) for i in chosen], axis=0)
    while len(chosen) < min(count, len(points)):
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, np.linalg.norm(points - points[chosen[-1]], axis=1))
    return chosen


def _central(points: Float, count: int) -> list[int]:
    """Indices of points in the middle of as many parts of all of them, at most `count` (Lloyd's algorithm, 1982)."""
    ordered = points[np.argsort(points[:, 0], kind="stable")]
    centres = ordered[np.linspace(0, len(points) - 1, 2 * count + 1).round().astype(int)[1::2]]
    for _ in range(REASSIGNED):
        part = np.linalg.norm(points[:, None] - centres[None], axis=2).argmin(axis=1)
        moved = [points[part == i].mean(axis=0) if (part == i).any() else centre for i, centre in enumerate(centres)]
        if np.array_equal(moved, centres):
            break
        centres = np.stack(moved)
    nearest = np.linalg.norm(points[:, None] - centres[None], axis=2).argmin(axis=0)
    return list(dict.fromkeys(int(i) for i in nearest))
