"""The least and greatest figure that a space allows for a metric, and the architecture that has it."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from nas_edge.search.checking import checked
from nas_edge.search.constraints import Constraint
from nas_edge.search.metrics import Metric
from nas_edge.search.problem import Problem
from nas_edge.search.strategies.base import make_strategy
from nas_edge.search.strategies.fitting import fitting_strategy
from nas_edge.spaces import Population, Space, TermCosts

EVALUATIONS = 4000
LISTED = 20_000  # architectures of a space that are all looked at


@dataclass(frozen=True, eq=False)
class Extreme:
    """The least or greatest figure.

    Attributes:
        figure: in the metric's unit.
        arch: int8 [genes].
        exact: proven; otherwise the best of a short search.

    """

    figure: float
    arch: Population
    exact: bool


def extreme(space: Space, name: str, metric: Metric, *, least: bool, seed: int = 0) -> Extreme:
    """The least (or greatest) figure: exact where the space is small or the metric rises with a sum over terms.

    Otherwise it is the best of a short search.
    """
    if metric.monotone is not None:
        arch = separable_extreme(space, metric.monotone.costs, least=least)
        if arch is not None:
            return Extreme(float(metric(arch[None])[0]), arch, True)
    if space.size() <= LISTED:
        rows = space.enumerate(LISTED)
        figures = metric(rows)
        best = int(np.argmin(figures) if least else np.argmax(figures))
        return Extreme(float(figures[best]), rows[best], True)
    constraint = Constraint(name, "<=" if least else ">=", 1.0)
    problem = Problem(space, {name: metric}, (name,), ())
    sign = -1.0 if constraint.upper else 1.0
    chosen = fitting_strategy(problem)
    strategy = make_strategy(chosen, problem, np.random.default_rng(seed))
    arch, figure = space.smallest() if least else space.largest(), np.nan
    rows, used = np.stack([space.smallest(), space.largest()]), 0
    while len(rows):
        values = problem.values(name, rows)
        best = int(np.argmax(sign * values))
        if not sign * values[best] <= sign * figure:
            arch, figure = rows[best], float(values[best])
        strategy.tell(rows, sign * values[:, None], np.zeros(len(rows)))
        used += len(rows)
        left = EVALUATIONS - used
        rows = checked(space, chosen, strategy.ask(left), left) if left > 0 else rows[:0]
    return Extreme(figure, arch, False)


def separable_extreme(space: Space, costs: TermCosts, *, least: bool) -> Population | None:
    """The exact optimum of a sum over terms, int8 [genes]; None where a term joins genes of several blocks.

    For each width and resolution every block's best kernel and ratio is independent of the others, and so is each
    stage's best depth.
    """
    layout = space.layout
    slots = [(k, e) for stage in layout.stages for k, e in zip(stage.kernels, stage.expands, strict=True)]
    slot_of = {int(column): s for s, pair in enumerate(slots) for column in pair}
    term_slots = [{slot_of[int(c)] for c in np.flatnonzero(t) if int(c) in slot_of} for t in costs.index.strides.T]
    if any(len(touched) > 1 for touched in term_slots):
        return None
    outer = np.array(list(itertools.product(*(layout.values[c] for c in range(layout.globals)))), np.int8)
    choices = [np.array(list(itertools.product(layout.values[k], layout.values[e])), np.int8) for k, e in slots]
    most = max((len(pairs) for pairs in choices), default=1)
    rows = np.zeros((len(outer), most, layout.genes), np.int8)
    rows[:, :, : layout.globals] = outer[:, None]
    for (k, e), pairs in zip(slots, choices, strict=True):
        rows[:, :, [k, e]] = pairs[np.arange(most) % len(pairs)]
    flat = rows.reshape(-1, layout.genes)
    sign = 1.0 if least else -1.0
    priced = sign * costs.values[costs.index.locate(flat)].reshape(len(outer), most, -1)
    total = priced[:, 0, [t for t, touched in enumerate(term_slots) if not touched]].sum(axis=1)
    by_slot = np.zeros((len(outer), most, len(slots)))
    for t, touched in enumerate(term_slots):
        for s in touched:
            by_slot[:, :, s] += priced[:, :, t]
    picks, best = by_slot.argmin(axis=1), by_slot.min(axis=1)
    result = np.take_along_axis(rows, np.zeros((len(outer), 1, 1), np.intp), axis=1)[:, 0]
    start = 0
    for stage in layout.stages:
        sums = np.cumsum(best[:, start : start + len(stage.kernels)], axis=1)[:, stage.depths - 1]
        depth = stage.depths[sums.argmin(axis=1)]
        total += sums.min(axis=1)
        for offset, (k, e) in enumerate(zip(stage.kernels, stage.expands, strict=True)):
            chosen = choices[start + offset][picks[:, start + offset] % len(choices[start + offset])]
            result[:, [k, e]] = chosen * (offset < depth)[:, None]
        start += len(stage.kernels)
    optimum: Population = result[int(total.argmin())]
    return optimum
