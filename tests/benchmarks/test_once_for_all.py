"""Head to head with Once-for-All's finder on its own problem: its space, its Note10 table, its accuracy predictor.

`pytest -m benchmark -s tests/benchmarks/test_once_for_all.py`. The finder's figures (population 100, 500 generations)
and the best known ones were measured on two such cores before this search existed.
"""

from __future__ import annotations

import time

import numpy as np
import pytest

from nas_edge.accuracy.once_for_all import load_accuracy_predictor
from nas_edge.latency import LatencyPredictor
from nas_edge.pipeline.tables.finding import load_table_for
from nas_edge.pipeline.targets import load_target
from nas_edge.search import Constraint, MetricContext, build_metrics, search
from nas_edge.search.metrics import TargetSources
from nas_edge.spaces import SearchSpace

pytestmark = pytest.mark.benchmark

SEEDS, CLASSES, RESOLUTIONS = 10, 1000, (160, 176, 192, 208, 224)
FINDER = {15.0: 0.7854, 20.0: 0.8065, 25.0: 0.8181, 30.0: 0.8244, 40.0: 0.8391, 50.0: 0.8444}
BEST_KNOWN = {15.0: 0.7880, 20.0: 0.8079, 25.0: 0.8220, 30.0: 0.8307, 40.0: 0.8423, 50.0: 0.8495}


@pytest.fixture(scope="module")
def problem(shared_dir):
    space = SearchSpace.named("ofa-mbv3-w1.2").restrict(resolutions=RESOLUTIONS)
    accuracy = load_accuracy_predictor(shared_dir / "data" / "ofa" / "acc_predictor.pth", space)
    latency = LatencyPredictor.of(load_table_for(load_target("samsung-note10")).table, space, CLASSES)
    context = MetricContext(space, CLASSES, accuracy, TargetSources(latency), confidence=0.5)
    return space, build_metrics(["accuracy", "latency"], context)


def test_the_finders_own_budgets(problem):
    space, metrics = problem
    print(
        f"\n ms  finder   best known   median    least     most   below finder   seconds  evaluations ({SEEDS} seeds)"
    )
    for budget, finder in FINDER.items():
        limit = [Constraint("latency", "<=", budget)]
        results = [search(space, metrics, limit, seed=seed) for seed in range(SEEDS)]
        found = np.array([result.figures["accuracy"] for result in results])
        seconds, spent = (np.median([getattr(r, name) for r in results]) for name in ("wall_s", "evaluations"))
        print(
            f"{budget:3.0f}  {finder:.4f}   {BEST_KNOWN[budget]:.4f}       {np.median(found):.4f}   "
            f"{found.min():.4f}   {found.max():.4f}   {(found < finder).sum():12d}   {seconds:7.2f}  {spent:11.0f}"
        )
        assert all(result.figures["latency"] <= budget for result in results)


def test_architectures_a_second_with_a_full_forward(problem):
    space, metrics = problem
    rng, n = np.random.default_rng(0), 100_000
    began = time.perf_counter()
    rows = np.unique(space.mutate(space.sample(n, rng), rng, 0.1), axis=0)
    latency, accuracy = metrics["latency"](rows), metrics["accuracy"](rows)
    best = np.lexsort((-accuracy, latency > 25.0))
    seconds = time.perf_counter() - began
    print(f"\n{len(rows) / seconds:,.0f} unique architectures a second proposed, priced and ranked ({seconds:.2f} s)")
    assert latency[best[0]] <= 25.0
