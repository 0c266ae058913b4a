"""The embedded bundle on the test split, and its accuracy predictor: README, "figures".

The only place that reads the test split's labels. Which networks are looked at is decided without it: the largest and
the smallest of the space, and what a search under a third of the largest's MACs returns.
"""

from __future__ import annotations

import numpy as np
import pytest

from nas_edge.accuracy import kendall_tau, noise_ceiling, read_accuracy
from nas_edge.pipeline.bundle import ACCURACY, load_bundle
from nas_edge.pipeline.networks import bundle_dataset, bundle_evaluator
from nas_edge.search.constraints import Constraint
from nas_edge.search.metrics import MetricContext, build_metrics
from nas_edge.search.run import search

pytestmark = pytest.mark.benchmark


def test_the_largest_the_smallest_and_a_third_on_the_test_split() -> None:
    bundle = load_bundle("trashnet")
    space, classes, predictor = bundle.space, bundle.num_classes, bundle.accuracy_predictor()
    net, evaluator, dataset = bundle.supernet(), bundle_evaluator(bundle), bundle_dataset(bundle, None)
    largest = space.largest()
    third = space.macs(largest[None], classes)[0] / 3
    metrics = build_metrics(["accuracy", "macs"], MetricContext(space, classes, predictor))
    found = search(space, metrics, [Constraint("macs", "<=", third)], seed=0)
    print(f"\n{bundle.name}: {dataset.describe()}")
    print("network              MACs    px   search   test (95 % interval)          balanced")
    accuracy = {}
    for name, arch in (("largest", largest), ("at most a third", found.best), ("smallest", space.smallest())):
        subnet = evaluator.recalibrated(net, arch)
        side = subnet.resolution
        chosen, test = (evaluator.evaluate(subnet, side, split) for split in (dataset.search, dataset.test))
        accuracy[name] = test.accuracy
        low, high = (100 * value for value in test.interval())
        macs = space.macs(arch[None], classes)[0] / 1e6
        print(
            f"{name:16} {macs:7.1f} M  {side:4d}   {100 * chosen.accuracy:5.1f} %  "
            f"{100 * test.accuracy:5.1f} % ({low:.1f} to {high:.1f})   {100 * test.balanced_accuracy:13.1f} %"
        )
    assert accuracy["largest"] >= 0.90
    assert accuracy["at most a third"] >= accuracy["largest"] - 0.03


def test_the_accuracy_predictor_beside_the_noise_ceiling_of_its_labels() -> None:
    bundle = load_bundle("trashnet")
    predictor = bundle.accuracy_predictor()
    measured = read_accuracy(bundle.path / ACCURACY, bundle.space).of_precision("fp32")
    holdout = measured.with_role("holdout")
    assert len(measured) >= 200
    assert holdout.bits is not None
    ceiling = noise_ceiling(holdout.bits, seed=0)
    predicted = predictor.predict(holdout.population)
    tau = kendall_tau(predicted, holdout.accuracy)
    error = 100 * float(np.sqrt(np.mean((predicted - holdout.accuracy) ** 2)))
    images, views = holdout.images[0], holdout.views[0]
    print(f"\n{len(measured)} subnets measured, {len(holdout)} held out, {views} views of {images} images")
    print(f"RMSE {error:.2f} points, noise of the labels {100 * ceiling.rmse:.2f}")
    print(f"Kendall's tau {tau:.3f}, noise ceiling {ceiling.tau:.3f}, ratio {tau / ceiling.tau:.3f}")
    assert tau >= 0.9 * ceiling.tau
