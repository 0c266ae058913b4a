"""A run in several processes of this machine, without torchrun: the one at hand leads, and starts the others.

On CPUs the processes of a run share its work a little better than the threads of one: each has a part of every batch
for itself, where threads wait for each other in every layer (`tests/benchmarks/test_two_processes.py`).
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch

from nas_edge.data import Preprocess
from nas_edge.data.portable import PortableDataset
from nas_edge.errors import NasEdgeError, TrainingError
from nas_edge.progress import Progress, silent
from nas_edge.spaces import Template
from nas_edge.supernet.supernet import Supernet
from nas_edge.training.objectives.teacher import Teacher
from nas_edge.training.recipe import Recipe
from nas_edge.training.running.device import one_gpu_each
from nas_edge.training.running.loop import Trained
from nas_edge.training.supernet_run import SupernetRun, train_supernet
from nas_edge.training.together.exchange import ProcessLost
from nas_edge.training.together.workers import joined_workers

_END_S = 10.0  # for the others to end by themselves
_LOOK_S = 0.2


def train_in_processes(
    run: SupernetRun, count: int, *, time_limit_s: float | None = None, progress: Progress = silent
) -> tuple[Supernet, Trained]:
    """As `train_supernet`, in `count` processes: the weights are those of one with the same batches, but for rounding.

    Each gets its share of the threads that this process had. Only this one writes files and reports.

    Raises:
        ConfigError: fewer GPUs than processes. TrainingError: also where a process ends untimely; what was saved is
            there to go on from.
    """
    one_gpu_each(count)
    if count == 1:
        return train_supernet(run, time_limit_s=time_limit_s, progress=progress)
    threads = torch.get_num_threads()
    each = max(1, threads // count)
    torch.set_num_threads(each)
    try:
        with _others(_Sent.of(run), count, each, time_limit_s), joined_workers():
            return train_supernet(run, time_limit_s=time_limit_s, progress=progress)
    finally:
        torch.set_num_threads(threads)


@dataclass(frozen=True)
class _Sent:
    """A run on its way to another process, which gets the first weights from the leading one."""

    template: Template
    dataset: PortableDataset
    preprocess: Preprocess
    recipe: Recipe
    out: Path
    teacher: Teacher | None

    @classmethod
    def of(cls, run: SupernetRun) -> _Sent:
        dataset = PortableDataset.of(run.dataset, along=False)
        return cls(run.template, dataset, run.preprocess, run.recipe, run.out, run.teacher)

    def run(self) -> SupernetRun:
        return SupernetRun(
            self.template, self.dataset.dataset(), self.preprocess, self.recipe, None, self.out, 0, self.teacher
        )


@contextmanager
def _others(run: _Sent, count: int, threads: int, time_limit_s: float | None) -> Iterator[None]:
    """All processes but this one, up and about to join; gone in the end, whatever happens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("spawn")  # forked ones would share locks of torch's threads
    processes: list[BaseProcess] = []
    connections: list[Connection] = []
    try:
        for rank in range(1, count):
            ours, theirs = context.Pipe()
            arguments = (theirs, rank, count, port, threads, run, time_limit_s)
            process = context.Process(target=_assist, args=arguments, daemon=True)
            process.start()
            processes.append(process)
            connections.append(ours)
            theirs.close()
            _await(ours, process)
        with _standing(0, count, port):
            try:
                yield
            except (RuntimeError, ProcessLost) as error:  # of gloo and of sockets, when a process is lost
                raise _lost(processes, connections, error) from error
    finally:
        for started in processes:
            started.join(_END_S)
            if started.is_alive():
                started.kill()


def _await(connection: Connection, process: BaseProcess) -> None:
    """Until a process is ready to join. Raises TrainingError where it ends before."""
    while not connection.poll(_LOOK_S):
        if not process.is_alive():
            raise TrainingError(f"a process of the training ended at its start (exit code {process.exitcode})")
    try:
        connection.recv_bytes()
    except EOFError:
        process.join(_END_S)
        raise TrainingError(f"a process of the training ended at its start (exit code {process.exitcode})") from None


def _lost(processes: list[BaseProcess], connections: list[Connection], error: Exception) -> Exception:
    """What a process said before it ended, else that it ended; `error` itself where none did."""
    for process, connection in zip(processes, connections, strict=True):
        process.join(_LOOK_S)
        with suppress(EOFError):
            if connection.poll():
                return TrainingError(connection.recv_bytes().decode())
        if process.exitcode:
            return TrainingError(
                f"a process of the training ended (exit code {process.exitcode}); the same command goes on from what"
                " was saved last"
            )
    return error


@contextmanager
def _standing(rank: int, count: int, port: int) -> Iterator[None]:
    """What torchrun would say of this process in its environment."""
    said = {
        "RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count,
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port,
    }  # fmt: skip
    before = {name: os.environ.get(name) for name in said}
    os.environ.update({name: str(value) for name, value in said.items()})
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _assist(
    ready: Connection, rank: int, count: int, port: int, threads: int, sent: _Sent, time_limit_s: float | None
) -> None:
    """In another process: its share of the run. What is wrong here is left for the leader to say."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C reaches all: the leader tells the others
    torch.set_num_threads(threads)
    try:
        with _standing(rank, count, port):
            ready.send_bytes(b"ready")
            with joined_workers(), _telling(ready):
                train_supernet(sent.run(), time_limit_s=time_limit_s)
    except (NasEdgeError, KeyboardInterrupt):
        sys.exit(1)


@contextmanager
def _telling(leader: Connection) -> Iterator[None]:
    """Let the leading process know what goes wrong here, before it notices that this one is gone."""
    try:
        yield
    except NasEdgeError as error:
        if not isinstance(error, ProcessLost):
            with suppress(OSError):
                leader.send_bytes(str(error).encode())
        raise
