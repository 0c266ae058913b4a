"""Milliseconds that nobody measured: counted cycles of a plain pipeline at the core's pace; what others published.

The point is `ms = factor * cycles / clock`. The cycles are counted instructions weighted as a Cortex-M4 without wait
states takes them (`emulator.counts`); the factor is what the core gains on a Cortex-M4 and loses to flash (`FACTORS`).
It is assumed, not fitted: published times are of other people's kernels, and a fit to them would undo every instruction
that our own save. Published figures of the same networks on the same core are the interval instead: how far stacks lie
apart. Where among them the project's own kernels would lie on silicon nobody has measured.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

from nas_edge.errors import FormatError

PUBLISHED = Path(__file__).parent / "published.csv"
"""Milliseconds of MLPerf Tiny (Apache-2.0) and ST's model zoo; each row names its repository and commit."""
COUNTS = Path(__file__).parent / "counts.csv"
"""The same networks, counted in the emulator: `pytest -m benchmark tests/benchmarks/test_mcu_milliseconds.py`."""

FLASH = 1.10
"""Assumed: weights come from flash, whose accelerators and caches hide most wait states and not all."""
COREMARKS: Mapping[str, float] = MappingProxyType(
    {"cortex-m4": 3.42, "cortex-m7": 5.01, "cortex-m33": 4.02, "cortex-m55": 4.4}
)
"""A megahertz, as Arm states: what a core's pipeline makes of the same instructions."""
FACTORS: Mapping[str, float] = MappingProxyType({core: FLASH * 3.42 / coremark for core, coremark in COREMARKS.items()})
"""Time over that of the plain cycles."""
INTERVAL = (0.05, 0.95)
"""Quantiles of the published figures that the interval ends at."""
UNPUBLISHED_LOG_ERROR = 0.5
"""Assumed of cores of which nothing is published: a factor of 1.9 at confidence 0.9."""
_QUANTILE_90 = 1.2816


@dataclass(frozen=True)
class Published:
    """A figure that somebody else measured.

    Attributes:
        core, board, stack, network: what ran where; a name of `networks.NETWORKS`.
        clock_hz, ms: as published.
        source: repository and commit.
        factor: `ms` over what the plain cycles of our own code for the network would take at that clock.

    """

    core: str
    board: str
    stack: str
    network: str
    clock_hz: float
    ms: float
    source: str
    factor: float


@dataclass(frozen=True)
class CoreTiming:
    """How plain cycles become milliseconds on a core.

    Attributes:
        core: its name.
        factor: of the point, see `FACTORS`.
        low, high: factors of the interval's ends: published ones lie between.
        log_error: of log(time / point), a standard deviation under which nine of ten published figures lie below the
            bound of confidence 0.9.
        stacks: who was published, sorted.
        figures: how many figures these are.

    """

    core: str
    factor: float
    low: float
    high: float
    log_error: float
    stacks: tuple[str, ...]
    figures: int

    def ms(self, cycles: float, clock_hz: float) -> float:
        """The point, ms."""
        return self.factor * cycles / clock_hz * 1e3

    def bounds(self, cycles: float, clock_hz: float) -> tuple[float, float]:
        """The interval's ends, ms."""
        plain_ms = cycles / clock_hz * 1e3
        return self.low * plain_ms, self.high * plain_ms

    def describe(self) -> str:
        """What it rests on, in words."""
        if not self.figures:
            return f"nothing is published of {self.core}: a factor of 1.9 either way assumed"
        families = sorted({stack.split()[0] for stack in self.stacks})
        return f"spread of {self.figures} published figures on {self.core}: {', '.join(families)}"


def core_timing(core: str, figures: Iterable[Published] | None = None) -> CoreTiming:
    """The timing of a core with the interval of published figures, by default all of `published`.

    Raises:
        FormatError: the files of this installation are damaged.

    """
    mine = [one for one in (published() if figures is None else figures) if one.core == core]
    factor = FACTORS[core]
    if not mine:
        width = math.exp(_QUANTILE_90 * UNPUBLISHED_LOG_ERROR)
        return CoreTiming(core, factor, factor / width, factor * width, UNPUBLISHED_LOG_ERROR, (), 0)
    low, high = (_quantile(mine, share) for share in INTERVAL)
    log_error = max(0.0, math.log(_quantile(mine, 0.9) / factor)) / _QUANTILE_90
    stacks = tuple(sorted({one.stack for one in mine}))
    return CoreTiming(core, factor, min(low, factor), max(high, factor), log_error, stacks, len(mine))


def _quantile(figures: Sequence[Published], share: float) -> float:
    """The factor that at least such a share lies at or below; for small shares, that lies at or below so few."""
    ordered = sorted(one.factor for one in figures)
    if share < 0.5:
        return ordered[min(len(ordered) - 1, math.floor(share * len(ordered)))]
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


@lru_cache(maxsize=1)
def published() -> tuple[Published, ...]:
    """Every published figure, with its factor. Raises FormatError."""
    cycles = {(row["core"], row["network"]): float(row["cycles"]) for row in _rows(COUNTS)}
    found = []
    for row in _rows(PUBLISHED):
        try:
            clock_hz, ms = float(row["clock_mhz"]) * 1e6, float(row["ms"])
            factor = ms / 1e3 * clock_hz / cycles[row["core"], row["network"]]
        except (KeyError, ValueError) as error:
            raise FormatError(f"{PUBLISHED}: a row does not fit ({error}); install nas-edge again") from error
        found.append(
            Published(row["core"], row["board"], row["stack"], row["network"], clock_hz, ms, row["source"], factor)
        )
    return tuple(found)


def _rows(path: Path) -> Sequence[dict[str, str]]:
    try:
        with open(path, encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error.strerror}); install nas-edge again") from error
