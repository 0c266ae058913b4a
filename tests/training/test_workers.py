"""Two gloo processes: the gradients, and the weights, of one process with the same batch."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from nas_edge.data import Dataset, Preprocess
from nas_edge.errors import ConfigError, TrainingError
from nas_edge.spaces import Template
from nas_edge.supernet.supernet import Supernet
from nas_edge.training.objectives.losses import Sandwich
from nas_edge.training.recipe import Recipe
from nas_edge.training.running.stepping import Run, Setting
from nas_edge.training.together.workers import Workers

from .conftest import TEMPLATE, striped_dataset

ROOT = Path(__file__).resolve().parent.parent.parent

# A sandwich without chance in the images: batch norms see all, so nothing but rounding may differ.
HEAD = """
import sys
from pathlib import Path
sys.path.insert(0, {root!r})
import numpy as np
import torch
torch.set_num_threads(1)
from tests.training.conftest import TEMPLATE, striped_dataset
from tests.training.test_workers import plain_setting
from nas_edge.training.running.loop import train
from nas_edge.training.running.stepping import Run
from nas_edge.training.together.workers import joined_workers
out = Path(sys.argv[1])
"""
STEP = """
with joined_workers() as workers:
    at = plain_setting(striped_dataset(), TEMPLATE, out)
    run = Run(at)
    run.backward(5, 0, np.arange(16), False, at.side)
    run.workers.mean_gradients(run.parameters)
    if workers.speaks:
        torch.save({n: p.grad for n, p in at.net.named_parameters() if p.grad is not None}, out / "gradients.pt")
        torch.save(at.net.state_dict(), out / "buffers.pt")
"""
WHOLE = """
with joined_workers() as workers:
    done = train(plain_setting(striped_dataset(), TEMPLATE, out))
    if workers.speaks:
        assert (done.epochs, done.steps) == (2, 12)
"""
# Each process has a directory of its own, as on machines of their own; one meets a loss that is no number.
APART = """
import os
from dataclasses import replace
from nas_edge.training.objectives.losses import Sandwich

class Failing(Sandwich):
    left = 3

    def backward(self, *arguments):
        loss = super().backward(*arguments)
        self.left -= 1
        return float("nan") if self.left == 0 and workers.rank == 1 else loss

out = out / os.environ["RANK"]
with joined_workers() as workers:
    at = plain_setting(striped_dataset(), TEMPLATE, out)
    assert Run(at).resume().step == 6
    torch.save(at.net.state_dict(), out / "found.pt")
    done = train(replace(at, objective=Failing(at.net, at.recipe, False)))
    assert (done.epochs, done.steps) == (2, 12)
    torch.save(at.net.state_dict(), out / "end.pt")
"""


def plain_recipe() -> Recipe:
    from nas_edge.data.augment import Augmentation

    still = Augmentation(
        area=(1.0, 1.0), aspect=(1.0, 1.0), horizontal_flip=False, brightness=0, contrast=0, saturation=0
    )
    return Recipe(
        epochs=2, teacher_epochs=0, batch_size=16, drop_connect=0.0, dropout=0.0, mixup=0.0, bf16=False,
        augmentation=still, ema=0.9,
    )  # fmt: skip


PLAIN = plain_recipe()


def plain_setting(dataset: Dataset, template: Template, out: Path, recipe: Recipe = PLAIN) -> Setting:
    out.mkdir(exist_ok=True)
    torch.manual_seed(recipe.seed)
    net = Supernet(template, 2)
    return Setting(net, Sandwich(net, recipe, False), dataset, Preprocess(), 24, recipe, out)


def script(out: Path, work: str) -> list[str]:
    out.mkdir()
    (out / "script.py").write_text(HEAD.format(root=str(ROOT)) + work)
    return [str(out / "script.py"), str(out)]


def environment(**more: str) -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1"} | more


@pytest.fixture(scope="module")
def stepped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Path]:
    """A step of this process, and where two others have put theirs."""
    out = tmp_path_factory.mktemp("step") / "two"
    end = begun(script(out, STEP))
    run = Run(plain_setting(striped_dataset(), TEMPLATE, out))
    run.backward(5, 0, np.arange(16), False, 24)
    end()
    return run, out


def begun(arguments: list[str]) -> Callable[[], None]:
    """Start two processes that find each other; what waits for their end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    command = [sys.executable, *arguments]
    processes = [
        subprocess.Popen(command, env=environment(**where, RANK=str(rank)), stderr=subprocess.PIPE, text=True)
        for rank in range(2)
    ]

    def end() -> None:
        for process in processes:
            _, told = process.communicate(timeout=300)
            assert process.returncode == 0, told[-3000:]

    return end


def load(path: Path) -> dict[str, torch.Tensor]:
    return torch.load(path, weights_only=True)


def test_gradients_of_two_processes_are_those_of_one(stepped: tuple[Run, Path]) -> None:
    run, out = stepped
    two = load(out / "gradients.pt")
    one = {name: p.grad for name, p in run.setting.net.named_parameters() if p.grad is not None}
    assert one.keys() == two.keys()
    for name, gradient in one.items():
        rounding = max(2e-5 * float(gradient.abs().max()), 5e-7)
        assert torch.allclose(gradient, two[name], rtol=0, atol=rounding), name


def test_batch_norms_of_two_processes_have_seen_the_whole_batch(stepped: tuple[Run, Path]) -> None:
    run, out = stepped
    one, two = run.setting.net.state_dict(), load(out / "buffers.pt")
    names = [name for name in one if name.endswith(("running_mean", "running_var"))]
    assert len(names) > 10
    for name in names:
        assert torch.allclose(one[name], two[name], atol=1e-5), name


def test_processes_go_on_from_the_first_ones_checkpoint_wherever_they_are(tmp_path: Path) -> None:
    arguments = script(tmp_path / "apart", APART)
    places = [tmp_path / "apart" / str(rank) for rank in range(2)]
    at = plain_setting(striped_dataset(), TEMPLATE, places[0])
    run = Run(at)
    place = run.resume()
    run.step(place, place.horizon, np.arange(16))
    run.save(replace(place, epoch=1, step=6))
    places[1].mkdir()
    begun(arguments)()
    for name, tensor in at.net.state_dict().items():
        for found in places:
            assert torch.equal(tensor, load(found / "found.pt")[name]), name
    one, two = (load(found / "end.pt") for found in places)
    for name, tensor in one.items():
        assert torch.equal(tensor, two[name]), name
    assert sorted(path.name for path in places[1].iterdir()) == ["end.pt", "found.pt"]


@pytest.mark.slow
def test_a_run_of_two_processes_ends_with_the_weights_of_one(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    for name, count in (("one", 1), ("two", 2)):
        command = [*torchrun, f"--nproc-per-node={count}", *script(tmp_path / name, WHOLE)]
        done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
    one, two = (load_file(tmp_path / name / "checkpoint.safetensors") for name in ("one", "two"))
    for name, tensor in one.items():
        if name.startswith("net.") and tensor.is_floating_point():
            # Adam divides by the gradient's size: where that is nothing but rounding, steps may differ.
            assert torch.allclose(tensor, two[name], atol=5e-3), name
    assert (tmp_path / "two" / "history.csv").read_text().count("\n") == 3


def test_parts_of_a_batch_give_the_mean_of_their_gradients(
    dataset: Dataset, striped_template: Template, tmp_path: Path
) -> None:
    def gradients(accumulate: int, indices: np.ndarray) -> dict[str, torch.Tensor]:
        run = Run(plain_setting(dataset, striped_template, tmp_path, replace(PLAIN, accumulate=accumulate)))
        run.backward(5, 0, indices, False, 24)
        return {n: p.grad for n, p in run.setting.net.named_parameters() if p.grad is not None}

    whole = gradients(2, np.arange(16))
    halves = [gradients(1, np.arange(start, start + 8)) for start in (0, 8)]
    for name, gradient in whole.items():
        assert torch.allclose(gradient, (halves[0][name] + halves[1][name]) / 2, atol=1e-5), name


def test_all_processes_together_see_every_picture_of_a_batch_once() -> None:
    batch = np.arange(24)
    parts = [Workers(rank, 3).part(batch) for rank in range(3)]
    assert sorted(np.concatenate(parts).tolist()) == batch.tolist()
    assert {len(part) for part in parts} == {8}


def test_a_batch_that_cannot_be_shared_is_told(
    dataset: Dataset, striped_template: Template, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Workers, "present", classmethod(lambda cls: cls(0, 3)))
    with pytest.raises(TrainingError, match="batch_size 16 cannot be shared by 3 processes"):
        Run(plain_setting(dataset, striped_template, tmp_path))
    with pytest.raises(ConfigError, match="accumulate must be"):
        Recipe(batch_size=8, accumulate=8)


def test_alone_nothing_is_averaged() -> None:
    layer = nn.Linear(2, 1)
    layer.weight.grad = torch.ones(1, 2)
    Workers().mean_gradients(layer.parameters())
    assert torch.equal(layer.weight.grad, torch.ones(1, 2))
    assert Workers().mean(1.0, 2.0) == (1.0, 2.0)
    assert Workers.present() == Workers()
