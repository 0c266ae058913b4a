"""What is spread, and over what: `Work`, `Executor`, `Spread`."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, TypeAlias, TypeVar

from nas_edge.errors import ConfigError

_CLUSTER = re.compile(r"ray(://[^\s/]+)?")

Task = TypeVar("Task")
Result = TypeVar("Result")
Task_contra = TypeVar("Task_contra", contravariant=True)
Result_co = TypeVar("Result_co", covariant=True)
Results: TypeAlias = Generator[tuple[int, Result], None, None]


class Work(Protocol[Task_contra, Result_co]):
    """What all tasks share: a value that can be sent to another process.

    Life of a work: sent to each worker once, opened there once (weights loaded, images read), asked for one task after
    another. A task's result must depend on the work and the task alone: not on the worker, nor on what it did before.
    """

    def opened(self) -> AbstractContextManager[Callable[[Task_contra], Result_co]]:
        """Make ready in this process; what is changed of the process (its threads, say) is put back at the end."""

    def elsewhere(self) -> Work[Task_contra, Result_co]:
        """The same for machines that have none of our files: what it reads from them is sent along."""


class Executor(Protocol):
    """Does the tasks of a work.

    Life of a call: the results come as they are finished, in any order, each once; what the caller does with one (keep
    it in a file, say) is done when the next is asked for. Closing the generator early (Ctrl-C) ends the workers.
    """

    def run(self, work: Work[Task, Result], tasks: Sequence[Task]) -> Results[Result]:
        """(number of the task, its result) of every task.

        Raises:
            Whatever a task raises, in the worker that it ran in. WorkerError: the tasks cannot be done there.
        """


@dataclass(frozen=True)
class Spread:
    """Over what tasks are to be spread.

    Attributes:
        workers: processes of this machine; 1 for this process alone; None for all cores once that pays.
        cluster: "ray" for the Ray cluster at hand (`$RAY_ADDRESS`, or one of this machine's cores), "ray://HOST:PORT"
            for one elsewhere, "ray://auto" for that of the node we are on; "" for none.
    """

    workers: int | None = None
    cluster: str = ""

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise ConfigError(f"--workers must be 1 or more, not {self.workers}")
        if self.cluster and self.workers is not None:
            raise ConfigError("--workers is of this machine: a cluster has as many workers as it has cores")
        if self.cluster and not _CLUSTER.fullmatch(self.cluster):
            raise ConfigError(f"cluster {self.cluster!r}: write ray, ray://auto or ray://HOST:PORT")
