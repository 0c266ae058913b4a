"""Differentiable search: architectures as probabilities, climbed by gradient, drawn from at last.

Choices and depths are relaxed by the Gumbel softmax (Jang and others; Maddison and others, 2017) with a falling
temperature, as in SNAS and FBNet (Wu and others, 2019). Costs enter as expectations over the blocks, as in ProxylessNAS
(Cai and others, 2019), exact here (`relaxation`); limits are kept by an augmented Lagrangian with a (damped)
multiplier for each. Several starts are climbed at once, in numpy, by Adam with analytic derivatives.

It is not those papers' whole systems: they train weights and architecture together. This searches a supernet that is
already trained through a surrogate, and looks inside it: where the objective has a gradient or is a sum over blocks,
each step uses them, which the count of evaluations does not show (a step costs about three evaluations a start). Of an
objective that shows neither, a ridge regression on what was told takes its place, so that it works on nothing but
evaluations; it is then as good as the objective is nearly additive.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas_edge.errors import QuantityError
from nas_edge.search.constraints import order
from nas_edge.search.problem import Problem
from nas_edge.search.strategies.adam import Adam
from nas_edge.search.strategies.base import register_strategy
from nas_edge.search.strategies.relaxation import Relaxation
from nas_edge.search.strategies.slopes import Relaxed, relaxed, ridge
from nas_edge.search.strategies.visited import Visited
from nas_edge.spaces import Population

Float = NDArray[np.float64]

_PROBES = 500  # architectures that say how far figures spread; priced, not evaluated
_REMEMBERED = 2000  # best of those told, for the ridge
_REDRAWS = 8
_DAMPING = 0.1  # how fast multipliers follow the pressure of their limits
_SQUARE_DECAY = 0.99  # of Adam: a climb is short


@dataclass(frozen=True)
class DifferentiableOptions:
    """Options of differentiable search.

    Attributes:
        starts: climbed at once.
        steps: of Adam in one climb.
        learning_rate: of the logits.
        hottest: temperature of the softmax at the start of a climb.
        coldest: at its end; it falls geometrically.
        penalty: weight of a squared excess of one standard deviation, against one of the objective.
        draws: architectures drawn and evaluated for each start after a climb.
        warm: share of the starts that set out from the best so far instead of from anywhere.
        initial: random architectures evaluated first, where the objective shows no gradient; at most a quarter of all
            evaluations.

    """

    starts: int = 16
    steps: int = 80
    learning_rate: float = 0.3
    hottest: float = 1.0
    coldest: float = 0.2
    penalty: float = 3.0
    draws: int = 8
    warm: float = 0.5
    initial: int = 200

    def __post_init__(self) -> None:
        for name in ("starts", "steps", "draws", "initial"):
            if getattr(self, name) < 1:
                raise QuantityError(f"option {name} must be at least 1, not {getattr(self, name)}")
        if self.learning_rate <= 0 or self.penalty <= 0 or not 0 <= self.warm <= 1:
            raise QuantityError("options must keep learning_rate and penalty above 0 and warm in 0 to 1")
        if not 0 < self.coldest <= self.hottest:
            raise QuantityError("options must keep coldest above 0 and at most hottest")


@register_strategy("differentiable", DifferentiableOptions)
class Differentiable:
    """Climbs the first objective; asks for what the climbers' probabilities make likely, within the limits first."""

    def __init__(self, problem: Problem, options: DifferentiableOptions, rng: np.random.Generator) -> None:
        self._problem, self._space, self._options, self._rng = problem, problem.space, options, rng
        self._relaxation = Relaxation(problem.space)
        self._probes = problem.space.sample(_PROBES, rng)
        metric = problem.metrics[problem.objectives[0]]
        self._sign = 1.0 if metric.maximise else -1.0
        self._objective = relaxed(metric, self._relaxation)
        self._limits = [_Limit(problem, i, self._relaxation, self._probes) for i in range(len(problem.constraints))]
        self._told = np.zeros((0, len(problem.space.genes)), np.int8)
        self._gain, self._violation = np.zeros(0), np.zeros(0)
        self._visited = Visited(problem.space, rng)
        self._initial: int | None = None

    def ask(self, limit: int) -> Population:
        """What one climb arrives at; random architectures where too little is known for one."""
        options = self._options
        if self._initial is None:
            self._initial = min(options.initial, max(1, limit // 4))
        if self._objective is None and len(self._told) < self._initial:
            return self._asked(self._visited.sample(self._initial - len(self._told)))
        probabilities = self._climb()
        wanted = min(limit, options.starts * (1 + options.draws))
        found = self._asked(self._visited.fresh(self._relaxation.likeliest(probabilities))[:wanted])
        for _ in range(_REDRAWS):
            if len(found) == wanted:
                break
            drawn = self._relaxation.draw(probabilities, 4 * options.draws, self._rng)
            rows = self._within(self._visited.fresh(self._rng.permutation(drawn)))
            found = np.concatenate([found, self._asked(rows[: wanted - len(found)])])
            # Climbers that are sure of themselves draw what is known: listen to them less.
            probabilities = self._relaxation.probabilities(0.7 * np.log(probabilities + 1e-9))
        return found if len(found) else self._asked(self._visited.sample(wanted))

    def tell(self, population: Population, objectives: Float, violation: Float) -> None:
        """The best are kept: as places to set out from, and for the ridge where one is needed."""
        if not len(population):
            return
        self._visited.add(population)
        self._told = np.concatenate([self._told, population])
        self._gain = np.concatenate([self._gain, objectives[:, 0]])
        self._violation = np.concatenate([self._violation, violation])
        best = order(self._gain, self._violation)[:_REMEMBERED]
        self._told, self._gain, self._violation = self._told[best], self._gain[best], self._violation[best]

    def _asked(self, rows: Population) -> Population:
        self._visited.add(rows)
        return rows

    def _within(self, rows: Population) -> Population:
        """Those within the limits, or what comes nearest where none is."""
        if not self._problem.constraints or not len(rows):
            return rows
        violation = self._problem.violation(rows)
        return rows[violation <= max(0.0, float(violation.min()))]

    # The climb -------------------------------------------------------------------------------------------------------

    def _climb(self) -> Float:
        """Probabilities that each start ends with, float64 [starts, size]."""
        options, relaxation, rng = self._options, self._relaxation, self._rng
        objective, spread = self._scaled_objective()
        logits = self._begin()
        adam = Adam(options.learning_rate, square_decay=_SQUARE_DECAY)
        multipliers = np.zeros((len(self._limits), len(logits)))
        cooling = (options.coldest / options.hottest) ** (1 / options.steps)
        temperature = options.hottest
        for _ in range(options.steps):
            noise = rng.gumbel(size=logits.shape) * temperature / options.hottest
            probabilities = relaxation.probabilities((logits + noise) / temperature)
            _, slope = objective(probabilities)
            slope = -self._sign * slope / spread
            for i, limit in enumerate(self._limits):
                excess, by_probability = limit(probabilities)
                pressure = np.maximum(0.0, multipliers[i] + options.penalty * excess)
                slope = slope + pressure[:, None] * by_probability
                multipliers[i] += _DAMPING * (pressure - multipliers[i])
            logits = logits - adam.step(relaxation.to_logits(probabilities, slope))
            temperature *= cooling
        return relaxation.probabilities(logits / temperature)

    def _begin(self) -> Float:
        """Logits to set out from: some lean towards the best so far, the others nowhere."""
        options, rng = self._options, self._rng
        logits = rng.normal(0.0, 0.3, (options.starts, self._relaxation.size))
        warm = min(int(options.warm * options.starts), len(self._told))
        if warm:
            # One half from the very best, the other from anywhere among the better ones.
            ranks = np.arange(warm)
            ranks[warm // 2 :] = rng.integers(0, min(len(self._told), 10 * options.starts), warm - warm // 2)
            logits[:warm] += self._relaxation.logits_of(self._told[ranks], 1.0)
        return logits

    def _scaled_objective(self) -> tuple[Relaxed, float]:
        """The objective, and what counts as one standard deviation of it."""
        if self._objective is None:
            one_hot = self._relaxation.one_hot(self._told)
            return ridge(one_hot, self._sign * self._gain, self._relaxation), max(float(self._gain.std()), 1e-12)
        pure = self._relaxation.logits_of(self._probes[:100], 30.0)
        values, _ = self._objective(self._relaxation.probabilities(pure))
        return self._objective, max(float(values.std()), 1e-12)


class _Limit:
    """Excess over a constraint in standard deviations of random architectures, and its derivative."""

    def __init__(self, problem: Problem, number: int, relaxation: Relaxation, probes: Population) -> None:
        constraint = problem.constraints[number]
        metric = problem.metrics[constraint.metric]
        figures = problem.values(constraint.metric, probes)
        self._limit, self._sign = constraint.limit, 1.0 if constraint.upper else -1.0
        self._spread = max(float(figures.std()), 1e-12)
        # A constraint may be priced as often as one likes: where it shows nothing of itself, it is fitted now.
        self._figure = relaxed(metric, relaxation) or ridge(relaxation.one_hot(probes), figures, relaxation)

    def __call__(self, probabilities: Float) -> tuple[Float, Float]:
        """float64 [n], positive beyond the limit, and float64 [n, size]."""
        figure, slope = self._figure(probabilities)
        return self._sign * (figure - self._limit) / self._spread, self._sign * slope / self._spread
