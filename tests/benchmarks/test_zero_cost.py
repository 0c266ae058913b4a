"""How zero-cost proxies rank subnets against their measured accuracies. Printed: `pytest -m benchmark -s`."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

import nas_edge
from nas_edge.accuracy import kendall_tau, read_accuracy
from nas_edge.pipeline.bundle import ACCURACY, load_bundle
from nas_edge.pipeline.zero_cost import zero_cost_of_bundle
from nas_edge.training.measuring.zero_cost import PROXIES

pytestmark = pytest.mark.benchmark

SUBNETS, RESAMPLES = 40, 2000
EMBEDDED = sorted(path.parent.name for path in Path(nas_edge.__file__).parent.glob(f"bundles/*/{ACCURACY}"))


def interval(a, b) -> tuple[float, float]:
    """95 % interval of Kendall's tau: bootstrap over architectures."""
    rng = np.random.default_rng(0)
    taus = [kendall_tau(a[i], b[i]) for i in rng.integers(len(a), size=(RESAMPLES, len(a)))]
    return float(np.quantile(taus, 0.025)), float(np.quantile(taus, 0.975))


@pytest.mark.parametrize("name_of_bundle", EMBEDDED)
def test_rank_correlation_of_zero_cost_proxies_with_measured_accuracies(name_of_bundle: str):
    bundle = load_bundle(name_of_bundle)
    space, classes = bundle.space, bundle.num_classes
    known = read_accuracy(bundle.path / ACCURACY, space).with_role("holdout").of_precision("fp32")
    chosen = np.sort(np.random.default_rng(0).permutation(len(known))[:SUBNETS])
    rows, accuracy = known.population[chosen], known.accuracy[chosen]
    scores = {
        "accuracy predictor": (bundle.accuracy_predictor().predict(rows), 0.0),
        "MACs": (space.macs(rows, classes), 0.0),
        "parameters": (space.params(rows, classes), 0.0),
    }
    for name in PROXIES:
        proxy = zero_cost_of_bundle(name, bundle)
        began = time.process_time()
        scores[name] = proxy.predict(rows), 1e3 * (time.process_time() - began) / len(rows)
    # What a proxy knows beyond size: ranks among networks of like MACs.
    macs = scores["MACs"][0]
    smooth = np.polynomial.Polynomial.fit(np.log(macs), accuracy, 2)
    rest = accuracy - smooth(np.log(macs))
    print(
        f"\nKendall's tau with the accuracy of {len(rows)} held-out subnets of {bundle.name}, 95 % bootstrap interval"
    )
    print(f"{'':<20}{'tau':>6}{'interval':>16}{'beyond MACs':>13}{'interval':>16}{'CPU ms':>9}")
    for name, (score, each_ms) in scores.items():
        low, high = interval(score, accuracy)
        line = f"{name:<20}{kendall_tau(score, accuracy):>6.2f}{f'{low:.2f} to {high:.2f}':>16}"
        if name != "MACs":
            beyond = score - np.polynomial.Polynomial.fit(np.log(macs), score, 2)(np.log(macs))
            rest_low, rest_high = interval(beyond, rest)
            line += f"{kendall_tau(beyond, rest):>13.2f}{f'{rest_low:.2f} to {rest_high:.2f}':>16}{each_ms:>9.0f}"
        print(line)
