"""Workers on this machine: this process, or several."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

from nas_edge.errors import NasEdgeError
from nas_edge.spreading.base import Result, Results, Task, Work

_LOOK_EVERY_S = 0.5  # for an interrupt, while tasks are under way
_DEATHS = 3  # of workers, one after another without a result between them


class Opened:
    """The work that a worker has open: it stays so until the worker ends, or another is opened in its place.

    Attributes:
        key: which work.
    """

    def __init__(self) -> None:
        self.key = ""
        self._context = ExitStack()
        self._ask: Callable[[Any], Any] | None = None

    def enter(self, work: Work[Any, Any], key: str = "") -> None:
        """Open a work, and close the one before."""
        self._context.close()
        self.key, self._ask = key, self._context.enter_context(work.opened())

    def ask(self, task: Any) -> Any:
        """A task's result."""
        assert self._ask is not None
        return self._ask(task)


_opened = Opened()  # one a process: only workers use it


@dataclass(frozen=True)
class Failed:
    """A mistake that a task ran into, on its way to the caller: exceptions of one's own do not all survive it."""

    kind: type[NasEdgeError]
    text: str

    def error(self) -> NasEdgeError:
        """The mistake, to be raised."""
        error = self.kind.__new__(self.kind, self.text)
        error.args = (self.text,)
        return error


def outcome(ask: Callable[[Any], Any], task: Any) -> Any:
    """A task's result, or `Failed`."""
    try:
        return ask(task)
    except NasEdgeError as error:
        return Failed(type(error), str(error))


@dataclass(frozen=True)
class InProcess:
    """One task after another, here."""

    def run(self, work: Work[Task, Result], tasks: Sequence[Task]) -> Results[Result]:
        """See `Executor`."""
        if not tasks:
            return
        with work.opened() as ask:
            for number, task in enumerate(tasks):
                yield number, ask(task)


@dataclass(frozen=True)
class Processes:
    """Several processes, started afresh (not forked: libraries that have threads do not survive that).

    A worker that dies (out of memory, killed) is replaced and its task repeated. Where workers die one after another
    and nothing gets done, the rest is done in this process: slowly is better than not at all.

    Attributes:
        workers: how many.
    """

    workers: int

    def run(self, work: Work[Task, Result], tasks: Sequence[Task]) -> Results[Result]:
        """See `Executor`."""
        left, deaths = dict(enumerate(tasks)), 0
        while left and deaths < _DEATHS:
            before = len(left)
            try:
                with closing(self._until_one_dies(work, left)) as results:
                    yield from results
            except BrokenProcessPool:
                deaths = deaths + 1 if len(left) == before else 1
        numbers = list(left)
        with closing(InProcess().run(work, list(left.values()))) as results:
            for position, result in results:
                yield numbers[position], result

    def _until_one_dies(self, work: Work[Task, Result], left: dict[int, Task]) -> Results[Result]:
        """Results as they come, taken off `left`. Raises BrokenProcessPool where a worker dies."""
        pool = ProcessPoolExecutor(
            min(self.workers, len(left)), multiprocessing.get_context("spawn"), initializer=_begin, initargs=(work,)
        )
        try:
            with _without_interrupts(), _interrupts_later():
                futures: dict[Future[Any], int] = {pool.submit(_do, task): number for number, task in left.items()}
            waiting = set(futures)
            while waiting:
                with _interrupts_later():
                    done, waiting = wait(waiting, _LOOK_EVERY_S, FIRST_COMPLETED)
                    results = {futures[future]: future.result() for future in done}
                for number, result in results.items():
                    if isinstance(result, Failed):
                        raise result.error()
                    del left[number]
                    yield number, result
        finally:
            with _interrupts_later():
                pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Ctrl-C reaches all processes of a terminal: those that are started in here do not hear it, we do afterwards."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _interrupts_later() -> Iterator[None]:
    """Ctrl-C is heard at the end of this: between taking a lock and using it, it would leave the lock taken for good,
    and the pool's own thread waits for the locks of the futures.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heard: list[tuple[int, FrameType | None]] = []
    before = signal.getsignal(signal.SIGINT)
    if not callable(before):  # ignored, or the system's own: nothing to put off
        yield
        return
    signal.signal(signal.SIGINT, lambda number, frame: heard.append((number, frame)))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if heard:
            before(*heard[0])


def _begin(work: Work[Any, Any]) -> None:
    """In a new worker: open the work; end when the process that started it is gone, however it went."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    _opened.enter(work)


def _end_with(parent: Any) -> None:
    parent.join()
    os._exit(1)


def _do(task: Any) -> Any:
    return outcome(_opened.ask, task)
