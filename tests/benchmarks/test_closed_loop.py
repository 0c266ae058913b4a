"""Budgets that hold when measured: twenty searches on this machine, and each network checked later by another process.

`pytest -m benchmark -s tests/benchmarks/test_closed_loop.py` takes about half an hour: the searches one after another,
a pause so that each network is at least ten minutes old, then `nas-edge profile` of each run's own file in random
order. Every budget is printed, whatever became of it; none is run twice.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from nas_edge.latency import LatencyPredictor
from nas_edge.pipeline.bundle import load_bundle
from nas_edge.pipeline.devices.targets import load_target
from nas_edge.pipeline.tables.finding import load_table_for

BUDGETS, SEED, PAUSE_S = 20, 20, 600.0
ALLOWED, USED = 1.02, 0.93


@dataclass
class Outcome:
    """One budget: what the search said, and what was measured later (ms)."""

    budget: float
    report: dict
    run: Path
    done: float
    later: float = float("nan")

    @property
    def result(self) -> dict:
        return json.loads((self.run / "result.json").read_text())


def nas_edge(*words: str, ok: tuple[int, ...] = (0,)) -> dict:
    """One command in a process of its own; its JSON."""
    command = [sys.executable, "-c", "from nas_edge.cli.main import main; main()", *words, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode in ok, done.stderr
    return json.loads(done.stdout)


def budgets() -> np.ndarray:
    """Evenly in log latency between the 5th and 95th percentile of random subnets, rounded as people write them."""
    target, bundle = load_target("local"), load_bundle("trashnet")
    found = load_table_for(target)
    if not found.own:
        pytest.skip("no table of this CPU; measure one: nas-edge table measure --target local")
    predictor = LatencyPredictor.of(found.table, bundle.space, bundle.num_classes)
    ms = predictor.point(bundle.space.sample(5000, np.random.default_rng(SEED)))
    low, high = np.quantile(ms, [0.05, 0.95])
    return np.round(np.geomspace(low, high, BUDGETS), 3)


@pytest.mark.benchmark
def test_budgets_hold_when_measured_again_by_another_process(tmp_path: Path) -> None:
    rng = np.random.default_rng(SEED)
    outcomes = []
    for number, budget in enumerate(rng.permutation(budgets())):
        run = tmp_path / f"run-{number:02d}"
        words = ("search", "--target", "local", "--latency", f"{budget:g}ms", "--verify", "--out", str(run))
        report = nas_edge(*words, "--seed", str(number), ok=(0, 1))
        outcomes.append(Outcome(float(budget), report, run, time.monotonic()))
    for number in rng.permutation(len(outcomes)):
        outcome = outcomes[number]
        time.sleep(max(0.0, outcome.done + PAUSE_S - time.monotonic()))
        nas_edge("export", str(outcome.run))
        outcome.later = nas_edge("profile", str(outcome.run), "--target", "local")["latency_ms"]["median"]
    print_table(outcomes)
    assert all(np.isfinite(outcome.later) for outcome in outcomes)


def print_table(outcomes: list[Outcome]) -> None:
    """Each budget, and what the promises came to."""
    print("\n budget ms  predicted  measured  upper95    later  later/budget  rounds  accuracy  verified")
    for one in sorted(outcomes, key=lambda outcome: outcome.budget):
        latency, result = one.report["latency_ms"], one.result
        print(
            f"{one.budget:10.3f} {latency['predicted']:10.3f} {latency['measured']:9.3f} {result['upper95_ms']:8.3f} "
            f"{one.later:8.3f} {one.later / one.budget:13.3f} {result['rounds']:7d} "
            f"{one.report['accuracy']['measured'] or float('nan'):9.4f}  {one.report['verified']}"
        )
    verified = [one for one in outcomes if one.report["verified"]]
    share = np.array([one.later / one.budget for one in outcomes])
    error = np.array(
        [one.report["latency_ms"]["predicted"] / one.report["latency_ms"]["measured"] - 1 for one in outcomes]
    )
    print(f"accepted by the search: {len(verified)} of {len(outcomes)}")
    print(f"later at most budget + 2 %: {(share <= ALLOWED).sum()} of {len(outcomes)}; worst {share.max():.3f}")
    print(f"share of the budget used: median {np.median(share):.3f} (at least {USED} wanted), least {share.min():.3f}")
    print(f"rounds of measuring: {sum(one.result['rounds'] for one in outcomes)}")
    print(
        f"the table's own prediction of what was returned: MAPE {100 * np.abs(error).mean():.2f} %, "
        f"bias {100 * error.mean():+.2f} %, worst {100 * np.abs(error).max():.2f} %"
    )
