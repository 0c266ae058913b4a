"""Ctrl-C, kill -9, a full disk, a loss that is not finite: the run goes on, to the same weights where it can."""

from __future__ import annotations

import csv
import errno
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from nas_edge.cli.common import shown_progress
from nas_edge.data import Dataset, Preprocess
from nas_edge.errors import StorageError, TrainingError
from nas_edge.files import write_atomic
from nas_edge.spaces import Template
from nas_edge.supernet.supernet import Supernet
from nas_edge.training.objectives.losses import Sandwich
from nas_edge.training.recipe import Recipe
from nas_edge.training.running import checkpoint
from nas_edge.training.running.average import WeightAverage
from nas_edge.training.running.history import History
from nas_edge.training.running.loop import CHECKPOINT, HISTORY, Setting, Trained, train

from .test_loop import RECIPE


def setting(dataset: Dataset, template: Template, out: Path, recipe: Recipe = RECIPE) -> Setting:
    out.mkdir(exist_ok=True)
    torch.manual_seed(recipe.seed)
    net = Supernet(template, 2)
    return Setting(net, Sandwich(net, recipe, False), dataset, Preprocess(), 24, recipe, out)


def finish(at: Setting, **options) -> tuple[dict[str, torch.Tensor], Trained, list[str]]:
    told: list[str] = []
    done = train(at, progress=lambda *note: told.append(note[2]), **options)
    return at.net.state_dict(), done, told


def assert_same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    for name, tensor in a.items():
        if tensor.is_floating_point():
            assert torch.equal(tensor, b[name]), name


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_saves_within_the_epoch_and_the_run_goes_on_from_there(
    dataset: Dataset, striped_template: Template, tmp_path: Path, signal_number: int
) -> None:
    whole, _, _ = finish(setting(dataset, striped_template, tmp_path / "whole"))

    steps: list[str] = []

    def interrupt(done: float, total: float, text: str) -> None:
        steps.extend([text] if text.startswith("epoch 2") else [])
        if steps[-1:] == [text] and len(steps) == 3:  # of six
            os.kill(os.getpid(), signal_number)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train(setting(dataset, striped_template, tmp_path / "cut"), progress=interrupt)
    assert signal.getsignal(signal.SIGINT) is before
    resumed, _, told = finish(setting(dataset, striped_template, tmp_path / "cut"))
    assert_same(whole, resumed)
    assert sum(note.startswith("epoch") for note in told) == 18 - 9
    histories = [list(csv.DictReader((tmp_path / name / HISTORY).open())) for name in ("whole", "cut")]
    assert [row["loss"] for row in histories[0]] == [row["loss"] for row in histories[1]]


def test_ctrl_c_while_the_last_epoch_is_looked_at_is_heeded_as_well(
    dataset: Dataset, striped_template: Template, tmp_path: Path
) -> None:
    def interrupt(epoch: int, average: WeightAverage) -> dict[str, float]:
        if epoch == 1:
            os.kill(os.getpid(), signal.SIGINT)
        return {"largest": 0.5}

    short = replace(RECIPE, epochs=1, teacher_epochs=0, batch_size=48)
    with pytest.raises(KeyboardInterrupt):
        train(setting(dataset, striped_template, tmp_path, short), after_epoch=interrupt)
    _, done, told = finish(setting(dataset, striped_template, tmp_path, short))
    assert (done.epochs, done.steps, told) == (1, 2, [])  # all was saved
    assert len((tmp_path / HISTORY).read_text().splitlines()) == 2


def test_what_nobody_must_miss_stays_on_the_screen(
    dataset: Dataset, striped_template: Template, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    """What the progress of a step says is gone with the next one."""
    out, real = tmp_path / "out", checkpoint.write_tensors

    def full(path, tensors, about) -> None:
        if out.joinpath(HISTORY).exists():
            raise StorageError("the disk is full")
        real(path, tensors, about)

    monkeypatch.setattr(checkpoint, "write_tensors", full)
    with shown_progress(announce=True) as progress:

        def stop(done: float, total: float, text: str) -> None:
            progress(done, total, text)
            if text.startswith("epoch 3"):
                os.kill(os.getpid(), signal.SIGINT)

        with pytest.raises(KeyboardInterrupt):
            train(diverging(dataset, striped_template, out, 1), progress=stop)
    said = capsys.readouterr().err
    assert "not saved (the disk is full); training goes on, saving is tried again\n" in said
    assert "the loss is nan at step 8: back to step 0, at 0.5 of the learning rate\n" in said
    assert "not saved (the disk is full); the same command goes on from what was saved before\n" in said
    assert "stopped after step 13 of 18; the same command goes on\n" in said


def test_a_full_disk_is_told_and_survived(
    dataset: Dataset, striped_template: Template, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _, _ = finish(setting(dataset, striped_template, tmp_path / "whole"))
    saves = {"count": 0}
    real = checkpoint.write_tensors

    def half(temporary: Path) -> None:
        temporary.write_bytes(b"half of it")
        raise OSError(errno.ENOSPC, "No space left on device")

    def full(path, tensors, about) -> None:
        saves["count"] += 1
        if saves["count"] in (2, 3):  # after the first and the second epoch
            write_atomic(path, half)
        real(path, tensors, about)

    monkeypatch.setattr(checkpoint, "write_tensors", full)
    survived, _, told = finish(setting(dataset, striped_template, tmp_path / "full"))
    assert_same(whole, survived)
    notes = [note for note in told if "not saved" in note]
    assert len(notes) == 2
    assert "the disk is full" in notes[0]
    assert "training goes on" in notes[0]
    assert load_file(tmp_path / "full" / CHECKPOINT)  # the last one, whole
    assert not list((tmp_path / "full").glob(".*tmp"))


def test_a_history_that_cannot_be_written_loses_no_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    history = History(tmp_path, 0)
    tmp_path.chmod(0o700)
    history.add(1, 10, 1.0, {"loss": 2.0})
    history.rows.append({"epoch": "2", "step": "20", "seconds": "2.0", "loss": "1.00000"})  # one that was not written
    history.add(3, 30, 3.0, {"loss": 0.5})
    assert [row["epoch"] for row in csv.DictReader((tmp_path / HISTORY).open())] == ["1", "2", "3"]
    assert [row["epoch"] for row in History(tmp_path, 20).rows] == ["1", "2"]  # resumed from a checkpoint at step 20


class Diverging(Sandwich):
    """Its loss is not a number at some step, as often as it is told."""

    def __init__(self, net: Supernet, recipe: Recipe, at: int, times: int) -> None:
        super().__init__(net, recipe, False)
        self.at, self.times, self.steps = at, times, 0

    def backward(self, images, targets, teacher_only, rng) -> float:
        self.steps += 1
        loss = super().backward(images, targets, teacher_only, rng)
        if self.steps >= self.at and self.times:
            self.times -= 1
            for buffer in self.net.buffers():  # what an overflow leaves behind
                if buffer.is_floating_point():
                    buffer.fill_(float("nan"))
            return float("nan")
        return loss


def diverging(dataset: Dataset, template: Template, out: Path, times: int) -> Setting:
    at = setting(dataset, template, out)
    return replace(at, objective=Diverging(at.net, at.recipe, 3 + 9, times))  # three steps are for the estimate


def test_a_loss_that_is_not_finite_brings_back_the_last_checkpoint(
    dataset: Dataset, striped_template: Template, tmp_path: Path
) -> None:
    state, done, told = finish(diverging(dataset, striped_template, tmp_path, 1))
    (note,) = [note for note in told if "back to" in note]
    assert note == "the loss is nan at step 8: back to step 6, at 0.5 of the learning rate"
    assert (done.epochs, done.steps) == (3, 18)
    assert all(tensor.isfinite().all() for tensor in state.values())


def test_a_loss_that_is_never_finite_ends_the_run_with_what_to_do(
    dataset: Dataset, striped_template: Template, tmp_path: Path
) -> None:
    with pytest.raises(TrainingError, match="in spite of 3 returns to an earlier state; lower learning_rate"):
        finish(diverging(dataset, striped_template, tmp_path, 99))


class Spoiled(Sandwich):
    """At one step something is left behind that is not finite; the loss looks as if nothing were wrong."""

    def __init__(self, net: Supernet, recipe: Recipe, spoil: Callable[[Supernet], object]) -> None:
        super().__init__(net, recipe, False)
        self.spoil, self.steps = spoil, 0

    def backward(self, images, targets, teacher_only, rng) -> float:
        loss = super().backward(images, targets, teacher_only, rng)
        self.steps += 1
        if self.steps == 3 + 9:  # three steps are for the estimate
            self.spoil(self.net)
        return loss


@pytest.mark.parametrize(("value", "clip_norm"), [(math.nan, 0.0), (math.inf, 1.0)])
def test_a_gradient_that_is_not_finite_reaches_no_weight(
    dataset: Dataset, striped_template: Template, tmp_path: Path, value: float, clip_norm: float
) -> None:
    at = setting(dataset, striped_template, tmp_path, replace(RECIPE, clip_norm=clip_norm))

    def spoil(net: Supernet) -> None:
        net.classifier.linear.weight.grad[0, 0] = value

    state, done, told = finish(replace(at, objective=Spoiled(at.net, at.recipe, spoil)))
    (note,) = [note for note in told if "back to" in note]
    assert note == "a gradient is not finite at step 8: back to step 6, at 0.5 of the learning rate"
    assert done.steps == 18
    assert all(tensor.isfinite().all() for tensor in state.values())


def test_a_state_that_is_not_finite_takes_no_good_checkpoints_place(
    dataset: Dataset, striped_template: Template, tmp_path: Path
) -> None:
    def overflow(net: Supernet) -> None:
        next(buffer for name, buffer in net.named_buffers() if name.endswith("running_var"))[0] = math.inf

    at = setting(dataset, striped_template, tmp_path)
    _, done, told = finish(replace(at, objective=Spoiled(at.net, at.recipe, overflow)))
    (note,) = [note for note in told if "back to" in note]
    assert note == "the weights are not finite at step 12: back to step 6, at 0.5 of the learning rate"
    assert done.steps == 18
    assert all(tensor.isfinite().all() for tensor in load_file(tmp_path / CHECKPOINT).values())
    assert [row["epoch"] for row in csv.DictReader((tmp_path / HISTORY).open())] == ["1", "2", "3"]


def test_what_training_cannot_begin_with_is_said(dataset: Dataset, striped_template: Template, tmp_path: Path) -> None:
    at = setting(dataset, striped_template, tmp_path)
    with torch.no_grad():
        at.net.classifier.linear.bias[0] = math.nan
    with pytest.raises(TrainingError, match="not finite at step 0: what training begins with cannot be used"):
        train(at)
    assert not (tmp_path / CHECKPOINT).exists()


def test_a_return_beyond_a_line_of_the_history_takes_it_back(tmp_path: Path) -> None:
    history = History(tmp_path, 0)
    for epoch in (1, 2, 3):
        history.add(epoch, 10 * epoch, 1.0, {"loss": 2.0})
    history.back_to(10)
    history.add(2, 20, 4.0, {"loss": 1.0})
    assert [row["step"] for row in csv.DictReader((tmp_path / HISTORY).open())] == ["10", "20"]


def test_what_follows_a_return_is_the_same_after_a_kill(
    dataset: Dataset, striped_template: Template, tmp_path: Path
) -> None:
    whole, _, _ = finish(diverging(dataset, striped_template, tmp_path / "whole", 1))

    def die(done: float, total: float, text: str) -> None:
        if done > 2.4:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        train(diverging(dataset, striped_template, tmp_path / "cut", 1), progress=die)
    resumed, _, _ = finish(setting(dataset, striped_template, tmp_path / "cut"))
    assert_same(whole, resumed)


SCRIPT = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
sys.path.insert(0, {root!r})
from tests.training.conftest import TEMPLATE, stripes
from tests.training.test_never_losing_a_run import setting, train
from tests.training.test_loop import RECIPE
from nas_edge.data import Dataset, Split
from nas_edge.data.images import ArrayImages
from dataclasses import replace
import numpy as np
splits = {{}}
for seed, (name, n) in enumerate({{"train": 96, "search": 48, "test": 16}}.items()):
    images, labels = stripes(n, seed)
    splits[name] = Split(ArrayImages(images, name), np.arange(n), labels)
data = Dataset("stripes", ("across", "down"), splits)
at = setting(data, TEMPLATE, Path(sys.argv[1]), replace(RECIPE, epochs=12))
train(at)
torch.save(at.net.state_dict(), Path(sys.argv[1]) / "final.pt")
"""


def saved_at(directory: Path) -> int:
    path = directory / CHECKPOINT
    return path.stat().st_mtime_ns if path.exists() else 0


@pytest.mark.slow
def test_kill_9_at_random_moments_and_the_weights_are_the_same(tmp_path: Path) -> None:
    root = str(Path(__file__).resolve().parent.parent.parent)
    command = [sys.executable, "-c", SCRIPT.format(root=root)]
    subprocess.run([*command, str(tmp_path / "whole")], check=True)
    rng = np.random.default_rng()
    kills, cut = 0, tmp_path / "cut"
    for _ in range(4):  # each gets at least one epoch further: killed some time after it has saved
        process = subprocess.Popen([*command, str(cut)])
        before = saved_at(cut)
        while process.poll() is None and saved_at(cut) == before:
            time.sleep(0.002)
        time.sleep(float(rng.uniform(0, 0.3)))
        kills += process.poll() is None
        process.kill()
        process.wait()
    assert kills
    subprocess.run([*command, str(cut)], check=True)
    whole, resumed = (torch.load(tmp_path / name / "final.pt", weights_only=True) for name in ("whole", "cut"))
    assert_same(whole, resumed)
