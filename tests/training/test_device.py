"""What a GPU needs, as far as it can be shown without one: everything follows the device, and its limits are told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from nas_edge.data import Dataset, Preprocess
from nas_edge.data.augment import Augmentation, cutmix, mixup
from nas_edge.errors import ConfigError, TrainingError
from nas_edge.spaces import Template
from nas_edge.supernet.supernet import Supernet
from nas_edge.training.objectives.losses import Sandwich
from nas_edge.training.recipe import Recipe
from nas_edge.training.running import device, stepping
from nas_edge.training.running.feeding import Feed
from nas_edge.training.running.loop import train
from nas_edge.training.running.stepping import Setting

from .test_loop import RECIPE
from .test_never_losing_a_run import assert_same

PICTURES = np.random.default_rng(0).integers(0, 256, (20, 12, 12, 3), dtype=np.uint8)


def setting(dataset: Dataset, template: Template, out: Path, recipe: Recipe) -> Setting:
    out.mkdir(exist_ok=True)
    torch.manual_seed(recipe.seed)
    net = Supernet(template, 2)
    return Setting(net, Sandwich(net, recipe, False), dataset, Preprocess(), 24, recipe, out)


def test_pictures_are_augmented_and_blended_where_they_lie() -> None:
    """The device `meta` has no numbers, and refuses whatever would mix it with another."""
    everything = Augmentation(vertical_flip=True, rotation_degrees=10, cutout=0.3, random_ops=0)
    generator = torch.Generator().manual_seed(0)
    kept = Feed(PICTURES, torch.device("meta"), kept=True)
    batch = kept.take(np.arange(8))
    assert isinstance(batch, torch.Tensor)
    for side in (12, 4):  # small pictures, and such as are shrunk
        out = everything.apply(batch, side, Preprocess(), generator)
        assert (out.device.type, tuple(out.shape)) == ("meta", (8, 3, side, side))
    targets = torch.empty(8, 2, device="meta")
    for blend in (mixup, cutmix):
        images, blended = blend(out, targets, 0.5, generator)
        assert images.device.type == blended.device.type == "meta"


def test_batches_that_are_fetched_ahead_are_the_same_in_any_order() -> None:
    feed = Feed(PICTURES, torch.device("cpu"), kept=False)
    order = np.random.default_rng(1).permutation(20)
    for start in range(0, 20, 5):
        feed.expect(order[start + 5 : start + 10])
        batch = feed.take(order[start : start + 5])
        assert isinstance(batch, torch.Tensor)
        assert np.array_equal(batch.numpy(), PICTURES[order[start : start + 5]])
    assert np.array_equal(np.asarray(feed.take(order[:5])), PICTURES[order[:5]])  # not what was expected
    feed.close()


def test_on_a_cpu_pictures_are_read_where_they_lie() -> None:
    feed = Feed(PICTURES, torch.device("cpu"))
    feed.expect(np.arange(3))
    assert isinstance(feed.take(np.arange(3)), np.ndarray)


def test_a_gpu_without_room_for_a_batch_is_told_with_what_to_lower(
    dataset: Dataset, striped_template: Template, tmp_path: Path
) -> None:
    class Small(Sandwich):
        room = 3

        def backward(self, images, targets, teacher_only, rng) -> float:
            self.room -= 1
            if self.room < 0:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
            return super().backward(images, targets, teacher_only, rng)

    for room in (0, 5):  # in the estimate, and on the way
        at = setting(dataset, striped_template, tmp_path / str(room), RECIPE)
        objective = Small(at.net, RECIPE, False)
        objective.room = room
        with pytest.raises(
            TrainingError, match=r"16 images of 24 px at a time .* set accumulate: 2, or lower batch_size"
        ):
            train(replace(at, objective=objective))


def test_float16_is_refused_on_a_cpu_and_beside_bfloat16(
    dataset: Dataset, striped_template: Template, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="fp16 needs a GPU"):
        train(setting(dataset, striped_template, tmp_path, replace(RECIPE, bf16=None, fp16=True)))
    with pytest.raises(ConfigError, match="one of bf16 and fp16"):
        Recipe(bf16=True, fp16=True)


def scaled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scaling of gradients without float16: float32 on a CPU must come out as it does without."""
    monkeypatch.setattr(
        stepping, "gradient_scaler", lambda recipe, where: torch.amp.GradScaler("cpu", growth_interval=4)
    )
    monkeypatch.setattr(device, "autocast", lambda images, recipe, bf16: torch.autocast("cpu", enabled=False))
    monkeypatch.setattr("nas_edge.training.objectives.losses.autocast", device.autocast)


@pytest.mark.parametrize("clip", [0.0, 1.0])
def test_scaled_gradients_train_as_plain_ones_do(
    dataset: Dataset, striped_template: Template, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clip: float
) -> None:
    recipe = replace(RECIPE, clip_norm=clip)
    plain = setting(dataset, striped_template, tmp_path / "plain", recipe)
    train(plain)
    scaled(monkeypatch)
    other = setting(dataset, striped_template, tmp_path / "scaled", replace(recipe, fp16=True))
    train(other)
    for (name, a), b in zip(plain.net.state_dict().items(), other.net.state_dict().values(), strict=True):
        assert torch.allclose(a.float(), b.float(), atol=2e-2), name
    assert not other.net._forward_hooks


def test_a_killed_run_with_everything_in_it_resumes_to_the_same_weights(
    dataset: Dataset, striped_template: Template, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scaler, average, parts of batches, drawn operations, cutout, both blends, frozen weights, small first batches."""
    scaled(monkeypatch)
    recipe = replace(
        RECIPE, fp16=True, accumulate=2, freeze_epochs=1, mixup=0.2, cutmix=0.5, first_side=16, growing_share=0.7,
        clip_norm=1.0, augmentation=Augmentation(random_ops=2, magnitude=0.4, cutout=0.2, rotation_degrees=9),
    )  # fmt: skip
    whole = setting(dataset, striped_template, tmp_path / "whole", recipe)
    train(whole)

    def die(done: float, total: float, text: str) -> None:
        if done > 1.4:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        train(setting(dataset, striped_template, tmp_path / "cut", recipe), progress=die)
    resumed = setting(dataset, striped_template, tmp_path / "cut", recipe)
    train(resumed)
    assert_same(whole.net.state_dict(), resumed.net.state_dict())
