"""Figures of the search: rows a second, seconds a search. Printed, not asserted: `pytest -m benchmark -s`.

The figures in the README are of one core: run with OMP_NUM_THREADS=1.
"""

from __future__ import annotations

import itertools
import subprocess
import sys
import time

import numpy as np
import pytest

from nas_edge.accuracy import AccuracyPredictor, FeatureLayout
from nas_edge.search import Constraint, FunctionMetric, MetricContext, build_metrics, extreme, search
from nas_edge.spaces import SearchSpace

pytestmark = pytest.mark.benchmark

EVALUATIONS = 50_000
SPACES = ("lite0", "mcu", "ofa-mbv3-w1.2")


def five_members(space: SearchSpace) -> AccuracyPredictor:
    """Random weights in the shape that the fit gives."""
    layout, rng = FeatureLayout.of(space), np.random.default_rng(0)
    sizes = [layout.size, 64, 1]
    return AccuracyPredictor(
        layout,
        tuple(rng.normal(0, a**-0.5, (5, a, b)).astype(np.float32) for a, b in itertools.pairwise(sizes)),
        tuple(rng.normal(0, 0.1, (5, b)).astype(np.float32) for b in sizes[1:]),
        rng.normal(0, 1, (5, layout.size)).astype(np.float32),
    )


def seconds(work, repeats: int = 5) -> float:
    """Least of a few runs, in s."""
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)


@pytest.mark.parametrize("name", SPACES)
def test_speed_of_sampling_pricing_predicting_and_searching(name):
    space = SearchSpace.named(name)
    metrics = build_metrics(["accuracy", "macs", "params"], MetricContext(space, 6, five_members(space)))
    price = space.costs(lambda block: 0.02 + block.macs / 2e7 + block.params / 5e6, 6)
    metrics["latency"] = FunctionMetric("latency", "ms", lambda population: 0.1 + 1.05 * price.sum(population))
    population = space.sample(EVALUATIONS, np.random.default_rng(0))
    budget = Constraint("latency", "<=", float(np.quantile(metrics["latency"](population), 0.1)))

    def sample_and_price():
        metrics["latency"](space.sample(EVALUATIONS, np.random.default_rng(1)))

    print(f"\n{name}: {space.size():.3g} architectures, {EVALUATIONS:,} at a time")
    for what, work in [
        ("sampling and pricing", sample_and_price),
        ("predicting accuracy (5 members)", lambda: metrics["accuracy"](population)),
    ]:
        print(f"  {what:<32} {EVALUATIONS / seconds(work):>12,.0f} a second")
    whole = seconds(lambda: search(space, metrics, [budget], evaluations=EVALUATIONS), 3)
    print(f"  {'search':<32} {whole:>12.3f} s for {EVALUATIONS:,} evaluations")


def test_distance_from_the_exact_optimum_of_additive_surrogates():
    print("\nevolution against the exact optimum of additive surrogates on lite0, 10 seeds")
    space = SearchSpace.named("lite0")
    lines = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        score = space.costs(lambda block, rng=rng: block.macs**0.4 * rng.uniform(0.5, 1.5), 6)
        price = space.costs(lambda block, rng=rng: block.macs / 1e8 * rng.uniform(0.7, 1.3) + 0.02, 6)
        metrics = {
            "accuracy": FunctionMetric("accuracy", "", score.sum, maximise=True),
            "latency": FunctionMetric("latency", "ms", price.sum),
        }
        limit = float(np.quantile(price.sum(space.sample(5000, rng)), 0.3))
        optimum = milp(space, score, price, limit)
        result = search(space, metrics, [Constraint("latency", "<=", limit)], seed=seed)
        lines.append(1 - result.figures["accuracy"] / optimum)
    print(f"  below the optimum: median {np.median(lines):.5%}, worst {max(lines):.5%}")
    free = extreme(space, "accuracy", FunctionMetric("accuracy", "", score.sum, True, score), least=False)
    assert free.exact


def milp(space, score, price, limit) -> float:
    """The exact optimum for the best resolution, by scipy's HiGHS: a multiple-choice knapsack over stages' blocks."""
    from scipy.optimize import Bounds, LinearConstraint
    from scipy.optimize import milp as solve

    layout, best = space.layout, -np.inf
    for resolution in layout.values[0]:
        smallest = space.restrict(resolutions=(space.template.resolutions[resolution - 1],)).smallest()
        gains, costs, groups, follows = [], [], [], []
        base = smallest.copy()
        base[layout.globals :] = 0
        gain0, cost0 = score.sum(base[None])[0], price.sum(base[None])[0]
        for stage in layout.stages:
            before: list[int] = []
            for slot, (k, e) in enumerate(zip(stage.kernels, stage.expands, strict=True)):
                mine = []
                for choice in itertools.product(layout.values[k], layout.values[e]):
                    row = base.copy()
                    row[[k, e]] = choice
                    mine.append(len(gains))
                    gains.append(score.sum(row[None])[0] - gain0)
                    costs.append(price.sum(row[None])[0] - cost0)
                groups.append((mine, slot < stage.depths.min()))
                follows.append((mine, before))
                before = mine
        rows, low, high = [np.array(costs)], [-np.inf], [limit - cost0]
        for mine, needed in groups:
            row = np.zeros(len(gains))
            row[mine] = 1
            rows.append(row)
            low.append(1.0 if needed else 0.0)
            high.append(1.0)
        for mine, before in follows:
            if before:
                row = np.zeros(len(gains))
                row[mine], row[before] = 1, -1
                rows.append(row)
                low.append(-np.inf)
                high.append(0.0)
        solved = solve(
            -np.array(gains), constraints=LinearConstraint(np.stack(rows), low, high),
            integrality=np.ones(len(gains)), bounds=Bounds(0, 1), options={"mip_rel_gap": 0.0},
        )  # fmt: skip
        if solved.success:
            best = max(best, gain0 - solved.fun)
    return float(best)


def test_start_of_a_search_process():
    code = "import time; t = time.perf_counter(); import nas_edge.search; print(time.perf_counter() - t)"
    times = [
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
        for _ in range(3)
    ]
    print(f"\nimporting the search, numpy included: {min(times):.3f} s")
