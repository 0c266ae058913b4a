"""Accuracy predictors of the embedded bundles on subnets that they were not fitted to: README, "figures"."""

from __future__ import annotations

import numpy as np
import pytest

from nas_edge.accuracy import kendall_tau, noise_ceiling, read_accuracy, rmse
from nas_edge.pipeline.bundle import ACCURACY, load_bundle
from nas_edge.pipeline.networks import bundle_dataset, bundle_evaluator, bundle_views
from nas_edge.search.constraints import Constraint
from nas_edge.search.metrics import MetricContext, build_metrics
from nas_edge.search.run import search
from nas_edge.training.fitting.accuracy_fit import fit_accuracy_predictor

pytestmark = pytest.mark.benchmark

_FEW_IMAGES = 2000  # of the search split; below it the noise of the labels decides what can be asked for
_NEAR_THE_BEST = 0.1  # share of the held-out subnets whose predictions are highest
_FITTED_TO = (20, 40, 80, 160, 320)


@pytest.mark.parametrize("name", ["trashnet", "trashnet-mcu", "fashion-mnist", "cifar10"])
def test_error_and_rank_correlation_beside_the_noise_of_the_labels(name: str) -> None:
    bundle = load_bundle(name)
    measured = read_accuracy(bundle.path / ACCURACY, bundle.space).of_precision("fp32")
    holdout = measured.with_role("holdout")
    assert holdout.bits is not None
    ceiling = noise_ceiling(holdout.bits, seed=0)
    predicted = bundle.accuracy_predictor().predict(holdout.population)
    tau, error = kendall_tau(predicted, holdout.accuracy), rmse(predicted, holdout.accuracy)
    best = np.argsort(-predicted)[: max(3, round(_NEAR_THE_BEST * len(holdout)))]
    overrated = float((predicted - holdout.accuracy)[best].mean())
    images, views = int(holdout.images[0]), int(holdout.views[0])
    print(f"\n{name}: {len(measured)} subnets, {len(holdout)} held out; {images} images, {views} views of each")
    print(f"RMSE {100 * error:.2f} points, noise {100 * ceiling.rmse:.2f}, ratio {error / ceiling.rmse:.2f}")
    print(f"tau  {tau:.3f}, ceiling {ceiling.tau:.3f}, ratio {tau / ceiling.tau:.3f}")
    print(f"the {len(best)} rated best: {100 * overrated:+.2f} points more predicted than measured")
    if images < _FEW_IMAGES:
        assert error <= 1.25 * ceiling.rmse
        assert tau >= 0.9 * ceiling.tau
    else:
        assert error <= 0.004
        assert tau >= 0.85


def test_how_many_measured_subnets_are_enough() -> None:
    """Learning curves: the same held-out subnets, predictors fitted to more and more of the others."""
    print("\nheld-out RMSE in points (tau) when fitted to")
    print(f"{'':14}" + "".join(f"{count:>14}" for count in _FITTED_TO))
    for name in ("trashnet-mcu", "fashion-mnist", "cifar10"):
        bundle = load_bundle(name)
        measured = read_accuracy(bundle.path / ACCURACY, bundle.space).of_precision("fp32")
        train = np.flatnonzero(np.array(measured.roles) == "train")
        order, cells = np.random.default_rng(0).permutation(train), []
        for count in (count for count in _FITTED_TO if count <= len(train)):
            keep = np.array(measured.roles) == "holdout"
            keep[order[:count]] = True
            _, report = fit_accuracy_predictor(bundle.space, measured.select(keep))
            cells.append(f"{100 * report.rmse:6.2f} ({report.tau:.2f})")
        print(f"{name:14}" + "".join(f"{cell:>14}" for cell in cells))


def test_what_searches_return_is_as_accurate_as_predicted() -> None:
    """The best of many thousand predictions: where a predictor errs upwards, a search finds it."""
    print("\nbundle          MACs at most   predicted   measured (search split, the bundle's views)")
    gaps = []
    for name in ("trashnet-mcu", "fashion-mnist"):
        bundle = load_bundle(name)
        predictor, space, classes = bundle.accuracy_predictor(), bundle.space, bundle.num_classes
        net, evaluator, views = bundle.supernet(), bundle_evaluator(bundle), bundle_views(bundle)
        split = bundle_dataset(bundle, None).search
        macs = space.macs(np.stack([space.smallest(), space.largest()]), classes)
        for budget in np.geomspace(*macs, 6)[1:-1]:
            metrics = build_metrics(["accuracy", "macs"], MetricContext(space, classes, predictor))
            best = search(space, metrics, [Constraint("macs", "<=", float(budget))], seed=0).best
            subnet = evaluator.recalibrated(net, best)
            measured = evaluator.evaluate(subnet, subnet.resolution, split, views).accuracy
            predicted = float(predictor.predict(best[None])[0])
            gaps.append(predicted - measured)
            print(f"{name:15} {budget / 1e6:8.2f} M   {100 * predicted:8.2f} %  {100 * measured:8.2f} %")
    print(f"mean {100 * np.mean(gaps):+.2f} points, largest {100 * max(gaps, key=abs):+.2f}")
