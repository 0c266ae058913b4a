"""Bayesian optimisation: for evaluations that are dear, 200 to 2,000 of them.

A Gaussian process (see `gaussian_process` for its kernel and sources) is fitted to what was told; asked for is what
has the greatest expected improvement over the best within the limits (Jones and others, 1998). Constrained expected
improvement (Gardner and others, 2014) multiplies by the probability of feasibility. Constraints are known and cheap
here, so that probability is 0 or 1: candidates beyond a limit are not considered, unless nothing within is known, when
those that come nearest are. Batches are chosen one after another, each as if those before had turned out as expected.
The acquisition is climbed by mutation and crossover of the best, as in BANANAS (White and others, 2021) and NASBOT
(Kandasamy and others, 2018); unlike theirs the model is no ensemble or graph kernel, and what is evaluated is a
surrogate of a supernet that is already trained, or the supernet itself, not trainings from scratch.

Its cost is bounded: at most `data` architectures are modelled (the best and a random part of the rest), and batches
grow with what is known, so that 20,000 evaluations take about two hundred rounds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas_edge.errors import QuantityError
from nas_edge.search.constraints import order
from nas_edge.search.problem import Problem
from nas_edge.search.strategies.base import register_strategy
from nas_edge.search.strategies.gaussian_process import GaussianProcess, Hyperparameters, OneHot, Worth, fitted
from nas_edge.search.strategies.visited import Visited
from nas_edge.spaces import Population

Float = NDArray[np.float64]

_PARENTS = 60
_IN_ONE_STEP = 64  # points of a batch that are chosen one after another; larger batches take several at once
_BATCH_SHARE = 1 / 25  # of what is known
_REFIT_GROWTH = 1.2
_LEAST_DATA = 3
_FAR = -3.5  # deviations below the best: from there on an asymptotic formula is the better one


@dataclass(frozen=True)
class BayesianOptions:
    """Options of Bayesian search.

    Attributes:
        initial: random architectures at the start; at most a quarter of all evaluations.
        batch: architectures a round, until a twenty-fifth of what is known is more.
        data: architectures modelled at most.
        fitted_data: of these, how many the hyper-parameters are fitted to.
        fit_steps: of Adam in a fit; one follows whenever a fifth more is known.
        candidates: weighed in each generation of the climb.
        generations: of the climb.

    """

    initial: int = 50
    batch: int = 8
    data: int = 800
    fitted_data: int = 300
    fit_steps: int = 40
    candidates: int = 600
    generations: int = 4

    def __post_init__(self) -> None:
        for name in ("initial", "batch", "data", "fitted_data", "fit_steps", "candidates", "generations"):
            if getattr(self, name) < 1:
                raise QuantityError(f"option {name} must be at least 1, not {getattr(self, name)}")


@register_strategy("bayesian", BayesianOptions)
class Bayesian:
    """Constrained expected improvement of the first objective, in batches."""

    def __init__(self, problem: Problem, options: BayesianOptions, rng: np.random.Generator) -> None:
        self._problem, self._space, self._options, self._rng = problem, problem.space, options, rng
        layout = problem.space.layout
        absent = np.ones(layout.genes, bool)
        absent[: layout.globals] = False
        nothing = np.zeros(1, np.int8)
        self._one_hot = OneHot.of(
            [np.concatenate([nothing, v]) if gone else v for v, gone in zip(layout.values, absent, strict=True)]
        )
        self._rows = np.zeros((0, layout.genes), np.int8)
        self._gain, self._violation = np.zeros(0), np.zeros(0)
        self._modelled, self._visited = Visited(problem.space, rng), Visited(problem.space, rng)
        self._at = Hyperparameters(np.zeros(layout.genes))
        self._fitted_at = 0
        self._begun = False

    def ask(self, limit: int) -> Population:
        """The batch that promises most together."""
        enough = self._options.initial if not self._begun else _LEAST_DATA
        if len(self._rows) < enough:
            self._begun = True
            return self._initial(min(limit, max(_LEAST_DATA, limit // 4)))
        model = self._model()
        count = min(limit, max(self._options.batch, int(len(self._rows) * _BATCH_SHARE)))
        worth = self._worth()
        candidates = self._candidates(model, worth, count)
        if not len(candidates):
            return candidates
        steps = min(count, _IN_ONE_STEP)
        chosen = model.spread_out(candidates, steps, worth)
        if count > steps:
            # A large batch: what is next best once these are believed.
            rest = np.setdiff1d(np.arange(len(candidates)), chosen, assume_unique=True)
            mean, deviation = model.predict(candidates[rest])
            best = np.argsort(-worth(mean, deviation), kind="stable")[: count - steps]
            chosen = np.concatenate([chosen, rest[best]])
        return self._asked(candidates[chosen])

    def tell(self, population: Population, objectives: Float, violation: Float) -> None:
        """Kept as data, each architecture once."""
        new = self._modelled.new(population)
        self._modelled.add(population)
        self._visited.add(population)
        self._rows = np.concatenate([self._rows, population[new]])
        self._gain = np.concatenate([self._gain, objectives[new, 0]])
        self._violation = np.concatenate([self._violation, violation[new]])

    # The model -------------------------------------------------------------------------------------------------------

    def _model(self) -> GaussianProcess:
        """The posterior; its hyper-parameters are fitted anew when a fifth more is known."""
        chosen = self._subset(self._options.data)
        if len(self._rows) >= _REFIT_GROWTH * self._fitted_at:
            few = chosen if len(chosen) <= self._options.fitted_data else self._subset(self._options.fitted_data)
            figures = self._gain[few]
            y = (figures - figures.mean()) / max(float(figures.std()), 1e-12)
            x = self._one_hot(self._rows[few])
            self._at = fitted(self._one_hot, x, y, self._at, self._options.fit_steps)
            self._fitted_at = len(self._rows)
        return GaussianProcess(self._one_hot, self._rows[chosen], self._gain[chosen], self._at)

    def _subset(self, size: int) -> NDArray[np.intp]:
        """What is modelled: the better half the best, the rest drawn from the others."""
        ranked = order(self._gain, self._violation)
        if len(ranked) <= size:
            return np.sort(ranked)
        best, others = ranked[: size // 2], ranked[size // 2 :]
        drawn = self._rng.choice(others, size - len(best), replace=False)
        return np.sort(np.concatenate([best, drawn]))

    def _worth(self) -> Worth:
        """Expected improvement over the best within the limits; over the best of all where nothing is within."""
        feasible = self._violation <= 0
        best = float(self._gain[feasible].max() if feasible.any() else self._gain.max())

        def improvement(mean: Float, deviation: Float) -> Float:
            return log_improvement((mean - best) / deviation) + np.log(deviation)

        return improvement

    # Candidates ------------------------------------------------------------------------------------------------------

    def _initial(self, limit: int) -> Population:
        """Random architectures; half of them mixed with the smallest and largest, so that any limit is in range."""
        space, rng = self._space, self._rng
        count = min(limit, self._options.initial)
        rows = space.sample(4 * count + 8, rng)
        ends = np.stack([space.smallest(), space.largest()])
        mixed = space.crossover(rows, ends[rng.integers(0, 2, len(rows))], rng)
        both = np.where((rng.random(len(rows)) < 0.5)[:, None], rows, mixed)
        both = space.repair(both)
        fresh = self._visited.fresh(np.concatenate([both, space.sample(1000, rng)]))
        near = order(np.zeros(len(fresh)), self._problem.violation(fresh))
        # A quarter within the limits or nearest to them, the others wherever they fall.
        within = near[: count // 4]
        others = np.setdiff1d(np.arange(len(fresh)), within)[: count - len(within)]
        return self._asked(fresh[np.concatenate([within, others])])

    def _candidates(self, model: GaussianProcess, worth: Worth, count: int) -> Population:
        """Where the acquisition is great: some generations of mutation and crossover of what was best in it."""
        options, space, rng = self._options, self._space, self._rng
        wanted = max(options.candidates, 2 * count)
        best = order(self._gain, self._violation)[:_PARENTS]
        parents = self._rows[best]
        found = np.zeros((0, len(space.genes)), np.int8)
        for _ in range(options.generations):
            rows = parents[rng.integers(0, len(parents), wanted)]
            others = parents[rng.integers(0, len(parents), wanted)]
            rows = np.where((rng.random(wanted) < 0.5)[:, None], space.crossover(rows, others, rng), rows)
            rate = rng.choice([1.0, 2.0, 4.0]) / len(space.genes)
            rows = np.concatenate([space.mutate(rows, rng, min(0.5, rate)), space.sample(wanted // 10, rng)])
            found = self._visited.fresh(np.concatenate([found, rows]))
            if not len(found):
                break
            violation = self._problem.violation(found)
            enough = min(count, len(found))
            found = found[violation <= max(0.0, float(np.partition(violation, enough - 1)[enough - 1]))]
            mean, deviation = model.predict(found)
            found = found[np.argsort(-worth(mean, deviation), kind="stable")[:wanted]]
            parents = np.concatenate([found[:_PARENTS], self._rows[best[: _PARENTS // 3]]])
        return found

    def _asked(self, rows: Population) -> Population:
        self._visited.add(rows)
        return rows


def log_improvement(ahead: Float) -> Float:
    """Logarithm of the expected positive part of a normal variable of mean `ahead` [n] and deviation 1, within 2 %.

    The logarithm orders alike, and tells apart what is hardly likely to improve at all. The distribution function is
    Abramowitz and Stegun's 26.2.17.
    """
    log_density = -0.5 * ahead**2 - 0.5 * math.log(2 * math.pi)
    t = 1.0 / (1.0 + 0.2316419 * np.abs(ahead))
    series = t * (0.319381530 + t * (-0.356563782 + t * (1.781477937 + t * (-1.821255978 + t * 1.330274429))))
    density = np.exp(log_density)
    below = np.where(ahead >= 0, 1.0 - density * series, density * series)
    far = log_density - np.log(ahead**2 + 3.0)
    result: Float = np.where(ahead > _FAR, np.log(np.maximum(density + ahead * below, 1e-300)), far)
    return result
