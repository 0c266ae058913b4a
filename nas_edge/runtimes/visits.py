"""Visits as data, for runtimes on other machines: there a visit is made as a whole, with nothing on the way in between.

A network that crossed a wireless line between warming up and being timed would have cooled down again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from numpy.typing import NDArray

from nas_edge.runtimes.base import Session


@dataclass(frozen=True)
class VisitPlan:
    """What a visit is to be; the attributes are those of `profiling.Protocol`.

    Attributes:
        evict_bytes: written before every timed run to empty the caches; 0 for the hot regime.

    """

    warmups: int
    warmup_ms: float
    max_warmups: int
    repeats: int
    max_repeats: int
    visit_ms: float
    evict_bytes: int = 0


@dataclass(frozen=True)
class VisitRecord:
    """What a visit was.

    Attributes:
        samples_ms: wall time of each timed run, in order.
        wall_ms: what passed meanwhile.
        cpu_share: share of it in which the process had its core.
        before_ms, after_ms: readings of the reference kernel.

    """

    samples_ms: tuple[float, ...]
    wall_ms: float
    cpu_share: float
    before_ms: float
    after_ms: float


class VisitingSession(Session, Protocol):
    """A session on another machine."""

    def visit(self, plan: VisitPlan) -> VisitRecord:
        """Reference kernel, warm-up, timed runs, reference kernel, there. Raises MeasurementError, DeviceError."""

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Outputs by name; slow, for inputs and outputs travel."""


@runtime_checkable
class RemoteRuntime(Protocol):
    """A `Runtime` on another machine; its sessions are `VisitingSession`s."""

    def reference_identity(self) -> str:
        """Of the reference kernel there."""

    def reading(self) -> float:
        """A reading of it, ms."""

    def isolated(self, threads: int) -> AbstractContextManager[tuple[int, ...]]:
        """Have the process there pinned to its quietest cores, which are yielded, without garbage collection."""


class SeparateVisits:
    """What a `RemoteRuntime` says whose visits are processes of their own, with no reference kernel beside them."""

    def reference_identity(self) -> str:
        """There is none."""
        return ""

    def reading(self) -> float:
        """Always 1."""
        return 1.0

    @contextmanager
    def isolated(self, threads: int) -> Iterator[tuple[int, ...]]:
        """Nothing to do."""
        yield ()
