"""The sandwich rule as BigNAS has it: who is trained on what, and who is regularised."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from nas_edge.spaces import Template
from nas_edge.supernet.layers import drop_connect
from nas_edge.supernet.supernet import Supernet
from nas_edge.training.objectives import losses
from nas_edge.training.objectives.losses import Sandwich, soft_cross_entropy
from nas_edge.training.recipe import Distillation, Recipe
from nas_edge.training.running.average import WeightAverage

IMAGES = torch.randn(4, 3, 24, 24, generator=torch.Generator().manual_seed(0))
TARGETS = functional.one_hot(torch.tensor([0, 1, 0, 1])).float()


class Recorded(Supernet):
    """A supernet that notes how each architecture was run."""

    def forward(self, x, arch, drop_connect=0.0, dropout=0.0):
        logits = super().forward(x, arch, drop_connect, dropout)
        if not hasattr(self, "calls"):
            self.calls = []
        self.calls.append((arch.copy(), x.shape[-1], drop_connect, dropout, logits))
        return logits


def step(template: Template, recipe: Recipe, teacher_only: bool = False) -> Recorded:
    torch.manual_seed(0)
    net = Recorded(template, 2).train()
    Sandwich(net, recipe, False).backward(IMAGES, TARGETS, teacher_only, np.random.default_rng(0))
    return net


def test_the_largest_the_smallest_and_random_ones_are_run_each_at_its_resolution(striped_template: Template) -> None:
    net = step(striped_template, Recipe(random_subnets=3))
    archs = [call[0] for call in net.calls]
    assert len(archs) == 5
    assert (archs[0] == net.space.largest()).all()
    assert (archs[1] == net.space.smallest()).all()
    assert net.space.is_valid(np.stack(archs)).all()
    sides = [striped_template.resolutions[arch[net.space.columns["r"]] - 1] for arch in archs]
    assert [call[1] for call in net.calls] == sides


def test_only_the_largest_has_drop_connect_and_dropout(striped_template: Template) -> None:
    net = step(striped_template, Recipe(drop_connect=0.3, dropout=0.4))
    assert net.calls[0][2:4] == (0.3, 0.4)
    assert all(call[2:4] == (0.0, 0.0) for call in net.calls[1:])


@pytest.mark.parametrize("kind", list(Distillation))
def test_the_others_learn_from_the_largest_and_it_learns_nothing_from_them(
    striped_template: Template, kind: Distillation
) -> None:
    recipe = Recipe(random_subnets=0, drop_connect=0.0, dropout=0.0, label_smoothing=0.1, distillation=kind)
    net = step(striped_template, recipe)
    torch.manual_seed(0)
    again = Supernet(striped_template, 2).train()
    large = again(IMAGES, again.space.largest())
    loss = soft_cross_entropy(large, TARGETS, 0.1)
    small_images = functional.interpolate(IMAGES, (16, 16), mode="bilinear", antialias=True, align_corners=False)
    small = again(small_images, again.space.smallest())
    if kind is Distillation.KL:  # in-place distillation: the target carries no gradient
        loss = loss - (large.detach().softmax(1) * small.log_softmax(1)).sum(1).mean()
        loss.backward()
        for (name, expected), found in zip(again.named_parameters(), net.parameters(), strict=True):
            if expected.grad is not None:
                assert torch.allclose(found.grad, expected.grad, atol=1e-6), name
    else:
        alone = step(striped_template, recipe, teacher_only=True)
        own = alone.classifier.linear.weight.grad
        assert not torch.allclose(net.classifier.linear.weight.grad, own)


def test_a_teacher_epoch_trains_the_largest_alone(striped_template: Template) -> None:
    net = step(striped_template, Recipe(), teacher_only=True)
    assert len(net.calls) == 1


def test_dropped_branches_are_made_up_for_by_the_others() -> None:
    torch.manual_seed(0)
    kept = drop_connect(torch.ones(4000, 2, 3, 3), 0.25)
    per_image = kept.flatten(1)
    assert (per_image == per_image[:, :1]).all()  # a whole branch of an image, or nothing
    assert sorted(set(per_image[:, 0].tolist())) == pytest.approx([0.0, 1 / 0.75])
    assert float(kept.mean()) == pytest.approx(1, abs=0.03)


def test_smoothing_moves_a_share_of_the_label_to_all_classes() -> None:
    logits, target = torch.tensor([[2.0, -1.0, 0.5]]), torch.tensor([[1.0, 0.0, 0.0]])
    smooth = 0.9 * target + 0.1 / 3
    expected = -(smooth * logits.log_softmax(1)).sum()
    assert float(soft_cross_entropy(logits, target, 0.1)) == pytest.approx(float(expected))


def test_the_average_of_weights_follows_its_formula() -> None:
    layer = nn.Linear(1, 1, bias=False)
    layer.weight.data.fill_(1.0)
    average = WeightAverage(layer, 0.9)
    expected = 1.0
    for update in range(200):
        layer.weight.data.fill_(float(update))
        average.update(layer)
        decay = min(0.9, (1 + update) / (10 + update))
        expected = decay * expected + (1 - decay) * update
    assert math.isclose(float(average.state["weight"]), expected, rel_tol=1e-4)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_small_subnets_loss_that_is_not_finite_shows_and_a_finite_one_does_not(
    striped_template: Template, monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    def loss(teacher_only: bool) -> float:
        torch.manual_seed(0)
        net = Supernet(striped_template, 2).train()
        recipe = Recipe(drop_connect=0.0, dropout=0.0)
        return Sandwich(net, recipe, False).backward(IMAGES, TARGETS, teacher_only, np.random.default_rng(0))

    assert loss(False) == loss(True)  # the largest's
    real, calls = losses.distillation, []

    def spoiled(logits, soft, kind):
        calls.append(1)
        return real(logits, soft, kind) * (value if len(calls) == 2 else 1)

    monkeypatch.setattr(losses, "distillation", spoiled)
    assert not math.isfinite(loss(False))
