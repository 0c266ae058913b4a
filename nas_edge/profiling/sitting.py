"""One sitting: visits in shuffled rounds until every item is finished, and the judgement which visits were quiet."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from nas_edge.errors import MeasurementError
from nas_edge.profiling.journal import Journal, RawVisit
from nas_edge.profiling.measurement import Interference, Visit
from nas_edge.profiling.pool import SessionPool, WorkItem
from nas_edge.profiling.protocol import Protocol, Regime
from nas_edge.profiling.reference import WINDOW, local_quiet_values, quiet_value
from nas_edge.profiling.statistics import relative_half_width
from nas_edge.progress import Progress
from nas_edge.runtimes import Session
from nas_edge.runtimes.visits import VisitPlan, VisitRecord

_MIN_CPU_SHARE = 0.95
_REPORT_S = 0.5
_LEAST_EVICTED_BYTES = 64 * 2**20
_LEAST_VISITS = 2
_JUMPS = 3  # of the clock during the visits of one item, one after the other: then it is no accident
_ENOUGH_READINGS = 20  # until the sitting's own quiet value can be trusted
_SHORTEST_WAIT_S, _LONGEST_WAIT_S = 0.02, 1.0


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
        self._had_core: list[bool] = []
        self._places: dict[str, list[int]] = {item.name: [] for item in items}  # of visits among all readings
        self._waits, self._waited_s, self._jumps = 0, 0.0, 0
        self._jumps_of: dict[str, int] = {}
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
        quiet_ms, quiet = self.quiet_ms, self._quiet()
        return tuple(
            Visit(v.round, v.samples_ms, v.reference_ms / quiet_ms, v.cpu_share, bool(quiet[place]))
            for v, place in zip(self._visits[item.name], self._places[item.name], strict=True)
        )

    def interference(self) -> Interference:
        """What was noticed of other programs."""
        quiet_ms = self.quiet_ms
        return Interference(
            visits=len(self._readings),
            disturbed=int((~self._quiet()).sum()),
            waits=self._waits,
            waited_s=round(self._waited_s, 3),
            clock_jumps=self._jumps,
            slowest=round(max(self._readings, default=quiet_ms) / quiet_ms, 4),
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
            if number and number % self._protocol.reload_every == 0:
                pool.reload()
            order = [verdict.unfinished[i] for i in rng.permutation(len(verdict.unfinished))]
            self._round(order, verdict, pool, progress, begun)
            self._journal.sync()
            number += 1
        total = len(self._items) * self._protocol.rounds
        progress(total, total, f"{len(self._items)} measured, {verdict.quiet_share:.0%} of the visits quiet")

    def _late(self, begun: float, items: Sequence[WorkItem]) -> bool:
        """Whether time is up and every item was visited twice, as often as an interval needs, where it is to be."""
        limit = self._protocol.time_limit_s
        if limit is None or time.monotonic() - begun <= limit:
            return False
        return all(len(self._visits[item.name]) >= min(_LEAST_VISITS, self._protocol.min_rounds) for item in items)

    def _round(
        self, order: Sequence[WorkItem], verdict: _Verdict, pool: SessionPool, progress: Progress, begun: float
    ) -> None:
        reported = -math.inf
        total = len(self._items) * self._protocol.rounds
        before = self._reference()
        for number, item in enumerate(order):
            if self._late(begun, [item]):
                continue
            before = self._settled(before, begun)
            try:
                visit, before = self._visit(item, pool.session(item), before)
            except _ClockJumpError as error:
                before = self._jumped(item, error)
                continue
            finally:
                pool.release(item)
            self._jumps_of.pop(item.name, None)
            self._keep(visit)
            self._journal.append(visit)
            if time.monotonic() - reported > _REPORT_S:
                reported = time.monotonic()
                done = min(verdict.done + number * (verdict.quiet_share or 1.0), total)
                progress(done, total, f"round {visit.round + 1}, {verdict.quiet_share:.0%} of the visits quiet so far")

    def _settled(self, reading_ms: float, begun: float) -> float:
        """Wait while the machine is slower than a moment ago, as long as patience lasts; the latest reading."""
        if len(self._readings) < _ENOUGH_READINGS:
            return reading_ms
        limit_ms = (1 + self._protocol.quiet_tolerance) * quiet_value(self._readings[-WINDOW:])
        pause = _SHORTEST_WAIT_S
        while reading_ms > limit_ms:
            patience_s = self._protocol.patience * (time.monotonic() - begun) - self._waited_s
            if patience_s < pause:
                break
            time.sleep(pause)
            self._waits, self._waited_s = self._waits + 1, self._waited_s + pause
            pause = min(2 * pause, _LONGEST_WAIT_S)
            reading_ms = self._reference()
        return reading_ms

    def _jumped(self, item: WorkItem, error: _ClockJumpError) -> float:
        """Count a visit that was thrown away; a fresh reading. Raises MeasurementError when that repeats."""
        self._jumps += 1
        self._jumps_of[item.name] = self._jumps_of.get(item.name, 0) + 1
        if self._jumps_of[item.name] >= _JUMPS:
            raise MeasurementError(str(error)) from error
        return self._reference()

    def _visit(self, item: WorkItem, session: Session, before_ms: float) -> tuple[RawVisit, float]:
        """One visit, and the reference reading after it."""
        protocol = self._protocol
        visit = getattr(session, "visit", None)  # on another machine: see VisitingSession
        if visit is not None:
            record: VisitRecord = visit(self._plan)
            _check_samples(item.name, np.array(record.samples_ms), record.wall_ms)
            return self._raw(
                item, session, record.samples_ms, (record.before_ms + record.after_ms) / 2, record.cpu_share
            ), record.after_ms
        repeats = self._warm_up(session)
        wall, cpu = time.perf_counter_ns(), time.thread_time_ns()
        if self._evict:
            samples = np.concatenate([self._run_cold(session) for _ in range(protocol.repeats)])
        else:
            samples = session.time(repeats)
        cpu_ns, wall_ns = time.thread_time_ns() - cpu, time.perf_counter_ns() - wall
        after_ms = self._reference()
        _check_samples(item.name, samples, wall_ns / 1e6)
        share = min(1.0, cpu_ns / max(wall_ns, 1)) if self._watch_cpu else 1.0
        return self._raw(item, session, samples, (before_ms + after_ms) / 2, share), after_ms

    def _raw(
        self, item: WorkItem, session: Session, samples: Iterable[float], reference_ms: float, cpu_share: float
    ) -> RawVisit:
        shape = next(iter(session.inputs.values()), (1,))
        return RawVisit(
            name=item.name,
            sha256=item.sha256,
            batch=shape[0] if shape else 1,
            round=len(self._visits[item.name]),
            samples_ms=tuple(float(s) for s in samples),
            reference_ms=reference_ms,
            cpu_share=cpu_share,
            date=datetime.now(UTC).isoformat(timespec="seconds"),
        )

    @property
    def _plan(self) -> VisitPlan:
        p = self._protocol
        evict_bytes = self._evict.size_bytes if self._evict else 0
        return VisitPlan(p.warmups, p.warmup_ms, p.max_warmups, p.repeats, p.max_repeats, p.visit_ms, evict_bytes)

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
        self._places[visit.name].append(len(self._readings))
        self._readings.append(visit.reference_ms)
        self._had_core.append(visit.cpu_share >= _MIN_CPU_SHARE)

    def _quiet(self) -> NDArray[np.bool_]:
        """Which visits were, in order of time: bool [n]."""
        readings, protocol = np.asarray(self._readings, np.float64), self._protocol
        if not len(readings):
            return np.zeros(0, bool)
        steady = np.abs(readings / local_quiet_values(self._readings) - 1) <= protocol.quiet_tolerance
        near = np.abs(readings / self.quiet_ms - 1) <= protocol.drift_tolerance
        quiet: NDArray[np.bool_] = steady & near & np.array(self._had_core, bool)
        return quiet

    def _verdict(self) -> _Verdict:
        """What the visits so far amount to, against the quiet value as it is known by now."""
        protocol, judged = self._protocol, self._quiet()
        unfinished, done = [], 0
        for item in self._items:
            visits = self._visits[item.name]
            rows = zip(visits, self._values[item.name], self._places[item.name], strict=True)
            quiet = [value / visit.reference_ms for visit, value, place in rows if judged[place]]
            enough = len(quiet) >= protocol.rounds or len(visits) >= protocol.max_rounds
            if not enough and len(quiet) >= protocol.min_rounds:
                enough = relative_half_width(quiet) <= protocol.tolerance
            done += protocol.rounds if enough else len(quiet)
            if not enough:
                unfinished.append(item)
        return _Verdict(tuple(unfinished), done, float(judged.mean()) if len(judged) else 0.0)


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
        self.size_bytes = max(2 * cache_bytes, _LEAST_EVICTED_BYTES)
        self._buffer = np.zeros(self.size_bytes, np.uint8)

    def __call__(self) -> None:
        self._buffer += 1


class _ClockJumpError(Exception):
    """Times that cannot be: the visit is thrown away and repeated."""


def _check_samples(name: str, samples: NDArray[np.float64], passed_ms: float) -> None:
    if not samples.size or not np.isfinite(samples).all() or samples.min() <= 0:
        raise _ClockJumpError(f"{name}: run times must be finite and positive, not {samples[:3]}; did the clock jump?")
    if samples.sum() > passed_ms * 1.01 + 0.01:
        raise _ClockJumpError(
            f"{name}: run times add up to {samples.sum():.3f} ms, {passed_ms:.3f} ms have passed; did the clock jump?"
        )
