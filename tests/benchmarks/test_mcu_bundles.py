"""The embedded bundles for microcontrollers on their test splits, in int8, and their accuracy predictors.

Which networks are looked at is decided without the test split: the largest and the smallest of the space, and those
that a search of the int8 predictor finds under so much SRAM of the generated firmware.
"""

from __future__ import annotations

import pytest

from nas_edge.accuracy import kendall_tau, noise_ceiling, read_accuracy, rmse
from nas_edge.memory.firmware import firmware_size
from nas_edge.pipeline.bundle import ACCURACY, Bundle, load_bundle
from nas_edge.pipeline.networks import bundle_dataset, bundle_evaluator
from nas_edge.search.constraints import Constraint
from nas_edge.search.metrics import MetricContext, build_metrics
from nas_edge.search.run import search
from nas_edge.spaces import Population, Precision

pytestmark = pytest.mark.benchmark

KIB = 1024
BUDGETS = {"trashnet-mcu": (96, 64, 32), "fashion-mnist": (32, 16)}


def metrics_of(bundle: Bundle):
    context = MetricContext(
        bundle.space, bundle.num_classes, bundle.accuracy_predictor("int8"), precision=Precision.INT8,
        firmware=firmware_size("cortex-m4"),
    )  # fmt: skip
    return build_metrics(["accuracy", "sram", "flash", "macs"], context)


def subjects(bundle: Bundle, metrics) -> dict[str, Population]:
    found = {"largest": bundle.space.largest()}
    for budget in BUDGETS[bundle.name]:
        best = search(bundle.space, metrics, [Constraint("sram", "<=", budget * KIB)], seed=0)
        found[f"SRAM <= {budget} KB"] = best.best
    return found | {"smallest": bundle.space.smallest()}


@pytest.mark.parametrize("name", BUDGETS)
def test_networks_of_a_bundle_on_its_test_split(name: str) -> None:
    bundle = load_bundle(name)
    metrics = metrics_of(bundle)
    net, dataset = bundle.supernet(), bundle_dataset(bundle, None)
    evaluators = {p: bundle_evaluator(bundle, p) for p in (Precision.FP32, Precision.INT8)}
    print(f"\n{name}: {dataset.describe()}")
    print("network             MACs    SRAM   flash   px   search    test, int8 (95 % interval)   balanced   fp32")
    accuracy = {}
    for subject, arch in subjects(bundle, metrics).items():
        values = {metric: float(cost(arch[None])[0]) for metric, cost in metrics.items()}
        subnet = evaluators[Precision.FP32].recalibrated(net, arch)
        side = subnet.resolution
        chosen, test, plain = (
            evaluators[p].evaluate(subnet, side, split, precision=p)
            for p, split in (
                (Precision.INT8, dataset.search), (Precision.INT8, dataset.test), (Precision.FP32, dataset.test)
            )
        )  # fmt: skip
        accuracy[subject] = test.accuracy
        low, high = (100 * value for value in test.interval())
        print(
            f"{subject:15} {values['macs'] / 1e6:6.2f} M {values['sram'] / KIB:5.1f} K {values['flash'] / KIB:5.0f} K"
            f"  {side:3d}   {100 * chosen.accuracy:5.1f} %   {100 * test.accuracy:5.1f} % ({low:.1f} to {high:.1f})"
            f"   {100 * test.balanced_accuracy:12.1f} %  {100 * plain.accuracy:5.1f} %"
        )
        assert abs(test.accuracy - plain.accuracy) < 0.03
    first = f"SRAM <= {BUDGETS[name][0]} KB"
    assert accuracy["smallest"] <= accuracy[first]


@pytest.mark.parametrize("name", BUDGETS)
def test_predictors_beside_the_noise_ceiling_of_their_labels(name: str) -> None:
    bundle = load_bundle(name)
    for precision in ("fp32", "int8"):
        measured = read_accuracy(bundle.path / ACCURACY, bundle.space).of_precision(precision)
        holdout = measured.with_role("holdout")
        assert holdout.bits is not None
        assert holdout.views[0] >= 8
        ceiling = noise_ceiling(holdout.bits, seed=0)
        predicted = bundle.accuracy_predictor(precision).predict(holdout.population)
        tau, error = kendall_tau(predicted, holdout.accuracy), rmse(predicted, holdout.accuracy)
        print(f"\n{name}, {precision}: {len(measured)} subnets measured, {len(holdout)} held out")
        print(f"RMSE {100 * error:.2f} points, noise of the labels {100 * ceiling.rmse:.2f}")
        print(f"Kendall's tau {tau:.3f}, noise ceiling {ceiling.tau:.3f}, ratio {tau / ceiling.tau:.3f}")
