"""Batches that begin small and grow."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from nas_edge.data import Dataset, Preprocess
from nas_edge.errors import ConfigError
from nas_edge.spaces import Template
from nas_edge.supernet.supernet import Supernet
from nas_edge.training.objectives.losses import Sandwich
from nas_edge.training.recipe import Recipe
from nas_edge.training.running.growing import growing_side
from nas_edge.training.running.loop import Setting, train
from nas_edge.training.single.finetune import finetune_recipe


@given(
    first=st.integers(8, 200), last=st.integers(8, 200), share=st.floats(0.01, 1.0), progress=st.floats(0.0, 1.0),
)  # fmt: skip
def test_sides_grow_from_the_first_to_the_last_and_never_beyond(
    first: int, last: int, share: float, progress: float
) -> None:
    side = growing_side(first, last, share, progress)
    assert min(first, last) <= side <= last
    assert side <= growing_side(first, last, share, min(1.0, progress + 0.1))
    assert growing_side(first, last, share, share) == last
    if first < last:
        assert growing_side(first, last, share, 0.0) == first


def test_without_a_first_side_batches_are_whole_at_once() -> None:
    assert growing_side(0, 32, 0.6, 0.0) == 32


class _Noted:
    """An objective that notes the sides of its batches."""

    def __init__(self, net: nn.Module) -> None:
        self.net, self.sides = net, list[int]()

    def backward(self, images: Tensor, targets: Tensor, teacher_only: bool, rng: np.random.Generator) -> float:
        self.sides.append(images.shape[-1])
        loss = sum(parameter.sum() for parameter in self.net.parameters())
        assert isinstance(loss, Tensor)
        loss.backward()
        return 0.0


def test_the_batches_of_a_run_grow(dataset: Dataset, striped_template: Template, tmp_path: Path) -> None:
    net = Supernet(striped_template, 2)
    noted = _Noted(net)
    recipe = Recipe(epochs=5, teacher_epochs=1, batch_size=24, first_side=16, growing_share=0.5)
    train(Setting(net, noted, dataset, Preprocess(), 24, recipe, tmp_path))
    run = noted.sides[-20:]  # before it stand the steps that are timed for the estimate, at full size
    assert noted.sides[:-20] == [24] * (len(noted.sides) - 20)
    assert run == [16] * 5 + [20] * 5 + [24] * 10


def test_no_network_enlarges_a_small_batch(striped_template: Template) -> None:
    sides = []

    class Recorded(Supernet):
        def forward(self, x: Tensor, *rest: object) -> Tensor:
            sides.append(x.shape[-1])
            return super().forward(x, *rest)

    net = Recorded(striped_template, 2).train()
    targets = torch.eye(2)[[0, 1, 0, 1]]
    Sandwich(net, Recipe(random_subnets=2), False).backward(
        torch.randn(4, 3, 20, 20), targets, False, np.random.default_rng(0)
    )
    assert sides[:2] == [20, 16]  # of 24 and 16
    assert max(sides) == 20


def test_a_fine_tuned_network_sees_its_own_resolution_at_once() -> None:
    assert finetune_recipe(Recipe(first_side=16), 3, 0).first_side == 0


@pytest.mark.parametrize("wrong", [{"first_side": -1}, {"growing_share": 1.5}])
def test_what_cannot_grow_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="first_side"):
        replace(Recipe(), **wrong)  # type: ignore[arg-type]
