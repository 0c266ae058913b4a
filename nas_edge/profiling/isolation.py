"""What keeps a measuring process undisturbed: a core of its own choice, and no garbage collection. All is restored."""

from __future__ import annotations

import contextlib
import gc
import os
import time
from collections.abc import Iterator
from pathlib import Path

from nas_edge.errors import MeasurementError

_STAT = Path("/proc/stat")
_LOOK_S = 0.2


def quietest_cores(count: int) -> tuple[int, ...]:
    """The `count` least busy usable cores; of equal ones the last, for the first serve interrupts.

    Raises:
        MeasurementError: more cores are asked for than there are.

    """
    usable = os.sched_getaffinity(0)
    if count > len(usable):
        raise MeasurementError(f"{count} threads need {count} cores, this process may use {len(usable)}; ask for fewer")
    before = _busy_ticks()
    if before:
        time.sleep(_LOOK_S)
    after = _busy_ticks()
    ranked = sorted(usable, key=lambda core: (after.get(core, 0) - before.get(core, 0), -core))
    return tuple(sorted(ranked[:count]))


@contextlib.contextmanager
def isolated(threads: int) -> Iterator[tuple[int, ...]]:
    """Pin this thread, and all that it starts, to the quietest cores, with garbage collection off; yields the cores.

    Where the system cannot pin (macOS), only the garbage collection is switched off and no cores are yielded.
    """
    can_pin = hasattr(os, "sched_setaffinity")
    allowed = os.sched_getaffinity(0) if can_pin else set()
    cores = quietest_cores(threads) if can_pin else ()
    collecting = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        if cores:
            os.sched_setaffinity(0, cores)
        yield cores
    finally:
        if allowed:
            os.sched_setaffinity(0, allowed)
        if collecting:
            gc.enable()


def _busy_ticks() -> dict[int, int]:
    """Ticks that each core was not idle; empty where the system does not tell."""
    try:
        lines = _STAT.read_text(encoding="ascii").splitlines()
    except OSError:
        return {}
    ticks = {}
    for line in lines:
        name, *values = line.split()
        if name.startswith("cpu") and name != "cpu":
            numbers = [int(v) for v in values]
            ticks[int(name[3:])] = sum(numbers) - numbers[3] - (numbers[4] if len(numbers) > 4 else 0)
    return ticks
