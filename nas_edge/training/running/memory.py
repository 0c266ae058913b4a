"""Keep freed memory: large tensors that come and go would otherwise be mapped and zeroed by the kernel every time."""

from __future__ import annotations

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4  # malloc.h of the GNU C library


def keep_freed_memory() -> bool:
    """Tell the GNU C library's allocator not to give memory back; a training step takes two thirds of the time
    (`tests/benchmarks/test_training_step.py`).

    Returns:
        Whether it was told; False on other systems, where nothing changes.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:
        return False
    settings = [(_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, 2**31 - 1), (_M_TOP_PAD, 2**28)]
    return all(mallopt(option, value) == 1 for option, value in settings)
