"""Milliseconds that nobody measured: counted cycles of a plain pipeline, times what published figures say of the core.

`ms = k * cycles / clock`. The cycles are counted instructions weighted as a Cortex-M4 without wait states takes them
(`emulator.counts`); k holds all else: wait states, caches, two instructions at once, and the stack that ran. It is the
median over figures that others published for the same networks on the same core; how far these lie apart is the
interval, for where among the stacks the project's own kernels would lie on silicon nobody has measured.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from statistics import median

from nas_edge.errors import FormatError

PUBLISHED = Path(__file__).parent / "published.csv"
"""Milliseconds of MLPerf Tiny (Apache-2.0) and ST's model zoo; each row names its repository and commit."""
COUNTS = Path(__file__).parent / "counts.csv"
"""The same networks, counted in the emulator: `pytest -m benchmark tests/benchmarks/test_mcu_milliseconds.py`."""

COVERED = 0.9
"""Share of the published figures that the interval at confidence 0.9 holds."""
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
        factor: k, the median of the published ones; 1 where nothing is published.
        log_error: half the interval at confidence 0.9, as a standard deviation of log k.
        stacks: who was published, sorted.
        figures: how many figures these are.

    """

    core: str
    factor: float
    log_error: float
    stacks: tuple[str, ...]
    figures: int

    def ms(self, cycles: float, clock_hz: float) -> float:
        """The point, ms."""
        return self.factor * cycles / clock_hz * 1e3

    def bounds(self, cycles: float, clock_hz: float) -> tuple[float, float]:
        """The interval at confidence 0.9 on either side, ms."""
        point, width = self.ms(cycles, clock_hz), math.exp(_QUANTILE_90 * self.log_error)
        return point / width, point * width

    def describe(self) -> str:
        """What it rests on, in words."""
        if not self.figures:
            return f"nothing is published of {self.core}: plain cycles, a factor of 1.9 either way assumed"
        families = sorted({stack.split()[0] for stack in self.stacks})
        return f"spread of {self.figures} published figures on {self.core}: {', '.join(families)}"


def core_timing(core: str, figures: Iterable[Published] | None = None) -> CoreTiming:
    """The timing of a core from published figures, by default all of `published`.

    Raises:
        FormatError: the files of this installation are damaged.

    """
    mine = [one for one in (published() if figures is None else figures) if one.core == core]
    if not mine:
        return CoreTiming(core, 1.0, UNPUBLISHED_LOG_ERROR, (), 0)
    factor = median(one.factor for one in mine)
    away = sorted(abs(math.log(one.factor / factor)) for one in mine)
    log_error = away[min(len(away) - 1, math.ceil(COVERED * len(away)) - 1)] / _QUANTILE_90
    return CoreTiming(core, factor, log_error, tuple(sorted({one.stack for one in mine})), len(mine))


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
