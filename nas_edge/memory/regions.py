"""RAM in several regions (tightly coupled, AXI ...): which of them can hold a network's arena.

An arena lies in one region: a tensor that spans two of them would not be contiguous. The stack and all other variables
lie in the region that firmware runs from.
"""

from __future__ import annotations

from collections.abc import Mapping

MAIN = "sram"
"""The region of stack and variables."""

_FLASH = "flash"


def regions_for(arena_bytes: int, other_bytes: int, regions: Mapping[str, int]) -> tuple[str, ...]:
    """Names of the regions that an arena fits into, in the order they are given in.

    Args:
        arena_bytes: of the arena.
        other_bytes: of stack and variables, which the main region must hold besides.
        regions: sizes in bytes by name; "flash" is none of them.

    """
    return tuple(
        name
        for name, size in regions.items()
        if name != _FLASH and arena_bytes + (other_bytes if name == MAIN else 0) <= size
    )
