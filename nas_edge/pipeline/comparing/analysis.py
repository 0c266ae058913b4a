"""From runs to a table: medians, regrets, tests against the baseline, what the differences can mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas_edge.pipeline.comparing.optimum import KnownOptimum
from nas_edge.pipeline.comparing.problem import ComparedProblem
from nas_edge.pipeline.comparing.runs import RunKey, RunRecord
from nas_edge.pipeline.comparing.statistics import Paired, Spread, holm, least_p, paired, spread
from nas_edge.search.hypervolume import hypervolume

Float = NDArray[np.float64]
Records = Mapping[RunKey, RunRecord]

SIGNIFICANT = 0.05
# Strategies that learn of the surrogates without evaluating them.
_LOOK_INSIDE = ("auto", "exact", "differentiable", "epsilon", "islands", "lagrangian", "least")
_MARGIN = 0.1  # of the fronts' span, by which the reference point of a hypervolume is worse than the worst


@dataclass(frozen=True)
class Row:
    """One strategy within one budget.

    Attributes:
        strategy, budget: as written; the budget "all" is the mean over all budgets, seed by seed.
        spread: of the values: the objective's, or hypervolumes.
        regret: of the median against the known optimum; None where none is known.
        against: the baseline; None for the baseline itself.
        p_holm: p corrected for all tests of the same kind; None for the baseline.
        wall_s: median, of a search.

    """

    strategy: str
    budget: str
    spread: Spread
    regret: float | None
    against: Paired | None
    p_holm: float | None
    wall_s: float

    def to_json(self) -> dict[str, Any]:
        """As plain data, without the time, which is another in every run."""
        data = asdict(self)
        del data["wall_s"]
        return data


@dataclass(frozen=True)
class Analysis:
    """All rows, and what must be known to read them.

    Attributes:
        value: what is compared: "accuracy", "hypervolume of accuracy, latency".
        maximise: whether more of it is better.
        rows: budget by budget, strategies in the order asked for.
        overall: one row a strategy over all budgets; empty for a single budget.
        optima: by budget.
        notes: what must be said beside the table.

    """

    value: str
    maximise: bool
    rows: tuple[Row, ...]
    overall: tuple[Row, ...]
    optima: Mapping[str, KnownOptimum | None]
    notes: tuple[str, ...]


def analyse(
    problem: ComparedProblem,
    strategies: Sequence[str],
    baseline: str,
    optima: Mapping[str, KnownOptimum | None],
    seeds: Sequence[int],
    records: Records,
) -> Analysis:
    """Put the runs into a table.

    Args:
        problem: that was searched.
        strategies: in order, the baseline among them.
        baseline: that the others are held against.
        optima: for each budget, in order.
        seeds: of each strategy and budget.
        records: all runs.

    """
    several = len(problem.objectives) > 1
    maximise = several or problem.metrics[problem.objectives[0]].maximise
    sign = 1.0 if maximise else -1.0
    values = {budget: _values(problem, strategies, budget, seeds, records) for budget in optima}
    rows: list[Row] = []
    for budget, known in optima.items():
        for strategy in strategies:
            times = [records[RunKey(strategy, budget, seed)].wall_s for seed in seeds]
            rows.append(_row(strategy, budget, values[budget], baseline, sign, known, float(np.median(times))))
    overall: list[Row] = []
    if len(optima) > 1:
        means = {s: np.mean([values[budget][s] for budget in optima], axis=0) for s in strategies}
        overall = [_row(s, "all", means, baseline, sign, None, 0.0) for s in strategies]
    rows, overall = _corrected(rows), _corrected(overall)
    name = f"hypervolume of {', '.join(problem.objectives)}" if several else problem.objectives[0]
    notes = _notes(problem, several, rows, len(seeds), baseline, strategies)
    return Analysis(name, maximise, tuple(rows), tuple(overall), optima, notes)


def _values(
    problem: ComparedProblem, strategies: Sequence[str], budget: str, seeds: Sequence[int], records: Records
) -> dict[str, Float]:
    """Each strategy's gains, float64 [seeds], -inf where nothing was found."""
    by_strategy = {s: [records[RunKey(s, budget, seed)] for seed in seeds] for s in strategies}
    signs = np.array([1.0 if problem.metrics[name].maximise else -1.0 for name in problem.objectives])
    if len(problem.objectives) == 1:
        return {
            s: np.array([-np.inf if r.value is None else signs[0] * r.value for r in runs])
            for s, runs in by_strategy.items()
        }
    fronts = {s: [signs * np.array(r.front) for r in runs] for s, runs in by_strategy.items()}
    box = Box.around([front for found in fronts.values() for front in found if len(front)])
    if box is None:
        return {s: np.full(len(seeds), -np.inf) for s in strategies}
    return {s: np.array([box.share(front) for front in found]) for s, found in fronts.items()}


@dataclass(frozen=True, eq=False)
class Box:
    """The part of the objectives' space between the worst (less a margin) and the best of some fronts.

    Attributes:
        low, span: float64 [objectives], all to be maximised.

    """

    low: Float
    span: Float

    @classmethod
    def around(cls, fronts: Sequence[Float]) -> Box | None:
        """The box of fronts, float64 [n, objectives] each; None where there is none."""
        if not fronts:
            return None
        points = np.concatenate(fronts)
        low, high = points.min(axis=0), points.max(axis=0)
        return cls(low, np.where(high > low, high - low, 1.0))

    def share(self, front: Float) -> float:
        """The share of it that a front dominates."""
        if not len(front):
            return 0.0
        margin = np.full(len(self.span), _MARGIN)
        return hypervolume((front - self.low) / self.span, -margin) / float((1 + _MARGIN) ** len(self.span))


def hypervolumes(
    problem: ComparedProblem, strategies: Sequence[str], budget: str, seeds: Sequence[int], records: Records
) -> dict[RunKey, list[tuple[int, float]]]:
    """(evaluations, share of the box of all fronts of a budget) on the way of each run."""
    signs = np.array([1.0 if problem.metrics[name].maximise else -1.0 for name in problem.objectives])
    keys = [RunKey(strategy, budget, seed) for strategy in strategies for seed in seeds]
    box = Box.around([signs * np.array(records[key].front) for key in keys if records[key].front])
    if box is None:
        return {key: [] for key in keys}
    return {
        key: [(n, box.share(signs * np.array(front).reshape(-1, len(signs)))) for n, front in records[key].fronts]
        for key in keys
    }


def _row(
    strategy: str,
    budget: str,
    gains: Mapping[str, Float],
    baseline: str,
    sign: float,
    known: KnownOptimum | None,
    wall_s: float,
) -> Row:
    found = spread(gains[strategy])
    shown = found
    if sign < 0:
        negated = [None if v is None else -v for v in (found.median, found.high, found.low)]
        shown = Spread(negated[0], negated[1], negated[2])
    regret = None
    if known is not None and found.median is not None:
        regret = sign * known.value - found.median
    against = None if strategy == baseline else paired(gains[strategy], gains[baseline])
    return Row(strategy, budget, shown, regret, against, None, wall_s)


def _corrected(rows: Sequence[Row]) -> list[Row]:
    corrected = iter(holm([row.against.p for row in rows if row.against is not None]))
    return [row if row.against is None else replace(row, p_holm=next(corrected)) for row in rows]


def _notes(
    problem: ComparedProblem, several: bool, rows: Sequence[Row], seeds: int, baseline: str, strategies: Sequence[str]
) -> tuple[str, ...]:
    notes = []
    inside = [strategy for strategy in strategies if strategy.partition(":")[0] in _LOOK_INSIDE]
    if inside:
        notes.append(
            f"looking inside the surrogates (costs of blocks, gradients), as done by {' and '.join(inside)}, is no "
            "evaluation: equal evaluations are not equal knowledge there; see the seconds"
        )
    tests = sum(row.against is not None for row in rows)
    least = min(1.0, tests * least_p(seeds))
    if tests and least > SIGNIFICANT:
        notes.append(
            f"{seeds} seeds and {tests} tests: Holm's correction leaves no p below {least:.2g}, "
            "whatever is found; run more seeds, or fewer strategies and budgets"
        )
    if several:
        notes.append(
            "hypervolumes are shares of the box between the worst (less a tenth) and the best of all fronts of the "
            "same budget: they change with what is compared"
        )
    noise = problem.noise
    if noise is not None and not several and problem.objectives[0] == "accuracy":
        notes.append(_noise_note(rows, noise.rmse, noise.label_noise, baseline))
    return tuple(notes)


def _noise_note(rows: Sequence[Row], rmse: float, label_noise: float | None, baseline: str) -> str:
    labels = "" if label_noise is None else f"; its labels alone are noisy by {label_noise:.4f}"
    text = f"the accuracy predictor is off by {rmse:.4f} (rmse on networks it was not fitted to{labels})"
    differences = [
        (row, abs(row.against.difference)) for row in rows if row.against and row.against.difference is not None
    ]
    below = [row for row, difference in differences if difference < rmse]
    if not below:
        return f"{text}; every median difference from {baseline} is larger"
    some = ", ".join(dict.fromkeys(f"{row.strategy} at {row.budget or 'no budget'}" for row in below[:4]))
    more = f" and {len(below) - 4} more" if len(below) > 4 else ""
    return (
        f"{text}: {len(below)} of {len(differences)} median differences from {baseline} are smaller ({some}{more}); "
        "they say which strategy serves the predictor better, not which network is truly better"
    )
