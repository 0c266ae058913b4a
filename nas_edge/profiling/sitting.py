"""One sitting: visits in shuffled rounds until every item is finished, and the judgement which visits were quiet."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from nas_edge.errors import MeasurementError
from nas_edge.profiling.journal import Journal, RawVisit
from nas_edge.profiling.measurement import Visit
from nas_edge.profiling.protocol import Protocol, Regime
from nas_edge.profiling.reference import quiet_value
from nas_edge.profiling.statistics import relative_half_width
from nas_edge.progress import Progress
from nas_edge.runtimes import Runtime, Session

_MIN_CPU_SHARE = 0.95
_REPORT_S = 0.5
_LEAST_EVICTED_BYTES = 64 * 2**20


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
        if item.name not in self._resident:
            self._open.pop(item.name).close()

    def __enter__(self) -> SessionPool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for session in self._open.values():
            session.close()
        self._open.clear()


class Sitting:
    """The visits of all items and what follows from them.

    Args:
        items, protocol, journal: as in `measure_many`; visits that the journal holds count.
        reference: a reading of the reference kernel, ms.
        quiet_ms: its quiet value, or None to take it from the sitting's own readings.
        watch_cpu: whether the thread's own CPU time tells how much of a visit it had its core.
        cache_bytes: what must be overwritten before a cold run.

    """

    def __init__(
        self,
        items: Sequence[WorkItem],
        protocol: Protocol,
        journal: Journal,
        reference: Callable[[], float],
        quiet_ms: float | None,
        *,
        watch_cpu: bool,
        cache_bytes: int = 0,
    ) -> None:
        self._items, self._protocol, self._journal, self._reference = items, protocol, journal, reference
        self._known_quiet_ms, self._watch_cpu = quiet_ms, watch_cpu
        wanted = {(item.name, item.sha256) for item in items}
        self._visits: dict[str, list[RawVisit]] = {item.name: [] for item in items}
        self._values: dict[str, list[float]] = {item.name: [] for item in items}
        self._readings: list[float] = []
        self._evict = _Evictor(cache_bytes) if protocol.regime is Regime.COLD else None
        for visit in journal.visits:
            if (visit.name, visit.sha256) in wanted:
                self._keep(visit)

    @property
    def quiet_ms(self) -> float:
        """Quiet value of the reference kernel."""
        return self._known_quiet_ms or quiet_value(self._readings)

    def last(self, item: WorkItem) -> RawVisit:
        """The item's latest visit."""
        return self._visits[item.name][-1]

    def judged(self, item: WorkItem) -> tuple[Visit, ...]:
        """The item's visits, each with the verdict whether it was quiet."""
        quiet_ms = self.quiet_ms
        return tuple(
            Visit(v.round, v.samples_ms, v.reference_ms / quiet_ms, v.cpu_share, self._is_quiet(v, quiet_ms))
            for v in self._visits[item.name]
        )

    def measure(self, pool: SessionPool, progress: Progress) -> None:
        """Visit until every item is finished, `max_rounds` are done or time is up. Raises as `measure_many`."""
        rng = np.random.default_rng(self._protocol.seed)
        begun = time.monotonic()
        pause = self._protocol.min_span_s / max(self._protocol.rounds - 1, 1)
        number = 0
        while True:
            verdict = self._verdict()
            if not verdict.unfinished or self._late(begun, verdict.unfinished):
                break
            if 0 < number < self._protocol.rounds:
                time.sleep(max(0.0, min(pause, begun + number * pause - time.monotonic())))
            order = [verdict.unfinished[i] for i in rng.permutation(len(verdict.unfinished))]
            self._round(order, verdict, pool, progress, begun)
            self._journal.sync()
            number += 1
        total = len(self._items) * self._protocol.rounds
        progress(total, total, f"{len(self._items)} measured, {verdict.quiet_share:.0%} of the visits quiet")

    def _late(self, begun: float, items: Sequence[WorkItem]) -> bool:
        """Whether time is up and none of the items was never visited."""
        limit = self._protocol.time_limit_s
        if limit is None or time.monotonic() - begun <= limit:
            return False
        return all(self._visits[item.name] for item in items)

    def _round(
        self, order: Sequence[WorkItem], verdict: _Verdict, pool: SessionPool, progress: Progress, begun: float
    ) -> None:
        reported = -math.inf
        total = len(self._items) * self._protocol.rounds
        before = self._reference()
        for number, item in enumerate(order):
            if self._late(begun, [item]):
                continue
            visit, before = self._visit(item, pool.session(item), before)
            pool.release(item)
            self._keep(visit)
            self._journal.append(visit)
            if time.monotonic() - reported > _REPORT_S:
                reported = time.monotonic()
                done = min(verdict.done + number * (verdict.quiet_share or 1.0), total)
                progress(done, total, f"round {visit.round + 1}, {verdict.quiet_share:.0%} of the visits quiet so far")

    def _visit(self, item: WorkItem, session: Session, before_ms: float) -> tuple[RawVisit, float]:
        """One visit, and the reference reading after it."""
        protocol = self._protocol
        repeats = self._warm_up(session)
        wall, cpu = time.perf_counter_ns(), time.thread_time_ns()
        if self._evict:
            samples = np.concatenate([self._run_cold(session) for _ in range(protocol.repeats)])
        else:
            samples = session.time(repeats)
        cpu_ns, wall_ns = time.thread_time_ns() - cpu, time.perf_counter_ns() - wall
        after_ms = self._reference()
        _check_samples(item.name, samples, wall_ns / 1e6)
        shape = next(iter(session.inputs.values()), (1,))
        return RawVisit(
            name=item.name,
            sha256=item.sha256,
            batch=shape[0] if shape else 1,
            round=len(self._visits[item.name]),
            samples_ms=tuple(float(s) for s in samples),
            reference_ms=(before_ms + after_ms) / 2,
            cpu_share=min(1.0, cpu_ns / max(wall_ns, 1)) if self._watch_cpu else 1.0,
            date=datetime.now(UTC).isoformat(timespec="seconds"),
        ), after_ms

    def _warm_up(self, session: Session) -> int:
        """Run until hot; how often to time the item."""
        protocol = self._protocol
        spent, runs, one = 0.0, 0, 0.0
        while runs < protocol.warmups or (runs < protocol.max_warmups and spent < protocol.warmup_ms):
            one = float(session.time(1)[0])
            spent, runs = spent + one, runs + 1
        wanted = math.ceil(protocol.visit_ms / one) if one > 0 else protocol.repeats
        return min(max(wanted, protocol.repeats), protocol.max_repeats)

    def _run_cold(self, session: Session) -> NDArray[np.float64]:
        assert self._evict is not None
        self._evict()
        return session.time(1)

    def _keep(self, visit: RawVisit) -> None:
        self._visits[visit.name].append(visit)
        self._values[visit.name].append(float(np.quantile(visit.samples_ms, self._protocol.statistic.quantile)))
        self._readings.append(visit.reference_ms)

    def _is_quiet(self, visit: RawVisit, quiet_ms: float) -> bool:
        off = abs(visit.reference_ms / quiet_ms - 1)
        return off <= self._protocol.quiet_tolerance and visit.cpu_share >= _MIN_CPU_SHARE

    def _verdict(self) -> _Verdict:
        """What the visits so far amount to, against the quiet value as it is known by now."""
        protocol = self._protocol
        quiet_ms = self.quiet_ms if self._readings else 1.0
        unfinished, done, quiet_visits = [], 0, 0
        for item in self._items:
            visits = self._visits[item.name]
            pairs = zip(visits, self._values[item.name], strict=True)
            quiet = [value for visit, value in pairs if self._is_quiet(visit, quiet_ms)]
            quiet_visits += len(quiet)
            enough = len(quiet) >= protocol.rounds or len(visits) >= protocol.max_rounds
            if not enough and len(quiet) >= protocol.min_rounds:
                enough = relative_half_width(quiet) <= protocol.tolerance
            done += protocol.rounds if enough else len(quiet)
            if not enough:
                unfinished.append(item)
        return _Verdict(tuple(unfinished), done, quiet_visits / max(len(self._readings), 1))


@dataclass(frozen=True)
class _Verdict:
    """Where a sitting stands between two rounds.

    Attributes:
        unfinished: items that need more visits.
        done: quiet visits so far; a finished item counts as `rounds`.
        quiet_share: of all visits.

    """

    unfinished: tuple[WorkItem, ...]
    done: int
    quiet_share: float


class _Evictor:
    """Empties the caches by writing twice what they hold."""

    def __init__(self, cache_bytes: int) -> None:
        self._buffer = np.zeros(max(2 * cache_bytes, _LEAST_EVICTED_BYTES), np.uint8)

    def __call__(self) -> None:
        self._buffer += 1


def _check_samples(name: str, samples: NDArray[np.float64], passed_ms: float) -> None:
    if not samples.size or not np.isfinite(samples).all() or samples.min() <= 0:
        raise MeasurementError(f"{name}: run times must be finite and positive, not {samples[:3]}; did the clock jump?")
    if samples.sum() > passed_ms * 1.01 + 0.01:
        raise MeasurementError(
            f"{name}: run times add up to {samples.sum():.3f} ms, {passed_ms:.3f} ms have passed; did the clock jump?"
        )
