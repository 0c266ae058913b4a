"""Strategies in a list of architectures: no stages, names of genes that mean nothing, and combinations that lack."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from nas_edge.search import Constraint, search
from nas_edge.search.tabular import regret, tabular_metrics
from nas_edge.spaces import TabularSpace

EVALUATIONS, SEEDS = 500, 5


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Two in three of 4^6 combinations; genes help each other in pairs."""
    rng = np.random.default_rng(0)
    rows = np.array(list(itertools.product(range(4), repeat=6)))
    rows = rows[rng.random(len(rows)) < 2 / 3]
    one, two, cost = rng.random((6, 4)), rng.random((3, 4, 4)), rng.random((6, 4))
    places = np.arange(6)
    accuracy = one[places, rows].sum(axis=1) + two[np.arange(3), rows[:, ::2], rows[:, 1::2]].sum(axis=1)
    latency = 1 + cost[places, rows].sum(axis=1)
    path = tmp_path_factory.mktemp("table") / "t.csv"
    header = ",".join([*(f"gene.{name}" for name in "stuvwx"), "metric.latency ms", "metric.accuracy"])
    lines = [",".join(map(str, [*row, ms, right])) for row, ms, right in zip(rows, latency, accuracy, strict=True)]
    path.write_text("\n".join([header, *lines]))
    return TabularSpace.read(path)


def median_regret(table, strategy, options):
    limits = [Constraint("latency", "<=", float(np.quantile(table.figure("latency").values, 0.3)))]
    asked = {"strategy": strategy, "options": options, "evaluations": EVALUATIONS, "look_for_slack": False}
    found = [search(table, tabular_metrics(table), limits, seed=seed, **asked) for seed in range(SEEDS)]
    return float(np.median([regret(result).regret for result in found]))


@pytest.mark.parametrize(
    ("strategy", "options"),
    [
        ("aging", {"population": 50, "batch": 10}),
        ("nsga2", {"population": 50}),
        ("local", {"initial": 50}),
        ("reinforce", {"batch": 20}),
        ("ppo", {"batch": 20}),
    ],
)
def test_a_strategy_beats_random_search_in_a_list_with_gaps(table, strategy, options):
    assert median_regret(table, strategy, options) < median_regret(table, "random", {"batch": 50})
