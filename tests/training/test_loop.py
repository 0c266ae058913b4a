"""The training loop: learns, resumes bit for bit, honours a time limit, refuses another recipe."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from nas_edge.data import Dataset, Preprocess
from nas_edge.data.augment import Augmentation
from nas_edge.errors import FormatError, TrainingError
from nas_edge.spaces import Template
from nas_edge.supernet.supernet import Supernet
from nas_edge.training.measuring.evaluate import Evaluator
from nas_edge.training.recipe import Recipe
from nas_edge.training.running.loop import CHECKPOINT, HISTORY
from nas_edge.training.running.schedule import FirstEpochs, Horizon, learning_rate
from nas_edge.training.supernet_run import SupernetRun, train_supernet

RECIPE = Recipe(
    epochs=3, teacher_epochs=1, batch_size=16, learning_rate=4e-3, warmup_epochs=0.5, drop_connect=0.1, dropout=0.1,
    bf16=False, augmentation=Augmentation(area=(0.8, 1.0)), ema=0.9,
)  # fmt: skip


def run(dataset: Dataset, out: Path, template: Template, recipe: Recipe = RECIPE) -> SupernetRun:
    out.mkdir(exist_ok=True)
    return SupernetRun(template, dataset, Preprocess(), recipe, None, out, watch_every=0)


def test_a_supernet_learns_and_its_smallest_subnet_too(
    dataset: Dataset, striped_template: Template, tmp_path: Path
) -> None:
    net, done = train_supernet(run(dataset, tmp_path, striped_template, replace(RECIPE, epochs=14)))
    assert not done.cut_short
    evaluator = Evaluator(dataset.train, Preprocess())
    for arch in (net.space.largest(), net.space.smallest()):
        subnet = evaluator.recalibrated(net, arch)
        assert evaluator.evaluate(subnet, subnet.resolution, dataset.search).accuracy > 0.8


class Killed(Exception):
    """Stands for a process that ends without a word."""


@pytest.mark.parametrize("moment", [0.4, 1.2, 2.9])
def test_a_killed_run_resumes_to_the_same_weights(
    dataset: Dataset, striped_template: Template, tmp_path: Path, moment: float
) -> None:
    whole, _ = train_supernet(run(dataset, tmp_path / "whole", striped_template))

    def die(done: float, total: float, text: str) -> None:
        if done > moment:
            raise Killed

    with pytest.raises(Killed):
        train_supernet(run(dataset, tmp_path / "cut", striped_template), progress=die)
    resumed, _ = train_supernet(run(dataset, tmp_path / "cut", striped_template))
    for (name, a), b in zip(whole.state_dict().items(), resumed.state_dict().values(), strict=True):
        if a.is_floating_point():
            assert torch.equal(a, b), name


def test_a_time_limit_ends_the_run_early_with_weights(
    dataset: Dataset, striped_template: Template, tmp_path: Path
) -> None:
    _, done = train_supernet(run(dataset, tmp_path, striped_template, replace(RECIPE, epochs=500)), time_limit_s=2.0)
    assert done.cut_short
    assert done.seconds < 6
    assert (tmp_path / CHECKPOINT).exists()


def test_history_has_a_line_an_epoch(dataset: Dataset, striped_template: Template, tmp_path: Path) -> None:
    train_supernet(run(dataset, tmp_path, striped_template))
    rows = list(csv.DictReader((tmp_path / HISTORY).open()))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert all(float(row["loss"]) > 0 for row in rows)


def test_another_recipe_is_refused_with_the_difference(
    dataset: Dataset, striped_template: Template, tmp_path: Path
) -> None:
    train_supernet(run(dataset, tmp_path, striped_template))
    with pytest.raises(TrainingError, match=r"learning_rate: 0\.004 then, 0\.001 now"):
        train_supernet(run(dataset, tmp_path, striped_template, replace(RECIPE, learning_rate=1e-3)))


def test_a_truncated_checkpoint_is_said(dataset: Dataset, striped_template: Template, tmp_path: Path) -> None:
    train_supernet(run(dataset, tmp_path, striped_template))
    path = tmp_path / CHECKPOINT
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(FormatError, match="not a whole safetensors file"):
        train_supernet(run(dataset, tmp_path, striped_template))


def test_too_few_images_for_a_batch_is_said(dataset: Dataset, striped_template: Template, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="lower batch_size"):
        train_supernet(run(dataset, tmp_path, striped_template, replace(RECIPE, batch_size=128)))


def test_a_moved_end_keeps_the_learning_rate_continuous() -> None:
    horizon = Horizon(1000)
    warmup = FirstEpochs(10, 0.2)
    before = learning_rate(1.0, 300, warmup, horizon)
    moved = horizon.moved(300, 400)
    assert learning_rate(1.0, 300, warmup, moved) == pytest.approx(before)
    assert learning_rate(1.0, 400, warmup, moved) == pytest.approx(0.0)


def test_while_weights_are_frozen_only_the_classifier_learns(
    dataset: Dataset, striped_template: Template, tmp_path: Path
) -> None:
    torch.manual_seed(RECIPE.seed)
    before = Supernet(striped_template, 2).state_dict()
    frozen, _ = train_supernet(run(dataset, tmp_path / "a", striped_template, replace(RECIPE, freeze_epochs=3)))
    for name, parameter in frozen.named_parameters():
        same = torch.equal(parameter, before[name].half().float())
        assert same != name.startswith("classifier."), name
    thawed, _ = train_supernet(run(dataset, tmp_path / "b", striped_template, replace(RECIPE, freeze_epochs=2)))
    assert not torch.equal(thawed.first_conv.conv.weight, frozen.first_conv.conv.weight)
