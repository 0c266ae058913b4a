"""What is measured in a sitting, and the loaded models of it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from types import TracebackType

from nas_edge.errors import MeasurementError
from nas_edge.runtimes import Runtime, Session


@dataclass(frozen=True)
class WorkItem:
    """Something to measure: a name that is unique in its sitting, and an ONNX model."""

    name: str
    model: bytes

    @cached_property
    def sha256(self) -> str:
        """Of the model."""
        return hashlib.sha256(self.model).hexdigest()


class SessionPool:
    """Sessions of the items, loaded when first visited. A context manager.

    Args:
        items: what will be asked for.
        runtime, precision, threads: see `Runtime.prepare`.
        resident_bytes: models (the smallest first) up to this sum stay loaded, others are loaded for each visit.

    """

    def __init__(
        self, items: Sequence[WorkItem], runtime: Runtime, precision: str, threads: int, resident_bytes: int
    ) -> None:
        self._runtime, self._precision, self._threads = runtime, precision, threads
        self._resident: set[str] = set()
        self._open: dict[str, Session] = {}
        used = 0
        for item in sorted(items, key=lambda item: len(item.model)):
            used += len(item.model)
            if used > resident_bytes:
                break
            self._resident.add(item.name)

    def session(self, item: WorkItem) -> Session:
        """A session that is ready to run. Raises MeasurementError naming the item if the model does not load."""
        if item.name not in self._open:
            try:
                self._open[item.name] = self._runtime.prepare(item.model, self._precision, self._threads)
            except MeasurementError as error:
                raise MeasurementError(f"{item.name}: {error}") from error
        return self._open[item.name]

    def release(self, item: WorkItem) -> None:
        """The visit is over: close what is not to stay."""
        if item.name not in self._resident and item.name in self._open:
            self._open.pop(item.name).close()

    def reload(self) -> None:
        """Close everything, so that it is loaded anew and lies elsewhere in memory.

        All at once, between rounds: a model that stays while others are closed is slowed down, by some per cent and at
        times by a fifth (`tests/benchmarks/test_reference.py`): its scratch buffers then lie in the gaps.
        """
        for session in self._open.values():
            session.close()
        self._open.clear()

    def __enter__(self) -> SessionPool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.reload()
