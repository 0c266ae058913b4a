"""The exact optimum of sums over terms, and the proof of it: an integer program solved by HiGHS through scipy.

An objective that is a sum over terms (or a rising function of one) under constraints that are, any number of them, is a
multiple-choice knapsack problem with several dimensions. HiGHS (Huangfu and Hall, 2018) solves it by branch and cut.
Its tolerances are the only thing that stands between its answer and a proof: rows and objective are scaled so that
they are 1e-10 of a sum's span, limits are drawn by as much too wide, and what comes back is held against the true
figures; an architecture that exceeds a limit after all is ruled out and the program solved again.
"""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas_edge.errors import SpaceError
from nas_edge.search.constraints import Constraint
from nas_edge.search.integer_program import IntegerProgram, LinearRow, LinearSum
from nas_edge.search.metrics import Metric, Monotone
from nas_edge.search.problem import Problem
from nas_edge.spaces import Population

Float = NDArray[np.float64]

_SCALE = 1e4  # a sum's span in the program; HiGHS takes 1e-6 of anything for nothing
_MARGIN = 1e-6
_HALVINGS = 100
LISTABLE = 1_000_000  # architectures that brute force could list: there nothing less than equality will do
GAP = 1e-6


@dataclass(frozen=True, eq=False)
class Optimum:
    """The best architecture within the constraints, as far as it is proven.

    Attributes:
        arch: int8 [genes]; None where there is none, or none was found in time.
        figure: its objective, in the metric's unit; NaN without an architecture.
        bound: no architecture within the constraints is better than this (to 1e-9 of the span of figures).
        proven: `arch` is the optimum, up to the gap asked for; or without one, nothing meets the constraints.
        wall_s: seconds in all.

    """

    arch: Population | None
    figure: float
    bound: float
    proven: bool
    wall_s: float


@dataclass(frozen=True)
class Bound:
    """How good an architecture within the constraints can be.

    Attributes:
        value: no figure of the objective is better, in the metric's unit; infinite where nothing could be proven.
        gap: relative distance from the best architecture that was found on the way; NaN where none was.
        exact: the value is attained, up to the gap asked for.

    """

    value: float
    gap: float
    exact: bool


def as_monotone(metric: Metric) -> Monotone | None:
    """A metric as a rising function of a sum over terms, where it is one."""
    if metric.costs is not None:
        return Monotone(metric.costs, _itself)
    return metric.monotone


def upper_bound(problem: Problem, time_limit_s: float = 120.0, gap: float = GAP) -> Bound:
    """How good the first objective can be at most (at least, where less is better).

    Exact where objective and constraints are sums over terms or rising functions of them. A constraint that is neither
    is left out, which can only raise the bound.

    Raises:
        SpaceError: the objective is not additive: an integer program says nothing about it.

    """
    kept = [c for c in problem.constraints if as_monotone(problem.metrics[c.metric]) is not None]
    relaxed = problem.without([c for c in problem.constraints if c not in kept])
    found = ExactSolver(relaxed, gap).best(time_limit_s)
    meets = found.arch is not None and bool(problem.violation(found.arch[None])[0] <= 0)
    distance = abs(found.bound - found.figure) / max(abs(found.figure), 1e-300) if meets else math.nan
    return Bound(found.bound, distance, found.proven and meets)


class ExactSolver:
    """Best architectures of an additive problem, one after another.

    Args:
        problem: its first objective is optimised.
        gap: relative difference that is not worth a proof; 0 for the very best. Where an objective is nearly one of the
            constraints, thousands of architectures differ by less. Of spaces of at most 10^6 architectures it is
            always 0.

    Raises:
        SpaceError: the objective or a constraint is not a rising function of a sum over terms, or the space is a list.

    """

    def __init__(self, problem: Problem, gap: float = GAP) -> None:
        self._problem = problem
        self._metric = problem.metrics[problem.objectives[0]]
        self._objective = _needed(problem.objectives[0], self._metric)
        limited = [(c, _needed(c.metric, problem.metrics[c.metric])) for c in problem.constraints]
        self._program = IntegerProgram(problem.space, [self._objective.costs, *(m.costs for _, m in limited)])
        self._sum = self._program.linear(self._objective.costs)
        self._limits = [_Limit.of(c, m, self._program.linear(m.costs)) for c, m in limited]
        self._excluded: list[LinearRow] = []
        self._highs = _Highs(self._program, gap if problem.space.size() > LISTABLE else 0.0)

    def exclude(self, row: Population) -> None:
        """Leave this architecture (int8 [genes]) out from now on."""
        self._excluded.append(self._program.not_this(row))

    def best(self, time_limit_s: float) -> Optimum:
        """The best that is not excluded."""
        began = time.perf_counter()
        toward = -1.0 if self._metric.maximise else 1.0
        scale = _scale(self._sum)
        unknown = math.inf if self._metric.maximise else -math.inf
        if not all(limit.within_reach for limit in self._limits):
            return Optimum(None, math.nan, -unknown, True, time.perf_counter() - began)
        while True:
            left = time_limit_s - (time.perf_counter() - began)
            rows = [*(limit.row() for limit in self._limits), *self._excluded]
            solved = self._highs.minimise(toward * scale * self._sum.weights, rows, max(left, 0.01))
            wall_s = time.perf_counter() - began
            bound = unknown
            if math.isfinite(solved.bound):
                bound = self._figure(self._sum.constant + toward * solved.bound / scale)
            if solved.solution is None:
                bound = -unknown if solved.infeasible else bound
                return Optimum(None, math.nan, bound, solved.infeasible, wall_s)
            arch = self._program.decode(solved.solution)
            if self._problem.violation(arch[None])[0] > 0:
                self.exclude(arch)  # beyond a limit by less than HiGHS can see
                continue
            figure = float(self._problem.values(self._problem.objectives[0], arch[None])[0])
            # Rounding must not make a bound worse than what is there.
            bound = max(bound, figure) if self._metric.maximise else min(bound, figure)
            return Optimum(arch, figure, bound, solved.proven, wall_s)

    def nearest(self, time_limit_s: float) -> Population | None:
        """Where nothing meets the constraints: the architecture with the least total relative excess, int8 [genes].

        Of sums exactly; a rising function's excess is taken to grow evenly from its limit to its greatest figure.
        """
        count = len(self._limits)
        variables = self._program.variables
        rows = [limit.row(slack=variables + i) for i, limit in enumerate(self._limits)]
        weights = np.zeros(variables + count)
        per_slack = np.array([limit.excess_per_slack for limit in self._limits])
        weights[variables:] = per_slack / max(float(per_slack.sum()), 1e-300)
        solved = self._highs.minimise(weights, rows, time_limit_s)
        return None if solved.solution is None else self._program.decode(solved.solution[:variables])

    def _figure(self, total: float) -> float:
        return float(self._objective.function(np.array([total]))[0])


@dataclass(frozen=True, eq=False)
class _Limit:
    """A constraint as a limit on a sum, scaled."""

    linear: LinearSum
    threshold: float
    upper: bool
    within_reach: bool
    excess_per_slack: float

    @classmethod
    def of(cls, constraint: Constraint, metric: Monotone, linear: LinearSum) -> _Limit:
        least, most = linear.constant, linear.constant + linear.span
        if metric.function is _itself:
            threshold, within = constraint.limit, True
            slope = 1.0 / abs(constraint.limit)
        else:
            rounding = 1e-9 * linear.span
            threshold, within = _threshold(constraint, metric, least - rounding, most + rounding)
            far = most if constraint.upper else least
            beyond = float(constraint.excess(metric.function(np.array([far])))[0])
            slope = max(beyond, 1e-9) / max(abs(far - threshold), rounding, 1e-300)
        return cls(linear, threshold, constraint.upper, within, slope / _scale(linear))

    def row(self, slack: int | None = None) -> LinearRow:
        """As a row of the program; with `slack`, the variable that says by how much it may be exceeded."""
        scale, sign = _scale(self.linear), 1.0 if self.upper else -1.0
        indices = np.flatnonzero(self.linear.weights)
        weights = sign * scale * self.linear.weights[indices]
        # Sums of the same figures in another order differ by this.
        rounding = 1e-14 * (abs(self.threshold) + abs(self.linear.constant))
        limit = scale * (sign * (self.threshold - self.linear.constant) + rounding) + _MARGIN
        if slack is not None:
            indices, weights = np.append(indices, slack), np.append(weights, -1.0)
        # What no sum can reach is not worth more digits than this.
        return LinearRow(indices, weights, -np.inf, min(max(limit, -100 * _SCALE), 100 * _SCALE))


def _threshold(constraint: Constraint, metric: Monotone, least: float, most: float) -> tuple[float, bool]:
    """The sum at which a rising function meets its limit, by bisection, and whether any sum meets it."""

    def meets(total: float) -> bool:
        return bool(constraint.excess(metric.function(np.array([total])))[0] <= 0)

    good, bad = (least, most) if constraint.upper else (most, least)
    if meets(bad):
        return bad, True
    if not meets(good):
        return good, False
    for _ in range(_HALVINGS):
        middle = (good + bad) / 2
        good, bad = (middle, bad) if meets(middle) else (good, middle)
    return bad, True


def _scale(linear: LinearSum) -> float:
    return _SCALE / max(linear.span, 1e-9 * abs(linear.constant), 1e-300)


def _itself(sums: Float) -> Float:
    return sums


def _needed(name: str, metric: Metric) -> Monotone:
    found = as_monotone(metric)
    if found is None:
        raise SpaceError(
            f"strategy 'exact' needs sums over the network's blocks, and {name!r} is neither one nor a rising function "
            "of one; use --strategy evolution, or exhaustive on a space small enough to be listed"
        )
    return found


# HiGHS ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Solved:
    """What HiGHS says: a solution if there is one, a lower bound of the minimum, and what of it is proven."""

    solution: Float | None
    bound: float
    proven: bool
    infeasible: bool


class _Highs:
    """The rows of a program, kept as a sparse matrix between calls."""

    def __init__(self, program: IntegerProgram, gap: float) -> None:
        import scipy.optimize
        import scipy.sparse

        self._scipy: Any = scipy
        self._variables, self._rows, self._gap = program.variables, program.rows, gap

    def minimise(self, weights: Float, rows: Sequence[LinearRow], time_limit_s: float) -> _Solved:
        """Weights beyond the program's variables are of slacks: continuous, at least 0."""
        scipy, every = self._scipy, [*self._rows, *rows]
        place = np.repeat(np.arange(len(every)), [len(row.indices) for row in every])
        entries = np.concatenate([row.weights for row in every])
        indices = np.concatenate([row.indices for row in every])
        matrix = scipy.sparse.csr_array((entries, (place, indices)), shape=(len(every), len(weights)))
        binary = np.arange(len(weights)) < self._variables
        limits = scipy.optimize.LinearConstraint(matrix, [row.lower for row in every], [row.upper for row in every])
        with _nothing_printed():
            done = scipy.optimize.milp(
                weights,
                constraints=limits,
                integrality=binary.astype(int),
                bounds=scipy.optimize.Bounds(0.0, np.where(binary, 1.0, np.inf)),
                options={"mip_rel_gap": self._gap, "time_limit": time_limit_s},
            )
        bound = done.get("mip_dual_bound")
        optimal, infeasible = done.status == 0, done.status == 2
        return _Solved(done.x, -math.inf if bound is None else float(bound), optimal, infeasible)


@contextmanager
def _nothing_printed() -> Iterator[None]:
    """HiGHS leaves a line or two on standard output, told to be quiet or not: they would end up within our JSON."""
    sys.stdout.flush()
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)
