"""Searches in tables, held against the best there is."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from nas_edge.errors import BudgetError
from nas_edge.search import Constraint, Problem, make_strategy, search
from nas_edge.search.tabular import regret, tabular_metrics, tabular_objective
from nas_edge.spaces.tabular import TabularSpace


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> TabularSpace:
    """All 3^7 networks of seven genes; more of everything costs more, and is mostly better."""
    rng = np.random.default_rng(0)
    weight, cost = rng.random((7, 3)).cumsum(axis=1), rng.random((7, 3)).cumsum(axis=1)
    rows = np.array(list(itertools.product(range(3), repeat=7)))
    accuracy = weight[np.arange(7), rows].sum(axis=1) + 0.2 * rng.random(len(rows))
    latency = cost[np.arange(7), rows].sum(axis=1)
    path = tmp_path_factory.mktemp("table") / "t.csv"
    header = ",".join([*(f"gene.x{i}" for i in range(7)), "metric.latency ms", "metric.accuracy"])
    lines = [",".join(map(str, [*row, ms, right])) for row, ms, right in zip(rows, latency, accuracy, strict=True)]
    path.write_text("\n".join([header, *lines]))
    return TabularSpace.read(path)


def limit(table, share=0.4):
    return Constraint("latency", "<=", float(np.quantile(table.figure("latency").values, share)))


def test_exhaustive_search_of_a_table_has_no_regret(table):
    found = regret(search(table, tabular_metrics(table), [limit(table)]))
    within = table.figure("latency").values <= limit(table).limit
    best = table.figure("accuracy").values[within].max()
    assert (found.regret, found.rank, found.optimum, found.feasible) == (0.0, 0, best, within.sum())


@pytest.mark.parametrize("strategy", ["evolution", "random"])
def test_regret_is_the_distance_to_the_best_that_is_allowed(table, strategy):
    result = search(table, tabular_metrics(table), [limit(table)], strategy=strategy, evaluations=300)
    found = regret(result)
    accuracy, latency = table.figure("accuracy").values, table.figure("latency").values
    within = latency <= limit(table).limit
    assert found.regret == pytest.approx(accuracy[within].max() - result.figures["accuracy"])
    assert found.rank == (accuracy[within] > result.figures["accuracy"]).sum()


def test_evolution_learns_in_a_table(table):
    metrics, limits = tabular_metrics(table), [limit(table)]
    options = {"initial": 50, "children": 25, "population": 20}
    by_seed = [
        [
            regret(search(table, metrics, limits, strategy=s, options=o, evaluations=400, seed=seed)).regret
            for s, o in (("evolution", options), ("random", {"batch": 50}))
        ]
        for seed in range(7)
    ]
    evolution, random = np.median(by_seed, axis=0)
    assert evolution < random


def test_a_list_with_holes_can_be_searched(table):
    few = table.restrict(x0=[0, 1])
    some = np.random.default_rng(1).choice(few.size(), 200, replace=False)
    sparse = replace(few, rows=few.rows[some], figures=tuple(replace(f, values=f.values[some]) for f in few.figures))
    problem = Problem(sparse, tabular_metrics(sparse), ("accuracy",), (limit(sparse),))
    strategy, asked = make_strategy("evolution", problem, np.random.default_rng(0), {"initial": 40}), 0
    while asked < 120 and len(rows := strategy.ask(120 - asked)):
        assert sparse.is_valid(rows).all()
        strategy.tell(rows, problem.gains(rows), problem.violation(rows))
        asked += len(rows)
    assert asked > 100


def test_impossible_limits_are_told_with_the_least_figure(table):
    with pytest.raises(BudgetError, match="cannot be met: the least"):
        search(table, tabular_metrics(table), [Constraint("latency", "<=", 1e-6)])


def test_the_objective_is_what_is_to_be_great(table):
    assert tabular_objective(table) == "accuracy"
    assert regret(search(table, tabular_metrics(table), [])).regret == 0


@pytest.mark.parametrize("strategy", ["evolution", "aging", "local"])
def test_with_few_evaluations_strategies_still_learn_from_them(table, strategy):
    def found(name):
        return [
            search(
                table, tabular_metrics(table), [limit(table)], strategy=name, evaluations=200, seed=seed,
                look_for_slack=False,
            ).figures["accuracy"]
            for seed in range(10)
        ]  # fmt: skip

    pairs = list(zip(found(strategy), found("random"), strict=True))
    assert sum(mine > other for mine, other in pairs) >= sum(mine < other for mine, other in pairs) + 4
