"""`Measurement`: every sample of one artefact on one device, and the figures that follow from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np

from nas_edge.devices import DeviceFingerprint, DeviceState
from nas_edge.errors import FormatError
from nas_edge.origin import Origin, OriginKind
from nas_edge.profiling.protocol import Protocol, Regime, Statistic
from nas_edge.profiling.statistics import quantile_ms, upper_limit_ms

FORMAT = 2
MIN_QUIET = 3
"""Fewer quiet visits than this do not make an estimate: the least disturbed visits stand in, and it is said."""

_RESIDUE = 0.2
"""Error of bringing a disturbed visit to the quiet state, as a share of the way: what neighbours do to caches slows
networks down by up to a fifth more than the reference kernel. With the clock alone both go in proportion."""


@dataclass(frozen=True)
class Visit:
    """Back-to-back runs of one artefact.

    Attributes:
        round: in which round, from 0.
        samples_ms: wall time of each timed run, in order.
        reference_ratio: the reference kernel around the visit against its quiet value: how much slower the machine was.
        cpu_share: share of the visit's wall time in which the process had its core; 1 is undisturbed.
        quiet: whether the process had its core, and the kernel took as long as in the seconds around the visit.

    """

    round: int
    samples_ms: tuple[float, ...]
    reference_ratio: float
    cpu_share: float
    quiet: bool

    @property
    def disturbance(self) -> float:
        """How far from undisturbed, 0 is not at all."""
        return max(abs(self.reference_ratio - 1), 1 - self.cpu_share)

    @property
    def quiet_samples_ms(self) -> tuple[float, ...]:
        """The samples brought to the speed that the machine has when the reference kernel takes its quiet value."""
        return tuple(sample / self.reference_ratio for sample in self.samples_ms)


@dataclass(frozen=True)
class Interference:
    """What a sitting noticed of other programs, over all its items.

    Attributes:
        visits: all of them. disturbed: those that were not quiet, and were repeated where time allowed.
        waits: how often a disturbance was waited for to pass, and waited_s: for how long, together.
        clock_jumps: visits thrown away because their times could not be.
        slowest: greatest reference ratio; 1.1 is a machine slowed down by a tenth.

    """

    visits: int = 0
    disturbed: int = 0
    waits: int = 0
    waited_s: float = 0.0
    clock_jumps: int = 0
    slowest: float = 1.0

    def describe(self) -> str:
        """One phrase for a person."""
        jumps = f", the clock jumped {self.clock_jumps} times" if self.clock_jumps else ""
        return (
            f"{self.disturbed} of {self.visits} visits disturbed (slowed down by up to "
            f"{100 * max(self.slowest - 1, 0):.0f} %), waited {self.waits} times, {self.waited_s:.1f} s{jumps}"
        )


@dataclass(frozen=True)
class Measurement:
    """All samples of one artefact, and where, how and when they were taken.

    Attributes:
        name: of the work item.
        artefact_sha256: of the file that was timed.
        visits: in order of time.
        runtime, runtime_version, precision, threads, batch: what ran it.
        protocol: how it was measured.
        device: on what.
        state: the device's, at the beginning.
        reference_quiet_ms: quiet value of the reference kernel: of that sitting, or as it was given.
        date: UTC, ISO format, of the last visit.
        reference_kernel: identity of the reference kernel, "" for none.
        cores: that the process was pinned to.
        interference: of the whole sitting.

    """

    name: str
    artefact_sha256: str
    visits: tuple[Visit, ...]
    runtime: str
    runtime_version: str
    precision: str
    threads: int
    batch: int
    protocol: Protocol
    device: DeviceFingerprint
    state: DeviceState
    reference_quiet_ms: float
    date: str
    reference_kernel: str = ""
    cores: tuple[int, ...] = ()
    interference: Interference = Interference()

    @property
    def regime(self) -> Regime:
        """Hot or cold."""
        return self.protocol.regime

    @cached_property
    def used_visits(self) -> tuple[Visit, ...]:
        """What estimates rest on: the quiet visits, or the `MIN_QUIET` least disturbed ones where too few are quiet."""
        quiet = tuple(visit for visit in self.visits if visit.quiet)
        if len(quiet) >= min(MIN_QUIET, self.protocol.min_rounds):
            return quiet
        calmest = sorted(self.visits, key=lambda visit: visit.disturbance)[:MIN_QUIET]
        return tuple(sorted(calmest, key=lambda visit: visit.round))

    @property
    def disturbed(self) -> bool:
        """Whether estimates rest on visits that were not quiet."""
        return not all(visit.quiet for visit in self.used_visits)

    @property
    def quiet_share(self) -> float:
        """Share of all visits that were quiet."""
        return sum(visit.quiet for visit in self.visits) / len(self.visits)

    @property
    def count(self) -> int:
        """Runs that estimates rest on."""
        return sum(len(visit.samples_ms) for visit in self.used_visits)

    def estimate_ms(self, statistic: Statistic | str = Statistic.MEDIAN) -> float:
        """The estimator of tables, verification and profile alike: a quantile over the runs of the used visits, each
        brought to the quiet value of the reference kernel.
        """
        return quantile_ms([v.quiet_samples_ms for v in self.used_visits], Statistic(statistic).quantile)

    def upper_ms(self, statistic: Statistic | str = Statistic.MEDIAN) -> float:
        """One-sided 95 % upper confidence limit of `estimate_ms`; infinite for a single visit.

        Wider where no quiet visits could be had: what was brought a long way is less certain.
        """
        limit = upper_limit_ms([v.quiet_samples_ms for v in self.used_visits], Statistic(statistic).quantile)
        if not self.disturbed:
            return limit
        return limit * (1 + _RESIDUE * float(np.median([abs(v.reference_ratio - 1) for v in self.used_visits])))

    @cached_property
    def median_ms(self) -> float:
        """Median run time."""
        return self.estimate_ms(Statistic.MEDIAN)

    @cached_property
    def p90_ms(self) -> float:
        """Run time that nine of ten runs stay below."""
        return self.estimate_ms(Statistic.P90)

    @cached_property
    def p95_ms(self) -> float:
        """95 % quantile."""
        return self.estimate_ms(Statistic.P95)

    @cached_property
    def p99_ms(self) -> float:
        """99 % quantile; needs hundreds of runs to mean something."""
        return self.estimate_ms(Statistic.P99)

    @cached_property
    def upper95_ms(self) -> float:
        """`upper_ms` of the protocol's own statistic: what a budget is held against."""
        return self.upper_ms(self.protocol.statistic)

    @cached_property
    def spread(self) -> float:
        """Interquartile range of the used visits' medians, relative to the median: how well visits agree."""
        medians = [float(np.median(visit.quiet_samples_ms)) for visit in self.used_visits]
        low, high = np.quantile(medians, [0.25, 0.75])
        return float(high - low) / self.median_ms

    @property
    def origin(self) -> Origin:
        """Where the figures come from."""
        kind = OriginKind.MEASURED_EMULATED if self.device.emulator else OriginKind.MEASURED
        return Origin(kind, self.device.machine, self.date[:10])

    def to_json(self) -> dict[str, Any]:
        """As plain data, every sample included; `from_json` gives back an equal value."""
        data = {key: getattr(self, key) for key in _PLAIN}
        return {
            "format": FORMAT,
            **data,
            "protocol": self.protocol.to_json(),
            "device": self.device.to_json(),
            "state": self.state.to_json(),
            "cores": list(self.cores),
            "interference": asdict(self.interference),
            "visits": [{**asdict(visit), "samples_ms": list(visit.samples_ms)} for visit in self.visits],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any], where: str = "measurement") -> Measurement:
        """The inverse of `to_json`, of older formats too.

        Raises:
            FormatError: a newer format, missing or unknown keys, no visits.

        """
        if data.get("format") not in range(1, FORMAT + 1):
            raise FormatError(
                f"{where}: format {data.get('format')!r} is not {FORMAT}; a newer one needs a newer nas-edge"
            )
        try:
            visits = tuple(
                Visit(**{**visit, "samples_ms": tuple(float(s) for s in visit["samples_ms"])})
                for visit in data["visits"]
            )
            if not visits or not all(visit.samples_ms for visit in visits):
                raise ValueError("no samples")
            structured = {"format", "protocol", "device", "state", "visits", "cores", "interference"}
            unknown = set(data) - {*_PLAIN, *structured}
            if unknown:
                raise ValueError(f"unknown keys {', '.join(sorted(unknown))}")
            return cls(
                **{key: data[key] for key in _PLAIN if key in data or key not in _SINCE_2},
                protocol=Protocol.from_json(data["protocol"]),
                device=DeviceFingerprint.from_json(data["device"]),
                state=DeviceState.from_json(data["state"]),
                visits=visits,
                cores=tuple(int(core) for core in data.get("cores", ())),
                interference=Interference(**data.get("interference", {})),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise FormatError(f"{where}: does not describe a measurement ({error!r})") from error


_PLAIN = (
    "name", "artefact_sha256", "runtime", "runtime_version", "precision", "threads", "batch", "reference_quiet_ms",
    "date", "reference_kernel",
)  # fmt: skip
_SINCE_2 = ("reference_kernel",)
