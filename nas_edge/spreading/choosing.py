"""From what was asked for to an executor."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

from nas_edge.spreading.base import Executor, Result, Results, Spread, Task, Work
from nas_edge.spreading.processes import InProcess, Processes

_WORTH_S = 20.0  # of work left, beyond which starting processes (a few seconds each) pays


def open_executor(spread: Spread, cores: int) -> Executor:
    """The executor that was asked for.

    Args:
        spread: what was asked for.
        cores: that this process may use.
    """
    if spread.cluster:
        from nas_edge.spreading.ray_cluster import RayCluster

        return RayCluster(spread.cluster)
    if spread.workers is None:
        return Growing(cores)
    return InProcess() if spread.workers == 1 else Processes(spread.workers)


@dataclass(frozen=True)
class Growing:
    """Begins in this process, and goes on in several where what is left would take a while.

    Attributes:
        cores: most processes.
        worth_s: seconds of work left that make it worth while.
    """

    cores: int
    worth_s: float = _WORTH_S

    def run(self, work: Work[Task, Result], tasks: Sequence[Task]) -> Results[Result]:
        """See `Executor`."""
        done, before = 0, time.monotonic()
        with closing(InProcess().run(work, tasks)) as results:
            for number, result in results:
                done += 1
                now = time.monotonic()
                # The first task also opens the work and reads what all share: it says nothing of the next.
                left_s = (now - before) * (len(tasks) - done) if done > 1 else 0.0
                yield number, result
                before = time.monotonic()
                if self.cores > 1 and left_s > self.worth_s:
                    break
        if done == len(tasks):
            return
        with closing(Processes(self.cores).run(work, tasks[done:])) as results:
            for number, result in results:
                yield done + number, result
