"""What a pretrained start is worth: `trashnet` beside pipelines/trashnet-from-scratch.yaml, paired, test split.

Give the directory of a run of that pipeline in $NAS_EDGE_SCRATCH_RUN (weights are enough, subnets may still be
measured), or it is run here: more than an hour on two cores. Both supernets have the same recipe, steps and seed, and
are taken as their last epoch left them; the networks that are looked at (largest, median, smallest) are decided by the
space. Margins are paired: both networks answer the same photographs, which are drawn again in the bootstrap.
"""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from nas_edge.data import Dataset, Preprocess, load_dataset
from nas_edge.data.calibration import read_calibration
from nas_edge.files import read_yaml
from nas_edge.pipeline.bundle import CALIBRATION, SPACE, WEIGHTS, load_bundle
from nas_edge.pipeline.running.pipelines import open_pipeline
from nas_edge.spaces import Population, SearchSpace, Template
from nas_edge.supernet.supernet import Supernet
from nas_edge.supernet.weights import load_weights
from nas_edge.training.measuring.evaluate import PLAIN, Evaluation, Evaluator, View
from nas_edge.training.running.loop import HISTORY
from nas_edge.training.supernet_run import middle

pytestmark = pytest.mark.benchmark

RUN = "NAS_EDGE_SCRATCH_RUN"


@dataclass(frozen=True)
class Trained:
    """One of the two supernets, and its history."""

    net: Supernet
    evaluator: Evaluator
    path: Path
    history: list[dict[str, str]]

    def answers(self, arch: Population, dataset: Dataset, split: str, views: tuple[View, ...] = PLAIN) -> Evaluation:
        """Of one network."""
        subnet = self.evaluator.recalibrated(self.net, arch)
        return self.evaluator.evaluate(subnet, subnet.resolution, dataset.splits[split], views)


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return load_dataset("trashnet", seed=0)


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory, dataset: Dataset) -> tuple[Trained, Trained]:
    """From published weights, and from scratch."""
    directory = Path(os.environ.get(RUN, ""))
    if RUN not in os.environ:
        directory = tmp_path_factory.mktemp("scratch") / "run"
        under_way = open_pipeline("pipelines/trashnet-from-scratch.yaml", directory, None)
        for step in under_way.pending():
            under_way.run(step)
    pretrained, scratch = trained(load_bundle("trashnet").path), trained(directory / "1-train")
    assert pretrained.net.template == scratch.net.template
    assert [row["step"] for row in pretrained.history] == [row["step"] for row in scratch.history]
    return pretrained, scratch


def trained(path: Path) -> Trained:
    net = Supernet(Template.from_dict(read_yaml(path / SPACE)), len(load_dataset("trashnet").classes))
    load_weights(net, path / WEIGHTS)
    evaluator = Evaluator(read_calibration(path / CALIBRATION), Preprocess())
    history = next(file for file in (path / HISTORY, path / "work" / HISTORY) if file.is_file())
    with history.open(newline="", encoding="utf-8") as handle:
        return Trained(net.eval(), evaluator, path, list(csv.DictReader(handle)))


def margin(first: NDArray[np.float64], second: NDArray[np.float64]) -> str:
    """Mean difference over images in points and its 95 % bootstrap interval; both float [images]."""
    difference = 100 * (first - second)
    drawn = np.random.default_rng(0).integers(0, len(difference), (10_000, len(difference)))
    low, high = np.quantile(difference[drawn].mean(axis=1), [0.025, 0.975])
    return f"{difference.mean():+5.1f} points ({low:+.1f} to {high:+.1f})"


def networks(space: SearchSpace, classes: int) -> dict[str, Population]:
    """What is looked at, by name."""
    return {"largest": space.largest(), "median": middle(space, classes), "smallest": space.smallest()}


def test_published_weights_against_random_ones_at_equal_cost(
    started: tuple[Trained, Trained], dataset: Dataset
) -> None:
    space, last = started[0].net.space, started[0].history[-1]
    minutes = [float(found.history[-1]["seconds"]) / 60 for found in started]
    print(f"\n{dataset.describe()}; {last['epoch']} epochs, {last['step']} steps each")
    print(f"minutes of training, other work running: {minutes[0]:.0f} and {minutes[1]:.0f}")
    print("network       MACs    px   split    from published weights   from scratch             margin")
    for name, arch in networks(space, len(dataset.classes)).items():
        macs = space.macs(arch[None], len(dataset.classes))[0] / 1e6
        side = int(space.to_json(arch)["r"])
        for split in ("search", "test"):
            pair = [found.answers(arch, dataset, split) for found in started]
            cells = []
            for evaluation in pair:
                low, high = (100 * value for value in evaluation.interval())
                cells.append(f"{100 * evaluation.accuracy:5.1f} % ({low:.1f} to {high:.1f})")
            bits = [evaluation.correct.mean(axis=1) for evaluation in pair]
            print(f"{name:9} {macs:7.1f} M  {side:4d}  {split:7}  {cells[0]:23}  {cells[1]:23}  {margin(*bits)}")
            assert bits[0].mean() > bits[1].mean()
