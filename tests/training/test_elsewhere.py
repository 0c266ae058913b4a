"""Training on another device than the CPU, without having one: no tensor is where it is not computed with."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from nas_edge.data import Dataset, Preprocess
from nas_edge.data.augment import Augmentation, cutmix, mixup
from nas_edge.data.calibration import choose_calibration
from nas_edge.data.rand_augment import OPERATIONS, rand_augment
from nas_edge.spaces import Template
from nas_edge.supernet.supernet import Supernet
from nas_edge.supernet.synced_norm import synced_norm
from nas_edge.training.measuring.evaluate import Evaluator
from nas_edge.training.objectives import losses, shrinking
from nas_edge.training.objectives.losses import Objective, Sandwich, Single
from nas_edge.training.objectives.phases import Phase
from nas_edge.training.objectives.shrinking import Shrinking
from nas_edge.training.objectives.teacher import NetworkTeacher, Teacher, TorchTeacher, teacher_of
from nas_edge.training.recipe import Recipe
from nas_edge.training.running import feeding, stepping
from nas_edge.training.running.loop import train
from nas_edge.training.running.stepping import Setting
from nas_edge.training.single import alone
from nas_edge.training.single.alone import fresh_network, train_alone

from .elsewhere import Elsewhere, another_device

pytestmark = pytest.mark.filterwarnings("ignore:.*copying from a non-meta parameter")  # here it is copied
EVERYTHING = Augmentation(
    vertical_flip=True, rotation_degrees=10, cutout=0.3, random_ops=2, magnitude=0.4, area=(0.5, 1.0)
)
RECIPE = Recipe(
    epochs=2, teacher_epochs=1, batch_size=16, accumulate=2, learning_rate=4e-3, warmup_epochs=0.5, drop_connect=0.1,
    dropout=0.1, bf16=False, ema=0.9, clip_norm=1.0, freeze_epochs=1, mixup=0.2, cutmix=0.5, first_side=16,
    growing_share=0.7, augmentation=EVERYTHING,
)  # fmt: skip
Make = Callable[[Supernet, Recipe], Objective]


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[torch.device]:
    """The other device, with room for all pictures; torch knows no autocast there."""
    monkeypatch.setattr(feeding, "fits", lambda size_bytes, device: device.type != "cpu")
    for module in (losses, shrinking):
        monkeypatch.setattr(module, "autocast", lambda images, recipe, bf16: nullcontext())
    with another_device() as device:
        yield device


def there(tensor: torch.Tensor) -> torch.Tensor:
    assert isinstance(tensor, Elsewhere)
    return tensor.here


def test_every_operation_and_blend_computes_there_what_it_does_here(elsewhere: torch.device) -> None:
    pictures = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (40, 20, 20, 3), dtype=np.uint8))

    def made(device: torch.device, side: int) -> list[torch.Tensor]:
        generator = torch.Generator().manual_seed(0)
        batch = pictures.to(device)
        images = EVERYTHING.apply(batch, side, Preprocess(), generator)
        targets = torch.eye(40).to(device)
        drawn = rand_augment(batch.permute(0, 3, 1, 2).float(), 3, 0.7, generator)
        return [images, drawn, *mixup(images, targets, 0.5, generator), *cutmix(images, targets, 0.5, generator)]

    assert len(OPERATIONS) < 40  # each is drawn
    for side in (20, 8):  # pictures of that size, and such as are shrunk
        for far, near in zip(made(elsewhere, side), made(torch.device("cpu"), side), strict=True):
            assert torch.equal(there(far), near)


def teacher_in_torch(net: Supernet) -> Teacher:
    torch.manual_seed(1)
    return TorchTeacher(Supernet(net.template, 2).eval().extract(net.space.largest()))


MAKERS: dict[str, Make] = {
    "sandwich": lambda net, recipe: Sandwich(net, recipe, False, teacher_in_torch(net)),
    "shrinking": lambda net, recipe: Shrinking(
        net, Phase("expand", 2, 4e-3, subnets=2, kernels=None, depths=None, expands=None), recipe, False,
        teacher_in_torch(net),
    ),
}  # fmt: skip


def setting(dataset: Dataset, template: Template, out: Path, make: Make, device: torch.device) -> Setting:
    out.mkdir(exist_ok=True)
    torch.manual_seed(RECIPE.seed)
    net = Supernet(template, 2)
    return Setting(net, make(net, RECIPE), dataset, Preprocess(), 24, RECIPE, out, device)


@pytest.mark.parametrize("kind", MAKERS)
def test_a_run_there_ends_with_the_weights_of_one_here(
    dataset: Dataset, striped_template: Template, tmp_path: Path, elsewhere: torch.device, kind: str
) -> None:
    far = setting(dataset, striped_template, tmp_path / "far", MAKERS[kind], elsewhere)
    near = setting(dataset, striped_template, tmp_path / "near", MAKERS[kind], torch.device("cpu"))
    assert train(far) == replace(train(near), seconds=pytest.approx(0, abs=600))
    assert_close(far, near)


def assert_close(far: Setting, near: Setting) -> None:
    for (name, a), b in zip(near.net.state_dict().items(), far.net.state_dict().values(), strict=True):
        assert b.device.type == "cpu"
        if name.endswith("num_batches_tracked"):  # torch loads none into what it takes for a tensor without numbers
            continue
        # Gradients of depthwise weights are rounded otherwise here; Adam divides by a gradient's size.
        assert torch.allclose(a.float(), b.float(), atol=2e-2), name


def test_a_run_that_was_cut_there_goes_on_there_and_here(
    dataset: Dataset, striped_template: Template, tmp_path: Path, elsewhere: torch.device
) -> None:
    def die(done: float, total: float, text: str) -> None:
        if done > 1.4:
            raise ZeroDivisionError

    def plain(net: Supernet, recipe: Recipe) -> Objective:
        return Sandwich(net, recipe, False)

    whole = setting(dataset, striped_template, tmp_path / "whole", plain, elsewhere)
    train(whole)
    with pytest.raises(ZeroDivisionError):
        train(setting(dataset, striped_template, tmp_path / "there", plain, elsewhere), progress=die)
    shutil.copytree(tmp_path / "there", tmp_path / "here")
    for out, device in (("there", elsewhere), ("here", torch.device("cpu"))):
        resumed = setting(dataset, striped_template, tmp_path / out, plain, device)
        train(resumed)
        assert_close(resumed, whole)


def test_one_network_trains_there(
    dataset: Dataset, striped_template: Template, tmp_path: Path, elsewhere: torch.device
) -> None:
    found = []
    for device in (elsewhere, torch.device("cpu")):
        torch.manual_seed(0)
        net = Supernet(striped_template, 2)
        single = net.extract(net.space.largest())
        objective = Single(single, 24, RECIPE, False)
        out = tmp_path / device.type
        out.mkdir()
        found.append(Setting(single, objective, dataset, Preprocess(), 24, RECIPE, out, device))
        train(found[-1])
    assert_close(*found)


def test_networks_are_recalibrated_and_answer_there(
    dataset: Dataset, striped_template: Template, elsewhere: torch.device
) -> None:
    torch.manual_seed(0)
    net = Supernet(striped_template, 2)
    near = Evaluator(choose_calibration(dataset.train, 0), Preprocess())
    far = near.on(elsewhere)
    assert far.on(elsewhere) is far
    networks = [each.recalibrated(net, net.space.largest()) for each in (near, far)]
    figures = [dict(network.named_buffers()) for network in networks]
    for name, figure in figures[0].items():
        if not name.endswith("num_batches_tracked"):
            assert torch.allclose(there(figures[1][name]), figure, atol=1e-5), name
    answers = [each.evaluate(of, of.resolution, dataset.search) for each, of in zip((near, far), networks, strict=True)]
    assert np.array_equal(answers[0].predicted, answers[1].predicted)
    assert {tensor.device.type for tensor in net.state_dict().values()} == {"cpu"}


def test_the_best_epoch_is_looked_for_there_and_kept_here(
    dataset: Dataset,
    striped_template: Template,
    tmp_path: Path,
    elsewhere: torch.device,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recipe, space = replace(RECIPE, freeze_epochs=0, teacher_epochs=0), Supernet(striped_template, 2).space
    found = []
    for device in (elsewhere, torch.device("cpu")):
        for module in (alone, stepping):
            monkeypatch.setattr(module, "present_device", lambda device=device: device)
        net = fresh_network(space, space.largest(), 2, recipe)
        evaluator = Evaluator(choose_calibration(dataset.train, 0), Preprocess())
        out = tmp_path / device.type
        out.mkdir()
        found.append(train_alone(net, dataset, Preprocess(), recipe, evaluator, out))
        assert (out / alone.BEST).is_file()
    assert {tensor.device.type for tensor in found[0].net.state_dict().values()} == {"cpu"}
    assert found[0].accuracy == pytest.approx(found[1].accuracy, abs=0.1)


def test_a_teacher_in_torch_answers_where_it_is_asked(striped_template: Template, elsewhere: torch.device) -> None:
    teacher = teacher_in_torch(Supernet(striped_template, 2))
    images = torch.randn(4, 3, 30, 30)
    here = teacher.probabilities(images)
    assert torch.equal(there(teacher.probabilities(images.to(elsewhere))), here)
    assert torch.equal(teacher.probabilities(images), here)


def test_a_teacher_is_asked_in_torch_where_there_is_a_gpu(
    striped_template: Template, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = Supernet(striped_template, 2).eval()
    assert isinstance(teacher_of(net.extract(net.space.largest())), NetworkTeacher)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert isinstance(teacher_of(net.extract(net.space.largest())), TorchTeacher)


def test_batch_norms_of_several_processes_normalise_there(elsewhere: torch.device) -> None:
    """Here and there as torch's own does with the whole batch; a GPU's kernels ask for more than a CPU's."""
    torch.manual_seed(0)
    x, weight, bias = torch.randn(6, 4, 5, 5), torch.rand(4) + 0.5, torch.randn(4)
    towards = torch.randn(6, 4, 5, 5)

    def passed(device: torch.device, synced: bool) -> list[torch.Tensor]:
        mean, variance = torch.zeros(4, device=device), torch.ones(4, device=device)
        inputs = [each.to(device).detach().requires_grad_() for each in (x, weight, bias)]
        if synced:
            y = synced_norm(inputs[0], mean, variance, inputs[1], inputs[2], 0.1, 1e-5, lambda own: own[None])
        else:
            y = torch.nn.functional.batch_norm(inputs[0], mean, variance, inputs[1], inputs[2], True, 0.1, 1e-5)
        (y * towards.to(device)).sum().backward()
        found = [y.detach(), mean, variance, *(each.grad for each in inputs)]
        return [each.here if isinstance(each, Elsewhere) else each for each in found]

    here, far = passed(torch.device("cpu"), True), passed(elsewhere, True)
    for near, other, plain in zip(here, far, passed(torch.device("cpu"), False), strict=True):
        assert torch.equal(near, other)
        assert torch.allclose(near, plain, atol=1e-5)


def test_a_tensor_of_another_device_is_noticed(elsewhere: torch.device) -> None:
    """Or none of the tests above would say anything."""
    far = torch.zeros(3, device=elsewhere)
    with pytest.raises(RuntimeError, match="same device"):
        far + torch.ones(3)
    with pytest.raises(RuntimeError, match="same device"):
        torch.ones(3)[torch.tensor([0, 1], device=elsewhere)]
    assert there(far + 1).tolist() == [1, 1, 1]
    assert there(far[torch.tensor([0, 2])]).tolist() == [0, 0]
