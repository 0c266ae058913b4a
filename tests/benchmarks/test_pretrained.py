"""What a pretrained start is worth: pipelines/trashnet-pretrained-vs-scratch.yaml on the test split, paired.

Give the directory of a finished run of that pipeline in $NAS_EDGE_PRETRAINED_RUN, or it is run here: an hour and a half
on two busy cores. Both supernets had the same recipe, steps and seed, and are taken as their last epoch left them; the
networks that are looked at (largest, median, smallest) are decided by the space. Margins are paired: both networks
answer the same photographs, which are drawn again in the bootstrap.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from nas_edge.accuracy import read_accuracy
from nas_edge.pipeline.bundle import ACCURACY, Bundle, load_bundle
from nas_edge.pipeline.networks import bundle_dataset, bundle_evaluator, bundle_views
from nas_edge.pipeline.running.pipelines import open_pipeline
from nas_edge.training.supernet_run import middle

pytestmark = pytest.mark.benchmark

RUN = "NAS_EDGE_PRETRAINED_RUN"


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, Bundle]:
    """The two bundles: from published weights, from scratch."""
    directory = Path(os.environ.get(RUN, ""))
    if RUN not in os.environ:
        directory = tmp_path_factory.mktemp("pretrained") / "run"
        under_way = open_pipeline("pipelines/trashnet-pretrained-vs-scratch.yaml", directory, None)
        for step in under_way.pending():
            under_way.run(step)
    pretrained, scratch = (load_bundle(str(directory / f"{number}-train")) for number in (1, 2))
    assert pretrained.header["recipe"] == scratch.header["recipe"]
    assert pretrained.header["trained"]["steps"] == scratch.header["trained"]["steps"]
    return pretrained, scratch


def margin(first: NDArray[np.float64], second: NDArray[np.float64]) -> str:
    """Mean difference over images in points and its 95 % bootstrap interval; both float [images]."""
    difference = 100 * (first - second)
    drawn = np.random.default_rng(0).integers(0, len(difference), (10_000, len(difference)))
    low, high = np.quantile(difference[drawn].mean(axis=1), [0.025, 0.975])
    return f"{difference.mean():+5.1f} points ({low:+.1f} to {high:+.1f})"


def networks(bundle: Bundle) -> dict[str, NDArray[np.int8]]:
    """What is looked at, by name."""
    space = bundle.space
    return {"largest": space.largest(), "median": middle(space, bundle.num_classes), "smallest": space.smallest()}


def answers_of(bundle: Bundle) -> Callable[[NDArray[np.int8], str], NDArray[np.float64]]:
    """Share of right answers of a network of the bundle for each image of a split, over the bundle's views."""
    net, evaluator, dataset, views = (
        bundle.supernet(), bundle_evaluator(bundle), bundle_dataset(bundle, None), bundle_views(bundle),
    )  # fmt: skip

    def answers(arch: NDArray[np.int8], split: str) -> NDArray[np.float64]:
        subnet = evaluator.recalibrated(net, arch)
        return evaluator.evaluate(subnet, subnet.resolution, dataset.splits[split], views).correct.mean(axis=1)

    return answers


def test_published_weights_against_random_ones_at_equal_cost(started: tuple[Bundle, Bundle]) -> None:
    pretrained = started[0]
    evaluators = [(b.supernet(), bundle_evaluator(b), bundle_dataset(b, None)) for b in started]
    done = pretrained.header["trained"]
    print(f"\n{pretrained.header['data']['summary']}; {done['epochs']} epochs, {done['steps']} steps each")
    print("network       MACs    px   split    from published weights   from scratch             margin")
    for name, arch in networks(pretrained).items():
        macs = pretrained.space.macs(arch[None], pretrained.num_classes)[0] / 1e6
        for split in ("search", "test"):
            found = []
            for net, evaluator, dataset in evaluators:
                subnet = evaluator.recalibrated(net, arch)
                found.append(evaluator.evaluate(subnet, subnet.resolution, dataset.splits[split]))
            cells = []
            for evaluation in found:
                low, high = (100 * value for value in evaluation.interval())
                cells.append(f"{100 * evaluation.accuracy:5.1f} % ({low:.1f} to {high:.1f})")
            bits = [evaluation.correct.mean(axis=1) for evaluation in found]
            print(f"{name:9} {macs:7.1f} M  {subnet.resolution:4d}  {split:7}  {cells[0]:23}  {cells[1]:23}", end="  ")
            print(margin(*bits))
            assert bits[0].mean() > bits[1].mean()


def test_the_same_over_all_measured_subnets_of_the_search_split(started: tuple[Bundle, Bundle]) -> None:
    sets = [read_accuracy(b.path / ACCURACY, b.space).of_precision("fp32") for b in started]
    assert (sets[0].population == sets[1].population).all()
    bits = [found.bits for found in sets]
    assert bits[0] is not None
    assert bits[1] is not None
    means = [100 * found.accuracy for found in sets]
    better = int((means[0] > means[1]).sum())
    print(f"\n{len(means[0])} subnets, {sets[0].views[0]} views of {sets[0].images[0]} images of the search split")
    print(f"mean {means[0].mean():.1f} % and {means[1].mean():.1f} %; {better} are better from published weights")
    print("margin", margin(bits[0].mean(axis=(0, 2)), bits[1].mean(axis=(0, 2))))


def test_the_short_run_against_the_embedded_bundle_on_the_search_split(started: tuple[Bundle, Bundle]) -> None:
    short, embedded = started[0], load_bundle("trashnet")
    print(
        f"\nsearch split, {len(bundle_views(embedded))} views; {short.header['trained']['epochs']} epochs in float32,"
    )
    print(f"against {embedded.header['trained']['epochs']} in bfloat16")
    answers = [answers_of(short), answers_of(embedded)]
    for name, arch in networks(embedded).items():
        new, shipped = (ask(arch, "search") for ask in answers)
        print(f"{name:9} {100 * new.mean():5.1f} %  {100 * shipped.mean():5.1f} %  margin {margin(new, shipped)}")
