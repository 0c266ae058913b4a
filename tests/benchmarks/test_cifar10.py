"""The embedded bundle `cifar10` on CIFAR-10's test split: README, "figures".

The only place that reads the test split's labels. Which networks are looked at is decided without it: the largest and
the smallest of the space, and what a search under 30 M MACs returns.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from nas_edge.pipeline.bundle import load_bundle
from nas_edge.pipeline.networks import bundle_dataset, bundle_evaluator
from nas_edge.search.constraints import Constraint
from nas_edge.search.metrics import MetricContext, build_metrics
from nas_edge.search.run import search
from tests.pipeline.cifar10 import real

pytestmark = pytest.mark.benchmark

_BUDGET = 30e6  # MACs


def test_the_largest_the_smallest_and_30_m_macs_on_the_test_split(shared_dir: Path, tmp_path: Path) -> None:
    bundle = load_bundle("cifar10")
    folder = str(real(tmp_path / "cifar-10-batches-bin", shared_dir))
    space, classes = bundle.space, bundle.num_classes
    net, evaluator, dataset = bundle.supernet(), bundle_evaluator(bundle, data=folder), bundle_dataset(bundle, folder)
    metrics = build_metrics(["accuracy", "macs"], MetricContext(space, classes, bundle.accuracy_predictor()))
    found = search(space, metrics, [Constraint("macs", "<=", _BUDGET)], seed=0)
    trained, figures = bundle.header["trained"], {}
    print(f"\n{bundle.name}: {bundle.header['data']['summary']}")
    print(f"{trained['hardware']}: {trained['training_hours']} h, {trained['epochs']} epochs")
    print((bundle.path / "history.csv").read_text())
    print("network              MACs    parameters  px   search   test (95 % interval)")
    archs = (("largest", space.largest()), ("at most 30 M MACs", found.best), ("smallest", space.smallest()))
    for name, arch in archs:
        subnet = evaluator.recalibrated(net, arch)
        side = subnet.resolution
        chosen, test = (evaluator.evaluate(subnet, side, split) for split in (dataset.search, dataset.test))
        figures[name] = test.accuracy
        low, high = (100 * value for value in test.interval())
        macs, params = (float(cost(arch[None], classes)[0]) / 1e6 for cost in (space.macs, space.params))
        print(
            f"{name:17} {macs:7.1f} M  {params:8.2f} M  {side:4d}   {100 * chosen.accuracy:5.2f} %  "
            f"{100 * test.accuracy:5.2f} % ({low:.2f} to {high:.2f})"
        )
    assert len(dataset.search) >= 5000
    assert len(dataset.test) == 10_000
    assert figures["largest"] > figures["smallest"] > 0.5
