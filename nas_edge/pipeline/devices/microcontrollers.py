"""What a search and an export must know of a target that is a microcontroller: its board, and what memory it has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from nas_edge.memory.firmware import FirmwareSize, firmware_size
from nas_edge.pipeline.devices.targets import Target

if TYPE_CHECKING:
    from nas_edge.mcu.boards import Board

LIMITED = ("sram", "flash")


def board_of(target: Target) -> Board:
    """The board of a target. Raises UnknownNameError where none is called so."""
    from nas_edge.mcu.boards import load_board

    return load_board(target.board or target.name)


def firmware_of(target: Target) -> FirmwareSize | None:
    """What firmware takes there beside the network; None where networks run by other means."""
    return firmware_size(board_of(target).core.name) if target.microcontroller else None


def memory_limits(target: Target) -> Mapping[str, int]:
    """Bytes of SRAM and flash that a network may take on a microcontroller; empty for other targets.

    Those under `limits:` in its file, else all of the region of that name, else what its board has.
    """
    if not target.microcontroller:
        return {}
    board = board_of(target)
    chip = {"sram": board.sram.size_bytes, "flash": board.flash.size_bytes}
    return {name: target.limits.get(name, target.memory.get(name, chip[name])) for name in LIMITED}
