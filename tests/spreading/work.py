"""Works that workers can import: they count, stumble and die."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from nas_edge.errors import DataError


@dataclass(frozen=True)
class Squares:
    """The square of a task, and which process found it.

    Attributes:
        marks: directory in which workers leave marks.
        deadly: tasks whose first worker is killed at them.
        always: whether every worker is.
        wrong: tasks that are a user's mistake.
        seconds: each takes.
    """

    marks: Path
    deadly: tuple[int, ...] = ()
    always: bool = False
    wrong: tuple[int, ...] = ()
    seconds: float = 0.0

    @contextmanager
    def opened(self) -> Iterator[Callable[[int], tuple[int, int]]]:
        """See `Work`."""
        (self.marks / f"opened-{os.getpid()}").touch()
        try:
            yield self.square
        finally:
            (self.marks / f"closed-{os.getpid()}").touch()

    def elsewhere(self) -> Squares:
        """See `Work`."""
        return self

    def square(self, task: int) -> tuple[int, int]:
        """Of a task."""
        parent = int((self.marks / "parent").read_text())
        if task in self.deadly and os.getpid() != parent:
            mark = self.marks / f"died-at-{task}"
            if self.always or not mark.exists():
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)
        if task in self.wrong:
            raise DataError(f"picture {task}: is damaged")
        time.sleep(self.seconds)
        return task * task, os.getpid()


def marked(directory: Path) -> Path:
    """A directory for `Squares.marks`, with this process's number in it."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "parent").write_text(str(os.getpid()))
    return directory
