"""Fronts beside what single budgets find, on Once-for-All's problem. Printed, not asserted: `pytest -m benchmark -s`.

A front is what all of its evaluations find together; a single budget has a whole default search to itself.
"""

from __future__ import annotations

import numpy as np
import pytest

from nas_edge.search import Constraint, search
from nas_edge.search.hypervolume import hypervolume
from tests.benchmarks import problems

pytestmark = pytest.mark.benchmark

BUDGETS_MS = (15, 17.5, 20, 25, 30, 35, 40, 50)
STRATEGIES, SEEDS, EVALUATIONS = ("epsilon", "nsga2"), 6, 50_000


def test_fronts_beside_single_budgets(shared_dir):
    space, metrics = problems.once_for_all(shared_dir)
    single = [
        search(space, metrics, [Constraint("latency", "<=", ms)], look_for_slack=False).figures["accuracy"]
        for ms in BUDGETS_MS
    ]
    worst = np.array([metrics["accuracy"](space.smallest()[None])[0], -metrics["latency"](space.largest()[None])[0]])
    print(f"\naccuracy in points, less what a search of each budget finds; median of {SEEDS} seeds")
    print("budget ms " + " ".join(f"{ms:>6g}" for ms in BUDGETS_MS) + "    mean  least  hypervolume")
    for strategy in STRATEGIES:
        gaps, volumes = [], []
        for seed in range(SEEDS):
            found = search(
                space, metrics, [], objective=("accuracy", "latency"), strategy=strategy, evaluations=EVALUATIONS,
                seed=seed,
            )  # fmt: skip
            accuracy, latency = found.front_figures["accuracy"], found.front_figures["latency"]
            best = [accuracy[latency <= ms].max() for ms in BUDGETS_MS]
            gaps.append(100 * (np.array(best) - single))
            volumes.append(hypervolume(np.stack([accuracy, -latency], axis=1), worst))
        middle = " ".join(f"{gap:+6.2f}" for gap in np.median(gaps, axis=0))
        print(
            f"{strategy:<9} {middle}  {np.mean(gaps):+6.3f} {np.min(gaps):+6.2f}  {np.median(volumes):.3f}", flush=True
        )
