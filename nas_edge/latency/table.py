"""`LatencyTable`: measured (or published) block latencies of one target, runtime and precision."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from typing import Any

from nas_edge.errors import TableError
from nas_edge.origin import Origin, OriginKind
from nas_edge.spaces import BlockSpec, Padding, Precision

MILLISECONDS, INSTRUCTIONS, CYCLES = UNITS = ("ms", "instructions", "cycles")


class Role(StrEnum):
    """What a measured network is for: a hold-out network never touches a fit."""

    CALIBRATION = "calibration"
    HOLDOUT = "holdout"


@dataclass(frozen=True, slots=True)
class BlockEntry:
    """One row of `blocks.csv`.

    Attributes:
        ms: the table's statistic of the block's latency, milliseconds.
        p90_ms: 90th percentile, None where the source gives none.
        spread: interquartile range of the visits' medians relative to the median, None where unknown.
        count: number of timed runs, 0 where the source does not say.
        energy_mj: millijoules a run, None where not measured.
        origin: how this figure came to be; the header says where and when.

    """

    ms: float
    p90_ms: float | None = None
    spread: float | None = None
    count: int = 0
    energy_mj: float | None = None
    origin: OriginKind = OriginKind.MEASURED

    def __post_init__(self) -> None:
        _check_figures(ms=self.ms, p90_ms=self.p90_ms, spread=self.spread, energy_mj=self.energy_mj)


@dataclass(frozen=True)
class NetworkEntry:
    """One row of `networks.csv`: a whole network measured in the same sitting as the blocks.

    Attributes:
        name: unique within the table.
        space, num_classes, arch: the network; `arch` as in JSON.
        role: calibration or holdout.
        ms: the table's statistic, milliseconds.
        upper95_ms: upper 95 % limit of that estimate, None where unknown.
        p90_ms, spread, count: as of a block.

    """

    name: str
    space: str
    num_classes: int
    arch: Mapping[str, Any]
    role: Role
    ms: float
    upper95_ms: float | None = None
    p90_ms: float | None = None
    spread: float | None = None
    count: int = 0

    def __post_init__(self) -> None:
        _check_figures(ms=self.ms, upper95_ms=self.upper95_ms, p90_ms=self.p90_ms, spread=self.spread)


NOT_STATED = "not stated"
"""Name of a `Source` where the person who imported figures did not say whose they are."""


@dataclass(frozen=True)
class Source:
    """Where figures that somebody else measured come from.

    Attributes:
        name, url, revision: of the publication or repository.
        licence: as stated there; "none stated" where there is none.
        what: which figures it gave.

    """

    name: str
    url: str = ""
    revision: str = ""
    licence: str = ""
    what: str = ""


@dataclass(frozen=True)
class TableHeader:
    """`table.yaml`: under which conditions the figures hold.

    Attributes:
        target: name of the target: the directory under `latency_tables/`.
        runtime, runtime_version: what ran the blocks.
        precision, threads, batch: of the runs.
        regime: "hot" or "cold". statistic: "median", "p95" ...: of every `ms`.
        unit: of every `ms`: "ms"; "instructions" counted in an emulator; "cycles" modelled from these.
        origin: of the table as a whole; `origin.machine` is the device's slug or fingerprint.
        protocol, device, state: the measuring protocol, the device's fingerprint and its state, as plain data.
        reference_quiet_ms: quiet value of the reference kernel in that sitting; what is measured on the same machine
            later is brought to it. None where there was no such kernel.
        reference_kernel: identity of that kernel, version included: values of another one are not compared.
        space: name, classes and resolutions that were measured, as plain data.
        figures: what `check` found: errors on the hold-out networks.
        prior: what stands in for blocks that the table lacks and cannot be modelled from its rows: see `prior.py`.
        sittings: how far two sittings on this device differ, as `drift.sitting_drift` makes it: `log_error` (standard
            deviation of the logarithm of one network's time in another sitting, beyond what networks of one sitting
            differ by themselves), `beyond`, `rms`, `networks`, `sittings`, `pairs`.
        transfer: of a table carried over from another device, what the carrying did to the interval: `optimism` (by how
            much the logarithms of left-out ratios come out too small).
        assumed: what is assumed of sums of blocks: `log_error`, the standard deviation of the logarithm of a network's
            figure, and `source`, what that was found from. For tables without whole networks.
        sources, notes: of figures that somebody else measured, and what a user should know.

    """

    target: str
    runtime: str
    runtime_version: str = ""
    precision: Precision = Precision.FP32
    threads: int = 1
    batch: int = 1
    regime: str = "hot"
    statistic: str = "median"
    unit: str = MILLISECONDS
    origin: Origin = field(default_factory=lambda: Origin(OriginKind.MEASURED))
    protocol: Mapping[str, Any] = field(default_factory=dict)
    device: Mapping[str, Any] = field(default_factory=dict)
    state: Mapping[str, Any] = field(default_factory=dict)
    reference_quiet_ms: float | None = None
    reference_kernel: str = ""
    space: Mapping[str, Any] = field(default_factory=dict)
    figures: Mapping[str, Any] = field(default_factory=dict)
    sittings: Mapping[str, Any] = field(default_factory=dict)
    prior: Mapping[str, Any] = field(default_factory=dict)
    transfer: Mapping[str, Any] = field(default_factory=dict)
    assumed: Mapping[str, Any] = field(default_factory=dict)
    sources: tuple[Source, ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_figures(reference_quiet_ms=self.reference_quiet_ms)
        if self.unit not in UNITS:
            raise TableError(f"unit {self.unit!r} is not known; a table's figures are {', '.join(UNITS)}")

    @property
    def directory_name(self) -> str:
        """Name of the table's directory below its target: see `directory_name`; cycles lie beside instructions."""
        usual = directory_name(self.runtime, self.precision.value, self.threads, self.regime)
        return f"{usual}-{self.unit}" if self.unit == CYCLES else usual

    def quiet_reference_ms(self, machine: str, kernel: str) -> float | None:
        """Quiet value of the reference kernel for a later sitting: None on another machine, or under another kernel."""
        same = bool(machine and kernel) and self.origin.machine == machine and self.reference_kernel == kernel
        return self.reference_quiet_ms if same else None

    def describe(self) -> str:
        """One phrase: target, runtime, precision, threads, regime."""
        version = f" {self.runtime_version}" if self.runtime_version else ""
        threads = f"{self.threads} thread" + ("s" if self.threads != 1 else "")
        return (
            f"{self.target}: {self.runtime}{version}, {self.precision.value}, {threads}, {self.regime} {self.statistic}"
        )


@dataclass(frozen=True)
class LatencyTable:
    """Blocks and whole networks of one target, runtime and precision.

    Attributes:
        header: the conditions.
        blocks: entry of each block.
        networks: whole networks, in the order of the file.

    Raises:
        TableError: a network's name occurs twice.

    """

    header: TableHeader
    blocks: Mapping[BlockSpec, BlockEntry]
    networks: tuple[NetworkEntry, ...] = ()

    def __post_init__(self) -> None:
        names = [network.name for network in self.networks]
        if len(set(names)) != len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise TableError(f"{self.header.describe()}: network {twice!r} occurs twice")

    @cached_property
    def _canonical(self) -> dict[BlockSpec, BlockEntry]:
        return {canonical(block): entry for block, entry in self.blocks.items()}

    def find(self, block: BlockSpec) -> BlockEntry | None:
        """The entry of a block, or of one that computes exactly the same; None where the table has neither."""
        entry = self.blocks.get(block)
        return entry if entry is not None else self._canonical.get(canonical(block))

    def calibration_networks(self) -> tuple[NetworkEntry, ...]:
        """Whole networks that a fit may use."""
        return tuple(n for n in self.networks if n.role is Role.CALIBRATION)

    def holdout_networks(self) -> tuple[NetworkEntry, ...]:
        """Whole networks that only an error may be computed from."""
        return tuple(n for n in self.networks if n.role is Role.HOLDOUT)

    def with_figures(self, figures: Mapping[str, Any]) -> LatencyTable:
        """The same table with other figures in its header."""
        return replace(self, header=replace(self.header, figures=dict(figures)))

    def with_networks(self, networks: Iterable[NetworkEntry]) -> LatencyTable:
        """The same table with more networks. Raises TableError for a name that is taken."""
        return replace(self, networks=(*self.networks, *networks))


def directory_name(runtime: str, precision: str, threads: int = 1, regime: str = "hot") -> str:
    """ "onnxruntime-fp32"; "-t4" and "-cold" are appended where threads and regime are not the usual ones."""
    threaded = f"-t{threads}" if threads != 1 else ""
    return f"{runtime}-{precision}{threaded}" + (f"-{regime}" if regime != "hot" else "")


def canonical(block: BlockSpec) -> BlockSpec:
    """The same computation under one name: at stride 1 an odd kernel pads equally under both conventions."""
    if block.stride == 1 and block.padding is not Padding.SYMMETRIC:
        return replace(block, padding=Padding.SYMMETRIC)
    return block


def _check_figures(**figures: float | None) -> None:
    for name, value in figures.items():
        if value is not None and not (math.isfinite(value) and (value > 0 or (value == 0 and name == "spread"))):
            raise TableError(f"{name} = {value} is not a positive, finite figure")
