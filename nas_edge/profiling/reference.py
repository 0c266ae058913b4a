"""The reference kernel: fixed work, timed around every visit, that tells how fast the machine is at this moment.

On shared machines the clock follows what the neighbours do, by several per cent within seconds and by more than ten
from one sitting to the next. Networks follow it in proportion (`tests/benchmarks/test_reference.py` prints how
closely), so what is measured is brought to the kernel's quiet value. A visit around which the kernel took longer than
in the seconds about it was disturbed, and is repeated.

That takes a kernel that means the same in every process: passes over writable arrays of numpy vary by a tenth with
where the system puts them, hashing and passes that only read do not (same benchmark). Two thirds of the time are
arithmetic within the first cache level, one third reads twice what the second one holds. It needs no runtime, so its
value does not change with the one that is measured.
"""

from __future__ import annotations

import hashlib
import platform
import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

NAME = "sha256 and 2 MB"
VERSION = 2
"""Counted up with every change of what is timed: values of different versions are not compared."""

QUIET_QUANTILE = 0.2
WINDOW = 301
"""Readings that a reading is compared with: some seconds of a table's sitting, all of a short one."""

_HASHED = bytes(16 * 1024)
_HASHES = 8
_READ_BYTES = 2 * 2**20
_PAGE = 4096
_READINGS = 5
_PASSES = 3
_FORGOTTEN = 1  # passes until the caches hold the array again, whatever ran before


def reference_identity() -> str:
    """What a reading is of: kernel, version, and the software that it is made of."""
    return f"{NAME}, version {VERSION}, Python {platform.python_version()}, numpy {np.__version__}"


class ReferenceKernel:
    """Callable: one reading in ms, of about half a millisecond's work."""

    identity = reference_identity()

    def __init__(self) -> None:
        self._array = _page_aligned(_READ_BYTES)
        for _ in range(20):
            self()

    def __call__(self) -> float:
        """Median of a few short runs of each part, summed: single interruptions do not count, lasting ones do."""
        reading = float(np.median([self._read_ns() for _ in range(_FORGOTTEN + _PASSES)][_FORGOTTEN:]))
        return (reading + float(np.median([self._hash_ns() for _ in range(_READINGS)]))) / 1e6

    def _hash_ns(self) -> int:
        start = time.perf_counter_ns()
        for _ in range(_HASHES):
            hashlib.sha256(_HASHED).digest()
        return time.perf_counter_ns() - start

    def _read_ns(self) -> int:
        start = time.perf_counter_ns()
        np.bitwise_or.reduce(self._array)
        return time.perf_counter_ns() - start


def quiet_value(readings_ms: Sequence[float]) -> float:
    """What the kernel takes when nothing disturbs: a low quantile of all readings of a sitting, ms."""
    return float(np.quantile(np.asarray(readings_ms, np.float64), QUIET_QUANTILE))


def local_quiet_values(readings_ms: Sequence[float]) -> NDArray[np.float64]:
    """For each reading, in order of time, the low quantile of those around it: float64 [n], ms."""
    readings = np.asarray(readings_ms, np.float64)
    if len(readings) <= WINDOW:
        return np.full(len(readings), quiet_value(readings_ms) if len(readings) else 0.0)
    half = WINDOW // 2
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(readings, half, mode="reflect"), WINDOW)
    rank = round(QUIET_QUANTILE * (WINDOW - 1))
    values: NDArray[np.float64] = np.partition(windows, rank, axis=1)[:, rank]
    return values


def _page_aligned(size: int) -> NDArray[np.int64]:
    """Ones (pages of zeros would be one and the same), int64 [size / 8]."""
    raw = np.ones(size + _PAGE, np.uint8)
    start = -raw.ctypes.data % _PAGE
    return raw[start : start + size].view(np.int64)
