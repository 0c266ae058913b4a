"""What a GPU needs, as far as it can be shown without one: pictures fetched ahead, and its limits told."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from nas_edge.data import Dataset, Preprocess
from nas_edge.data.augment import Augmentation
from nas_edge.errors import ConfigError, TrainingError
from nas_edge.spaces import Template
from nas_edge.supernet.supernet import Supernet
from nas_edge.training.objectives.losses import Sandwich
from nas_edge.training.recipe import Recipe
from nas_edge.training.running import device, feeding, stepping
from nas_edge.training.running.device import memory_told
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


class Watched(Feed):
    """Notes who fetches how many pictures."""

    def __init__(self, pictures: np.ndarray, device: torch.device) -> None:
        super().__init__(pictures, device, kept=False)
        self.fetched: list[tuple[bool, int]] = []

    def _fetch(self, indices: np.ndarray) -> torch.Tensor:
        self.fetched.append((threading.current_thread().name.startswith("pictures"), len(indices)))
        return super()._fetch(indices)


def test_every_batch_but_the_first_is_fetched_ahead_once_and_whole(
    dataset: Dataset, striped_template: Template, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Watched] = []
    monkeypatch.setattr(stepping, "Feed", lambda *given: made.append(Watched(*given)) or made[-1])
    recipe = replace(RECIPE, batch_size=20)  # of 96 images: four batches an epoch, and a rest
    done = train(setting(dataset, striped_template, tmp_path, recipe))
    (feed,) = made
    assert {size for _, size in feed.fetched} == {20}
    assert sum(ahead for ahead, _ in feed.fetched) == done.steps - 1
    assert sum(not ahead for ahead, _ in feed.fetched) == 1 + 3  # three for the estimate


def test_after_a_return_to_an_earlier_state_nothing_is_left_of_what_was_fetched() -> None:
    feed = Watched(PICTURES, torch.device("cpu"))
    first, second, third = np.arange(15).reshape(3, 5)
    feed.expect(second)
    feed.take(first)
    feed.expect(third)
    assert np.array_equal(np.asarray(feed.take(first)), PICTURES[first])  # again, though the second was fetched
    assert np.array_equal(np.asarray(feed.take(third)), PICTURES[third])
    assert feed._ahead is None
    feed.close()


def test_pictures_are_moved_to_a_device_in_parts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    np.save(tmp_path / "pictures.npy", PICTURES)
    mapped = np.load(tmp_path / "pictures.npy", mmap_mode="r")
    copied: list[int] = []
    monkeypatch.setattr(feeding, "_CHUNK_BYTES", 7 * PICTURES[0].nbytes)
    monkeypatch.setattr(np, "array", lambda part: copied.append(len(part)) or part.copy())
    assert np.array_equal(feeding.moved(mapped, torch.device("cpu")).numpy(), PICTURES)
    assert copied == [7, 7, 6]


def test_on_a_cpu_pictures_are_read_where_they_lie() -> None:
    feed = Feed(PICTURES, torch.device("cpu"))
    feed.expect(np.arange(3))
    assert isinstance(feed.take(np.arange(3)), np.ndarray)


OUT_OF_MEMORY = (
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported at some other call"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
)


def test_a_gpu_without_room_for_a_batch_is_told_with_what_to_lower(
    dataset: Dataset, striped_template: Template, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Small(Sandwich):
        room, error = 3, RuntimeError()

        def backward(self, images, targets, teacher_only, rng) -> float:
            self.room -= 1
            if self.room < 0:
                raise self.error
            return super().backward(images, targets, teacher_only, rng)

    told = r"16 images of 24 px at a time .* set accumulate: 2, or lower batch_size"
    for room, error in ((0, OUT_OF_MEMORY[0]), (5, OUT_OF_MEMORY[2])):  # in the estimate, and on the way
        at = setting(dataset, striped_template, tmp_path / str(room), RECIPE)
        objective = Small(at.net, RECIPE, False)
        objective.room, objective.error = room, error
        with pytest.raises(TrainingError, match=told):
            train(replace(at, objective=objective))

    def full(net: torch.nn.Module, decay: float) -> None:
        raise OUT_OF_MEMORY[1]

    monkeypatch.setattr(stepping, "WeightAverage", full)  # before the first step
    with pytest.raises(TrainingError, match=told):
        train(setting(dataset, striped_template, tmp_path / "begin", RECIPE))


@pytest.mark.parametrize("error", OUT_OF_MEMORY)
def test_what_to_lower_is_told_of_a_processs_own_share(error: RuntimeError) -> None:
    recipe = Recipe(batch_size=48, accumulate=2)
    with (
        pytest.raises(TrainingError, match=r"6 images of 96 px .*; set accumulate: 3, or lower batch_size or the res"),
        memory_told(recipe, 96, 4),
    ):
        raise error
    with pytest.raises(TrainingError, match=r"; lower batch_size or the res"), memory_told(recipe, 96, 12):
        raise error


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(RuntimeError, match="mat1 and mat2"), memory_told(Recipe(), 96, 1):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")


def test_bfloat16_is_for_gpus_that_compute_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    for emulated in (True, False):
        monkeypatch.setattr(
            torch.cuda,
            "is_bf16_supported",
            lambda including_emulation=True, own=not emulated: including_emulation or own,
        )
        assert device.uses_bf16(Recipe()) is not emulated
        assert not device.uses_bf16(Recipe(fp16=True))


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


def test_gradients_too_small_for_float16_come_through_by_scaling() -> None:
    """A student that all but agrees with its teacher: what is left to learn lies below float16's smallest numbers."""
    torch.manual_seed(0)
    net, images = torch.nn.Linear(64, 100), torch.randn(256, 64)
    towards = 1e-4 * torch.randn(256, 100)

    def gradient(factor: float, dtype: torch.dtype) -> torch.Tensor:
        net.zero_grad()
        hook = device.scale_gradients(net, lambda each: each * factor)
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            logits = net(images).float()
        torch.nn.functional.cross_entropy(logits, (logits.detach() + towards).softmax(1)).backward()
        hook.remove()
        assert net.weight.grad is not None
        return net.weight.grad / factor

    exact = gradient(1.0, torch.float32)
    lost, kept = ((gradient(f, torch.float16) - exact).norm() / exact.norm() for f in (1.0, 65536.0))
    assert lost > 0.5
    assert kept < 0.01


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
