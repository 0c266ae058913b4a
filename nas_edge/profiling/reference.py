"""The reference kernel: fixed work, timed around every visit, that shows when the machine was disturbed.

On shared machines the clock follows what the neighbours do, by several per cent within seconds. The kernel has two
parts that feel it as networks do: arithmetic on what the first cache level holds, and passes over what the second one
holds. A pass over the last level would feel the neighbours' traffic as well, but it also feels, by a tenth, which
blocks were measured just before; readings could then not be compared from one sitting to the next. It needs numpy
alone, so its quiet value does not change with the runtime that is measured.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

_SMALL = 4096  # float32: 16 KB
_LARGE = 64 * 1024  # float32: 256 KB read, 256 KB written
_ARITHMETIC_LOOPS = 48
_READINGS = 5
_PASSES = 4
_FORGOTTEN = 2  # readings until the caches hold the arrays again, whatever ran before
QUIET_QUANTILE = 0.2


class ReferenceKernel:
    """Callable: one reading in ms, about three quarters of it arithmetic."""

    def __init__(self) -> None:
        self._small = np.linspace(0.5, 1.5, _SMALL, dtype=np.float32)
        self._small_out = np.empty_like(self._small)
        self._large = np.ones(_LARGE, np.float32)
        self._large_out = np.empty_like(self._large)
        for _ in range(20):
            self()

    def __call__(self) -> float:
        """Median of a few short runs of each part, summed: single interruptions do not count, lasting ones do."""
        memory = float(np.median([self._memory_ns() for _ in range(_FORGOTTEN + _READINGS)][_FORGOTTEN:]))
        arithmetic = float(np.median([self._arithmetic_ns() for _ in range(_READINGS)]))
        return (memory + arithmetic) / 1e6

    def _arithmetic_ns(self) -> int:
        small, out = self._small, self._small_out
        start = time.perf_counter_ns()
        for _ in range(_ARITHMETIC_LOOPS):
            np.sqrt(small, out)
            np.multiply(small, out, out)
            np.add(small, out, out)
        return time.perf_counter_ns() - start

    def _memory_ns(self) -> int:
        start = time.perf_counter_ns()
        for _ in range(_PASSES):
            np.add(self._large, 1.0, self._large_out)
        return time.perf_counter_ns() - start


def quiet_value(readings_ms: Sequence[float]) -> float:
    """What the kernel takes when nothing disturbs: a low quantile of all readings of a sitting, ms."""
    return float(np.quantile(np.asarray(readings_ms, np.float64), QUIET_QUANTILE))
