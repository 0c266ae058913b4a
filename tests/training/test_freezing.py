"""First epochs for a new head alone: what was trained before stays, and what norms have seen does no harm."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from nas_edge.data import Dataset, Preprocess
from nas_edge.data.augment import Augmentation
from nas_edge.spaces import Template
from nas_edge.supernet.supernet import Supernet
from nas_edge.supernet.weights import to_stored_precision
from nas_edge.training.measuring.evaluate import Evaluator
from nas_edge.training.objectives.phases import Phase
from nas_edge.training.recipe import Recipe
from nas_edge.training.single.alone import alone_recipe
from nas_edge.training.single.finetune import finetune_recipe
from nas_edge.training.supernet_run import SupernetRun, train_supernet

RECIPE = Recipe(
    epochs=3, teacher_epochs=1, freeze_epochs=2, batch_size=16, learning_rate=4e-3, warmup_epochs=0.5, dropout=0.1,
    bf16=False, augmentation=Augmentation(area=(0.8, 1.0)), ema=0.9,
)  # fmt: skip


def run(dataset: Dataset, template: Template, out: Path, recipe: Recipe) -> SupernetRun:
    out.mkdir(exist_ok=True)
    return SupernetRun(template, dataset, Preprocess(), recipe, None, out, watch_every=0)


def features(net: Supernet, dataset: Dataset, largest: bool) -> torch.Tensor:
    """What a recalibrated network hands to its classifier, as its own classifier of ones and zeros shows it."""
    arch = net.space.largest() if largest else net.space.smallest()
    subnet = Evaluator(dataset.train, Preprocess()).recalibrated(net, arch).eval()
    linear = subnet.blocks[-1]
    kept: list[torch.Tensor] = []
    linear.register_forward_pre_hook(lambda _module, inputs: kept.append(inputs[0]))
    pixels = dataset.search.images(Preprocess(), subnet.resolution)
    with torch.no_grad():
        subnet(torch.from_numpy(Preprocess().normalise(pixels)))
    return kept[0]


@pytest.mark.parametrize("largest", [True, False])
def test_a_head_learns_on_features_that_are_those_of_the_start_once_recalibrated(
    dataset: Dataset, striped_template: Template, tmp_path: Path, largest: bool
) -> None:
    torch.manual_seed(RECIPE.seed)
    start = to_stored_precision(Supernet(striped_template, 2))
    assert isinstance(start, Supernet)
    frozen, _ = train_supernet(run(dataset, striped_template, tmp_path, replace(RECIPE, freeze_epochs=3)))
    # Training has moved the running statistics of the shared norms, to and fro between subnets ...
    assert not torch.allclose(frozen.first_conv.bn.running_mean, start.first_conv.bn.running_mean, atol=1e-2)
    # ... and nothing that is evaluated depends on them.
    assert torch.allclose(features(frozen, dataset, largest), features(start, dataset, largest), atol=1e-5)
    assert not torch.allclose(frozen.classifier.linear.weight, start.classifier.linear.weight, atol=1e-3)


class Killed(Exception):
    """Stands for a process that ends without a word."""


@pytest.mark.parametrize("moment", [0.5, 2.2])
def test_a_run_that_is_cut_while_or_after_weights_are_frozen_goes_on_the_same(
    dataset: Dataset, striped_template: Template, tmp_path: Path, moment: float
) -> None:
    whole, _ = train_supernet(run(dataset, striped_template, tmp_path / "whole", RECIPE))

    def die(done: float, total: float, text: str) -> None:
        if done > moment:
            raise Killed

    with pytest.raises(Killed):
        train_supernet(run(dataset, striped_template, tmp_path / "cut", RECIPE), progress=die)
    resumed, _ = train_supernet(run(dataset, striped_template, tmp_path / "cut", RECIPE))
    for (name, a), b in zip(whole.named_parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b), name


def test_of_several_phases_only_the_first_has_a_new_head() -> None:
    phases = (Phase("kernel", 3, 1e-3), Phase("depth", 3, 1e-3, kernels=None))
    recipe = replace(RECIPE, phases=phases)
    assert [recipe.of_phase(number).freeze_epochs for number in range(2)] == [2, 0]


def test_a_fine_tuned_network_has_no_new_head_and_nothing_of_it_is_frozen() -> None:
    supernets = replace(RECIPE, phases=(), fp16=True)
    tuned = finetune_recipe(supernets, 5, 0)
    assert (tuned.freeze_epochs, tuned.phases, tuned.random_subnets, tuned.fp16) == (0, (), 0, False)


def test_few_epochs_alone_leave_the_warm_up_behind() -> None:
    assert alone_recipe(Recipe(warmup_epochs=3.0), 2, 0).warmup_epochs == 0.5
    assert alone_recipe(Recipe(warmup_epochs=3.0), 30, 0).warmup_epochs == 3.0


def test_a_recipe_of_few_epochs_needs_no_word_about_the_teachers() -> None:
    assert Recipe.from_dict({"epochs": 2}).teacher_epochs == 0
    assert Recipe.from_dict({"epochs": 12}).teacher_epochs == 2
    assert Recipe.from_dict({"epochs": 2}).warmup_epochs == pytest.approx(0.4)  # or the learning rate never rises
    assert Recipe.from_dict({"epochs": 2, "warmup_epochs": 1.0}).warmup_epochs == 1.0
    assert Recipe.from_dict({}) == Recipe()
