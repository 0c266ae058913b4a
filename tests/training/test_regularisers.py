"""What a recipe asks for beside the loss: each regulariser does what its paper says, and to whom it says."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from nas_edge.data import Dataset, Preprocess
from nas_edge.data.augment import Augmentation
from nas_edge.errors import ConfigError
from nas_edge.spaces import Template
from nas_edge.supernet import elastic
from nas_edge.supernet.static import StaticBlock
from nas_edge.supernet.supernet import Supernet
from nas_edge.training import supernet_run
from nas_edge.training.objectives.losses import Sandwich, Single, soft_cross_entropy
from nas_edge.training.objectives.phases import Phase
from nas_edge.training.objectives.shrinking import Shrinking
from nas_edge.training.recipe import Recipe
from nas_edge.training.running import stepping
from nas_edge.training.running.average import WeightAverage
from nas_edge.training.running.loop import Setting, train
from nas_edge.training.single.alone import fresh_network
from nas_edge.training.supernet_run import SupernetRun, train_supernet

IMAGES = torch.randn(4, 3, 24, 24, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 1, 0, 1])
TARGETS = functional.one_hot(LABELS).float()
PLAIN = Recipe(
    batch_size=16, drop_connect=0.0, dropout=0.0, mixup=0.0, label_smoothing=0.0, teacher_epochs=0, epochs=1,
    augmentation=Augmentation(area=(0.8, 1.0)), bf16=False,
)  # fmt: skip


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.4])
def test_smoothed_labels_cost_what_torch_charges_for_plain_ones(smoothing: float) -> None:
    logits = torch.randn(50, 7, generator=torch.Generator().manual_seed(0)) * 3
    labels = torch.arange(50) % 7
    expected = nn.CrossEntropyLoss(label_smoothing=smoothing)(logits, labels)
    targets = functional.one_hot(labels, 7).float()
    assert float(soft_cross_entropy(logits, targets, smoothing)) == pytest.approx(float(expected), rel=1e-6)


def test_the_average_holds_running_figures_of_batch_norms_too() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2, momentum=0.5)).train()
    average = WeightAverage(net, 0.9)
    assert set(average.state) == {name for name, t in net.state_dict().items() if t.is_floating_point()}
    expected = net[1].running_var.clone().double()
    generator = torch.Generator().manual_seed(0)
    for update in range(40):
        net(torch.randn(8, 1, 4, 4, generator=generator) * (update + 1))
        average.update(net)
        decay = min(0.9, (1 + update) / (10 + update))
        expected = decay * expected + (1 - decay) * net[1].running_var.double()
    assert torch.allclose(average.state["1.running_var"].double(), expected, rtol=1e-4)
    assert not torch.allclose(average.state["1.running_var"], net[1].running_var, rtol=0.1)


class Steep(nn.Module):
    """One weight matrix."""

    def __init__(self) -> None:
        super().__init__()
        self.classifier = nn.Linear(3, 2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.classifier(images.mean((2, 3)))


@pytest.mark.parametrize(("limit", "clipped"), [(0.0, False), (1e-3, True), (1e3, False)])
def test_a_gradient_is_no_longer_than_the_limit_and_keeps_its_direction(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: float, clipped: bool
) -> None:
    norms: list[tuple[float, torch.Tensor]] = []

    class Watched(torch.optim.AdamW):
        def step(self, closure=None):
            gradients = [p.grad.flatten() for group in self.param_groups for p in group["params"]]
            norms.append((float(torch.cat(gradients).norm()), torch.cat(gradients)))
            return super().step(closure)

    monkeypatch.setattr(stepping.torch.optim, "AdamW", Watched)
    found = []
    for name, clip in (("plain", 0.0), ("limited", limit)):
        torch.manual_seed(0)
        net, recipe = Steep(), replace(PLAIN, clip_norm=clip)
        out = tmp_path / name
        out.mkdir()
        train(Setting(net, Single(net, 24, recipe, False), dataset, Preprocess(), 24, recipe, out))
        found.append(norms[0])
        norms.clear()
    (plain, direction), (norm, same) = found
    assert norm == pytest.approx(limit if clipped else plain, rel=1e-3)
    assert torch.allclose(same / norm, direction / plain, atol=1e-4)


class Recorded(Supernet):
    """A supernet that notes how each architecture was run."""

    def forward(self, x, arch, drop_connect=0.0, dropout=0.0):
        self.calls = [*getattr(self, "calls", []), (arch.copy(), x.shape[-1], drop_connect, dropout)]
        return super().forward(x, arch, drop_connect, dropout)


def test_shrinking_drops_branches_in_the_phase_of_the_largest_alone(striped_template: Template) -> None:
    recipe = replace(PLAIN, drop_connect=0.3, dropout=0.4)
    full, kernels = Phase("full", 1, 1e-3), Phase("kernel", 1, 1e-3, subnets=3, kernels=None)
    for phase, expected in ((full, (0.3, 0.4)), (kernels, (0.0, 0.0))):
        net = Recorded(striped_template, 2).train()
        for seed in range(4):
            Shrinking(net, phase, recipe, False).backward(IMAGES, TARGETS, False, np.random.default_rng(seed))
        assert {call[2:] for call in net.calls} == {expected}
        if phase is full:
            largest = net.space.largest()
            column = net.space.columns["r"]
            assert all((np.delete(call[0], column) == np.delete(largest, column)).all() for call in net.calls)


@pytest.mark.parametrize("way", ["sandwich", "shrinking"])
def test_resolutions_are_elastic_in_both_ways(striped_template: Template, way: str) -> None:
    net = Recorded(striped_template, 2).train()
    phase = Phase("all", 1, 1e-3, subnets=2, kernels=None, depths=None, expands=None)
    objective = Sandwich(net, PLAIN, False) if way == "sandwich" else Shrinking(net, phase, PLAIN, False)
    sides: list[list[int]] = []
    for seed in range(12):
        net.calls = []
        objective.backward(IMAGES, TARGETS, False, np.random.default_rng(seed))
        sides.append([call[1] for call in net.calls])
    if way == "shrinking":  # one side for all subnets of a step
        assert all(len(set(step)) == 1 for step in sides)
        assert {step[0] for step in sides} == {16, 24}
    else:  # the largest's, the smallest's, and each random one's own
        assert all(step[:2] == [24, 16] for step in sides)
        assert {side for step in sides for side in step[2:]} == {16, 24}


def test_the_teacher_of_shrinking_is_the_largest_as_its_own_phase_left_it(
    dataset: Dataset, striped_template: Template, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    class Watched(Shrinking):
        def __init__(self, *arguments) -> None:
            super().__init__(*arguments)
            if self.teacher is not None:
                seen.append((self.teacher, self.teacher.probabilities(IMAGES)))

    monkeypatch.setattr(supernet_run, "Shrinking", Watched)
    phases = (Phase("full", 3, 4e-3), Phase("kernel", 2, 2e-3, kernels=None), Phase("e", 2, 2e-3, expands=None))
    recipe = replace(PLAIN, phases=phases, ema=0.9)
    train_supernet(SupernetRun(striped_template, dataset, Preprocess(), recipe, None, tmp_path, watch_every=0))
    (first, before), (second, after) = seen
    assert first is second  # frozen: not even asked anew of what has been trained since
    assert torch.equal(before, after)
    alone = tmp_path / "alone"
    alone.mkdir()
    short = replace(recipe, phases=phases[:1])
    net, _ = train_supernet(SupernetRun(striped_template, dataset, Preprocess(), short, None, alone, watch_every=0))
    evaluator = supernet_run.Evaluator(supernet_run.choose_calibration(dataset.train, recipe.seed), Preprocess())
    largest = evaluator.recalibrated(net, net.space.largest())
    with torch.no_grad():
        expected = largest(IMAGES).softmax(1)
    assert torch.allclose(before, expected, atol=5e-3)  # the finished network is rounded to half precision


@pytest.mark.parametrize(
    "wrong",
    [
        {"label_smoothing": 1.0}, {"label_smoothing": "much"}, {"drop_connect": 1}, {"ema": 1.5}, {"mixup": -0.1},
        {"clip_norm": math.nan}, {"epochs": 2.5}, {"augmentation": {"horizontal_flip": 1}},
        {"augmentation": {"random_ops": 1.5}}, {"warmup_epochs": True}, {"storage_scale": 0}, {"bf16": "yes"},
        {"seed": 2**60}, {"augmentation": {"area": [0.5]}}, {"augmentation": {"area": [0.1, 0.2, 0.3]}},
        {"augmentation": {"aspect": [1.0]}}, {"augmentation": {"aspect": [1.0, math.inf]}},
        {"augmentation": {"rotation_degrees": math.nan}},
    ],
    ids=str,
)  # fmt: skip
def test_a_value_out_of_range_or_of_another_kind_is_told_by_its_name(wrong: dict) -> None:
    name = next(iter(wrong.get("augmentation", wrong)))
    with pytest.raises(ConfigError, match=rf"{name} must be "):
        Recipe.from_dict(wrong)


@pytest.mark.parametrize("rate", [math.nan, math.inf, 0.0])
def test_a_learning_rate_that_is_none_is_refused(rate: float) -> None:
    with pytest.raises(ConfigError, match="learning_rate > 0"):
        Recipe.from_dict({"learning_rate": rate})


def test_branches_are_dropped_more_often_layer_by_layer(
    striped_template: Template, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates: list[float] = []
    monkeypatch.setattr(elastic, "drop_connect", lambda x, rate: rates.append(rate) or x)
    net = Supernet(striped_template, 2).train()
    blocks = [spec for module, spec in net.plan(net.space.largest()) if isinstance(module, elastic.Residual)]
    net(IMAGES, net.space.largest(), 0.7)
    due = {number: 0.7 * number / len(blocks) for number, spec in enumerate(blocks, 1) if spec.residual}
    assert rates == list(due.values())
    assert len(rates) >= 2
    alone = fresh_network(net.space, net.space.largest(), 2, Recipe(drop_connect=0.7))
    found = [block.drop_rate for block in alone.blocks if isinstance(block, StaticBlock)]
    assert found == [0.7 * number / len(blocks) for number in range(1, len(blocks) + 1)]  # the last at the full rate
