"""Every strategy beside random search at equal evaluations. Printed, not asserted: `pytest -m benchmark -s`.

On Once-for-All's own problem and on the embedded bundle, 10 seeds each: the best predicted accuracy within the budget,
median and quartiles; on how many of the seeds it is above random search's of that seed; Wilcoxon's signed-rank test of
the pairs, two-sided (0.002 is the least that ten pairs can give); seconds of a search. A strategy is here by being
registered. One alone: `-k bayesian`. Two hundred evaluations are what true ones allow, and all that a Gaussian process
over every figure so far is run with.
"""

from __future__ import annotations

import time
from functools import cache

import numpy as np
import pytest

from nas_edge.errors import NasEdgeError
from nas_edge.search import Constraint, search, strategy_names
from tests.benchmarks import problems

pytestmark = pytest.mark.benchmark

SEEDS, EVALUATIONS = 10, (200, 5_000, 20_000)
MOST_EVALUATIONS = {"bayesian": 200}
BUDGETS_MS = {"once-for-all": (20.0, 30.0, 40.0), "trashnet": (0.6, 0.9, 1.2)}
YARDSTICKS = ("random", "exhaustive")


@cache
def problem(name, shared_dir):
    return problems.trashnet() if name == "trashnet" else problems.once_for_all(shared_dir)


@cache
def found(strategy, name, budget_ms, evaluations, shared_dir):
    """Best accuracy, float64 [seeds]; median seconds of a search."""
    space, metrics = problem(name, shared_dir)
    limits, best, seconds = [Constraint("latency", "<=", budget_ms)], [], []
    for seed in range(SEEDS):
        began = time.perf_counter()
        result = search(
            space, metrics, limits, strategy=strategy, evaluations=evaluations, seed=seed, look_for_slack=False
        )
        seconds.append(time.perf_counter() - began)
        best.append(result.figures["accuracy"])
    return np.array(best), float(np.median(seconds))


@pytest.mark.parametrize("evaluations", EVALUATIONS)
@pytest.mark.parametrize("name", BUDGETS_MS)
@pytest.mark.parametrize("strategy", [name for name in strategy_names() if name not in YARDSTICKS])
def test_a_strategy_beside_random_search(strategy, name, evaluations, shared_dir):
    stats = pytest.importorskip("scipy.stats")
    if evaluations > MOST_EVALUATIONS.get(strategy, evaluations):
        pytest.skip(f"{strategy} is for few evaluations")
    print(f"\n{strategy} on {name}, {evaluations:,} evaluations, {SEEDS} seeds")
    print("  budget    median  (quartiles)           random  (quartiles)          above    p      s  random's")
    for budget_ms in BUDGETS_MS[name]:
        chance, chance_s = found("random", name, budget_ms, evaluations, shared_dir)
        try:
            best, seconds = found(strategy, name, budget_ms, evaluations, shared_dir)
        except NasEdgeError as error:
            pytest.skip(str(error))
        difference = best - chance
        p = stats.wilcoxon(difference).pvalue if difference.any() else 1.0
        print(
            f"  {budget_ms:4.1f} ms {_spread(best)} {_spread(chance)} "
            f"{(difference > 0).sum():3d}/{SEEDS} {p:7.3f} {seconds:6.2f} {chance_s:6.2f}"
        )


def _spread(values) -> str:
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    return f" {middle:.5f} ({low:.5f} to {high:.5f})"
