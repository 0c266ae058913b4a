"""Processes that a run starts by itself: the weights of one, one voice, and an end that is told."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from nas_edge.data import Dataset, Preprocess
from nas_edge.errors import ConfigError, TrainingError
from nas_edge.spaces import Template
from nas_edge.supernet.supernet import Supernet
from nas_edge.training.objectives.teacher import NetworkTeacher, Teacher
from nas_edge.training.running.device import present_device
from nas_edge.training.supernet_run import SupernetRun
from nas_edge.training.together import processes
from nas_edge.training.together.processes import train_in_processes

from .test_workers import PLAIN


def unsendable() -> Callable[[Supernet], None]:
    """A start that only the leading process can make."""

    def one_weight(net: Supernet) -> None:
        with torch.no_grad():
            next(net.parameters()).fill_(0.25)

    return one_weight


def run_in(
    out: Path,
    dataset: Dataset,
    template: Template,
    init: Callable[[Supernet], object] | None = None,
    teacher: Teacher | None = None,
) -> SupernetRun:
    out.mkdir()
    return SupernetRun(template, dataset, Preprocess(), PLAIN, init, out, watch_every=1, teacher=teacher)


@pytest.fixture
def one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_two_processes_end_with_the_weights_of_one(
    dataset: Dataset, striped_template: Template, tmp_path: Path, one_thread: None
) -> None:
    told: list[str] = []
    net = Supernet(striped_template, 2).eval()
    teacher = NetworkTeacher.of(net.extract(net.space.largest()))
    assert len(teacher.probabilities(torch.randn(3, 3, 24, 24))) == 3  # it has been asked before it is sent
    runs = {count: run_in(tmp_path / str(count), dataset, striped_template, unsendable(), teacher) for count in (1, 2)}
    found = {
        count: train_in_processes(run, count, progress=lambda done, total, text: told.append(text))
        for count, run in runs.items()
    }
    assert found[1][1].steps == found[2][1].steps == 12
    one, two = found[1][0].state_dict(), found[2][0].state_dict()
    for name, tensor in one.items():
        if tensor.is_floating_point():
            # Adam divides by the gradient's size: where that is nothing but rounding, steps may differ.
            assert torch.allclose(tensor, two[name], atol=5e-3), name
    lines = (tmp_path / "2" / "history.csv").read_text().splitlines()
    assert len(lines) == 3
    assert "nan" not in lines[-1]  # watched by the leading process
    assert "RANK" not in os.environ


def test_a_process_that_is_killed_is_told_and_the_run_goes_on(
    dataset: Dataset, striped_template: Template, tmp_path: Path, one_thread: None
) -> None:
    run = run_in(tmp_path / "run", dataset, striped_template)
    before = set(children())

    def kill(done: float, total: float, text: str) -> None:
        if text.startswith("epoch 2"):
            for child in set(children()) - before:
                if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
                    os.kill(child, signal.SIGKILL)

    with pytest.raises(TrainingError, match=r"process of the (run|training) (has )?ended"):
        train_in_processes(run, 2, progress=kill)
    _, done = train_in_processes(run, 1)
    assert (done.epochs, done.steps) == (2, 12)


class Greedy:
    """A teacher for which one of the processes has no memory, as a GPU that others use as well."""

    side = 24

    def probabilities(self, images: torch.Tensor) -> torch.Tensor:
        if os.environ["RANK"] == "1":
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return torch.full((len(images), 2), 0.5)


def test_what_is_wrong_in_another_process_is_said_by_this_one(
    dataset: Dataset, striped_template: Template, tmp_path: Path, one_thread: None
) -> None:
    run = run_in(tmp_path / "run", dataset, striped_template, teacher=Greedy())
    with pytest.raises(TrainingError, match=r"memory does not suffice for 8 images of 24 px .*; set accumulate: 2"):
        train_in_processes(run, 2)


def test_a_process_that_ends_at_its_start_is_told(
    dataset: Dataset, striped_template: Template, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "_assist", os._exit)  # with whatever it is given: not a number
    with pytest.raises(TrainingError, match="ended at its start"):
        train_in_processes(run_in(tmp_path / "run", dataset, striped_template), 2)


@pytest.mark.parametrize("gpus", [1, 3])
def test_more_processes_than_gpus_are_refused_before_any_is_started(
    dataset: Dataset, striped_template: Template, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gpus: int
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    with pytest.raises(ConfigError, match=f"4 processes on this machine need as many GPUs, and {gpus} can be seen"):
        train_in_processes(run_in(tmp_path / "run", dataset, striped_template), 4)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")  # as torchrun says it
    monkeypatch.setenv("LOCAL_RANK", "0")
    with pytest.raises(ConfigError, match="4 processes on this machine"):
        present_device()


def children() -> list[int]:
    return [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]
