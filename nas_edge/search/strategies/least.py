"""The least cost at a floor: the best that a budget gives, and a budget that walks until that is the floor. The default
where a cost is to be made small and something with a derivative, such as the accuracy, must not be less than so much.

To ask for the least latency at an accuracy is to ask which latency's best accuracy that is: the same problem turned
round, which `islands` and `lagrangian` are good at. A first look at a few budgets says where about the floor lies and
how much the figure rises with the budget there. Then courses of the one or the other run under a budget that follows
what is found: networks are compared by the figure less the price of their cost (the Lagrangian of the problem), so that
what is near the floor but not on it counts as well, and the best of them says which budget would do for the floor.
Later courses begin with the best so far, at a slope that is known better. It looks inside the metrics as those two do,
searches a trained supernet through a surrogate and trains nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas_edge.errors import QuantityError, SpaceError
from nas_edge.search.constraints import Constraint
from nas_edge.search.problem import Problem
from nas_edge.search.separable import Slots, separable_extreme, slot_costs
from nas_edge.search.strategies.base import register_strategy
from nas_edge.search.strategies.islands import IslandOptions, suits_islands
from nas_edge.search.strategies.lagrangian import LagrangianOptions, suits_lagrangian
from nas_edge.search.strategies.moving import IslandCourse, PriceCourse
from nas_edge.spaces import Population

Float = NDArray[np.float64]

LOOK_SHARE = 0.15  # of the evaluations that the first look may take
LOOK_GENERATIONS = 3
FEWEST = 8  # children of a generation of the first look
CLOSER = 2  # looks where the floor seems to be, twice as long
FITTED = 4  # budgets of the first look that a curve is laid through
NEAR = 0.05  # of a budget: what counts as near it
ABOUT = (0.9, 0.95, 1.0, 1.05)  # shares of a budget between which the slope is taken
LEAST_SLOPE = 1e-3  # of the figure over the budget
FLAT = 0.3  # of the mean slope that is believed in at least
LONGEST = 1.1  # step of the budget
GRID = 400  # budgets at which the curve is read
ELITE = 8  # networks that a course begins with
UNSURE = 6  # generations of the first course, after which its budget is taken to be nearly right


@dataclass(frozen=True)
class LeastOptions:
    """Options of the search for the least cost.

    Attributes:
        courses: of islands or prices whose budget stays about where it began; 0 for as many as the evaluations allow.
        looks: budgets of the first look.
        look_islands, look_children: of each of them, at most; islands where it is for these.
        jitter: by how much the budget is varied from one generation to the next, relative.
        margin: by how much it is wider than the best network so far asks for, relative.

    """

    courses: int = 3
    looks: int = 5
    look_islands: int = 16
    look_children: int = 200
    jitter: float = 0.01
    margin: float = 0.003

    def __post_init__(self) -> None:
        for name in ("looks", "look_islands", "look_children"):
            if getattr(self, name) < 1:
                raise QuantityError(f"option {name} must be at least 1, not {getattr(self, name)}")
        if self.courses < 0:
            raise QuantityError(f"option courses must be at least 0, not {self.courses}")
        for name in ("jitter", "margin"):
            if not 0 <= getattr(self, name) < 0.5:
                raise QuantityError(f"option {name} must be at least 0 and below 0.5, not {getattr(self, name)}")


def suits_least(problem: Problem) -> bool:
    """Whether a problem is one of a least cost at a floor, and shows what is needed."""
    return not _lacking(problem)


def _lacking(problem: Problem) -> str:
    """What a problem lacks for this strategy, in words; empty where it lacks nothing."""
    if not problem.space.layout.stages:
        return f"space {problem.space.name!r} has no stages of blocks"
    if len(problem.objectives) > 1:
        return "there are several objectives"
    objective = problem.metrics[problem.objectives[0]]
    if objective.maximise:
        return f"metric {objective.name!r} is none to be made small"
    if objective.monotone is None or slot_costs(Slots.of(problem.space), objective.monotone.costs) is None:
        return f"metric {objective.name!r} is no sum over blocks"
    floors = [constraint for constraint in problem.constraints if not constraint.upper]
    if len(floors) != 1:
        return f"there are {len(floors)} limits from below, not one"
    if not problem.metrics[floors[0].metric].maximise:
        return f"constraint {floors[0]} is none on a figure of which more is better"
    turned = _turned(problem, floors[0], 1.0)
    if not (suits_islands(turned) or suits_lagrangian(turned)):
        return f"constraint {floors[0]} is on no figure that shows its derivative, or another is on no sum over blocks"
    return ""


def _turned(problem: Problem, floor: Constraint, budget: float) -> Problem:
    """The floor's figure to be made great within a budget of the objective."""
    limits = [constraint for constraint in problem.constraints if constraint.upper]
    limits.append(Constraint(problem.objectives[0], "<=", budget))
    return Problem(problem.space, problem.metrics, (floor.metric,), tuple(limits))


class _Known:
    """What was told: rows, costs, figures of the floor's metric, excess over the other limits."""

    def __init__(self, genes: int) -> None:
        self.rows = np.zeros((0, genes), np.int8)
        self.cost, self.figure, self.beyond = np.zeros(0), np.zeros(0), np.zeros(0)

    def add(self, rows: Population, cost: Float, figure: Float, beyond: Float) -> None:
        """Keep int8 [n, genes] and float64 [n] each."""
        self.rows = np.concatenate([self.rows, rows])
        self.cost, self.figure = np.append(self.cost, cost), np.append(self.figure, figure)
        self.beyond = np.append(self.beyond, beyond)

    def greatest(self, budget: float) -> float:
        """The greatest figure within a budget and the other limits; -inf where there is none."""
        return float(self.figure[(self.cost <= budget) & (self.beyond <= 0)].max(initial=-np.inf))


@register_strategy("least", LeastOptions)
class Least:
    """A first look at some budgets, then courses under a budget that walks.

    Raises:
        SpaceError: what the problem lacks for it.

    """

    def __init__(self, problem: Problem, options: LeastOptions, rng: np.random.Generator) -> None:
        lacking = _lacking(problem)
        if lacking:
            raise SpaceError(f"strategy 'least' cannot search this: {lacking}; use --strategy evolution")
        self._problem, self._options, self._rng = problem, options, rng
        self._floor = next(constraint for constraint in problem.constraints if not constraint.upper)
        self._others = problem.without([self._floor])
        self._ends = _ends(problem)
        self._cheapest, self._dearest = (float(cost) for cost in -problem.gains(self._ends)[:, 0])
        self._ladder = np.geomspace(1.1 * self._cheapest, self._dearest, options.looks + 1)[:-1]
        self._looked: list[float] = []
        self._known, self._least = _Known(len(problem.space.genes)), np.inf
        self._total = 0
        self._course: IslandCourse | PriceCourse | None = None
        self._courses, self._settled, self._generation = 0, 0, 0
        # Of the look or course: its budget, the price of cost, the best figure less that price near the budget.
        self._budget, self._price, self._best = self._dearest, 0.0, -np.inf
        self._began = self._budget

    def ask(self, limit: int) -> Population:
        """The next generation of the first look or of a course; none once all courses have ended."""
        if not self._total:
            self._total = limit
            return self._ends[:limit]
        while True:
            fresh = self._course is None
            if self._course is None:
                self._course = self._next()
            if self._course is None:
                return self._ends[:0]
            if self._courses:
                self._course.move(self._turned(self._varied()))
            self._generation += 1
            rows = self._course.ask(limit)
            if len(rows):
                return rows
            self._course = None
            if fresh and self._courses:
                return rows

    def tell(self, population: Population, objectives: Float, violation: Float) -> None:
        """What the course makes of it; and where the budget walks to."""
        if not len(population):
            return
        cost, met = -objectives[:, 0], violation <= 0
        beyond = self._others.violation(population)
        figure = self._figures(population, violation - beyond)
        self._known.add(population, cost, figure, beyond)
        self._least = min(self._least, float(cost[met].min(initial=np.inf)))
        if self._course is None:
            return
        worth, excess = self._judged(cost, figure, beyond)
        self._course.tell(population, worth[:, None], excess)
        if self._courses:
            self._follow(cost, worth, beyond)

    def _figures(self, rows: Population, shortfall: Float) -> Float:
        """The floor's metric, float64 [n]: as the shortfall says; where there is none only the metric knows."""
        figure = self._floor.limit - shortfall * abs(self._floor.limit)
        above = np.flatnonzero(shortfall <= 0)
        figure[above] = self._problem.values(self._floor.metric, rows[above])
        return figure

    def _judged(self, cost: Float, figure: Float, beyond: Float) -> tuple[Float, Float]:
        """Worth and violation, float64 [n] each: under the look's fixed budget, or at the course's price."""
        if self._courses:
            return figure - self._price * cost, beyond
        return figure, beyond + np.maximum(cost / self._budget - 1, 0)

    def _turned(self, budget: float) -> Problem:
        return _turned(self._problem, self._floor, budget)

    def _varied(self) -> float:
        """A budget about where it should be, up to the least cost known; just there as long as that is far away."""
        if self._courses == 1 and self._generation < UNSURE:
            return self._budget
        # What promises most may be just off the floor: what is on it then costs more, but less than the least known.
        low, high = self._budget * (1 - self._options.jitter), min(self._least, self._budget * (1 + NEAR))
        return float(self._rng.uniform(min(low, high), high))

    def _next(self) -> IslandCourse | PriceCourse | None:
        """The next look, or the next course; none where nothing can be better or all have been."""
        self._generation = 0
        looks = len(self._looked)
        if looks < len(self._ladder) + CLOSER:
            if looks < len(self._ladder):
                self._budget = float(self._ladder[looks])
            else:
                self._survey()
            self._looked.append(self._budget)
            return self._made(LOOK_GENERATIONS if looks < len(self._ladder) else 2 * LOOK_GENERATIONS)
        # A course whose budget walked far was on its way.
        self._settled += self._courses > 0 and abs(np.log(self._budget / self._began)) < NEAR
        enough = self._options.courses and self._settled == self._options.courses
        if enough or self._least <= self._cheapest:
            return None
        known = self._known
        self._price = self._survey() if not self._courses else self._slope()
        worth = known.figure - self._price * known.cost
        self._courses += 1
        self._best = -np.inf
        self._follow(known.cost, worth, known.beyond)
        self._began = self._budget
        course = self._made()
        near = np.flatnonzero((np.abs(known.cost / self._budget - 1) < NEAR) & (known.beyond <= 0))
        best = near[np.argsort(-worth[near], kind="stable")[:ELITE]]
        course.tell(known.rows[best], worth[best, None], known.beyond[best])
        return course

    def _made(self, looking: int = 0) -> IslandCourse | PriceCourse:
        """A course, or a look of so many generations."""
        problem, options = self._turned(self._budget), self._options
        share = LOOK_SHARE * self._total / ((options.looks + 2 * CLOSER) * LOOK_GENERATIONS)
        children = max(FEWEST, min(options.look_children, int(share)))
        if suits_lagrangian(problem):
            prices = LagrangianOptions(children=children, generations=looking) if looking else LagrangianOptions()
            return PriceCourse(problem, prices, self._rng)
        islands = IslandOptions()
        if looking:
            islands = IslandOptions(islands=options.look_islands, children=children, generations=looking)
        return IslandCourse(problem, islands, self._rng)

    def _follow(self, cost: Float, worth: Float, beyond: Float) -> None:
        """Where the budget would do for the floor, by the best near it; never above the least cost that is known."""
        near = (np.abs(cost / self._budget - 1) < NEAR) & (beyond <= 0)
        self._best = max(self._best, float(worth[near].max(initial=-np.inf)))
        budget = self._budget
        if np.isfinite(self._best):
            budget = (self._floor.limit - self._best) / self._price * (1 + self._options.margin)
            budget = float(np.clip(budget, self._budget / LONGEST, self._budget * LONGEST))
        self._budget = float(np.clip(budget, self._cheapest, min(self._dearest, self._least)))

    def _slope(self) -> float:
        """How much the figure rises with the budget about where it is, by the best that is known there."""
        budgets = self._budget * np.array(ABOUT)
        figures = np.array([self._known.greatest(budget) for budget in budgets])
        there = np.isfinite(figures)
        slope = float(np.polyfit(budgets[there], figures[there], 1)[0]) if there.sum() > 1 else self._price
        return max(slope, LEAST_SLOPE * abs(self._floor.limit) / self._budget)

    def _survey(self) -> float:
        """Move the budget to where the looks say that the floor lies; the slope there.

        A curve is laid through the best of the looks about the floor, over the logarithm of the budget. Closer looks,
        which find more, raise all of it.
        """
        figures = np.array([self._known.greatest(budget) for budget in self._looked])
        found = np.flatnonzero(np.isfinite(figures[: len(self._ladder)]))
        found = found[np.argsort(np.abs(figures[found] - self._floor.limit), kind="stable")[:FITTED]]
        if not len(found):
            return LEAST_SLOPE * abs(self._floor.limit) / self._budget
        curve = np.polyfit(np.log(self._ladder[found]), figures[found], min(2, len(found) - 1))
        wanted = self._floor.limit
        if len(self._looked) > len(self._ladder) and np.isfinite(figures[-1]):
            wanted -= max(float(figures[-1] - np.polyval(curve, np.log(self._looked[-1]))), 0.0)
        places = np.linspace(np.log(self._cheapest), np.log(self._dearest), GRID)
        heights = np.maximum.accumulate(np.polyval(curve, places))
        place = places[min(int(np.searchsorted(heights, wanted)), GRID - 1)]
        self._budget = float(np.exp(place))
        # Where the curve is flat, near its end, it says little: some of its mean slope is left.
        rise = np.ptp(figures[found]) / max(np.ptp(np.log(self._ladder[found])), 1e-9)
        steepness = max(float(np.polyval(np.polyder(curve), place)), FLAT * float(rise))
        return max(steepness, LEAST_SLOPE * abs(self._floor.limit)) / self._budget


def _ends(problem: Problem) -> Population:
    """The networks of least and greatest cost, int8 [2, genes]."""
    monotone = problem.metrics[problem.objectives[0]].monotone
    assert monotone is not None
    found = [separable_extreme(problem.space, monotone.costs, least=least) for least in (True, False)]
    return np.stack([row for row in found if row is not None])
