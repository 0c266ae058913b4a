"""Latency tables of microcontrollers: cycles that were counted once, in milliseconds of one chip. All is modelled."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from nas_edge import resources
from nas_edge.latency import LatencyTable, TableHeader, read_table
from nas_edge.latency.table import MILLISECONDS, BlockEntry
from nas_edge.latency.table_io import HEADER_FILE
from nas_edge.origin import Origin, OriginKind

if TYPE_CHECKING:
    from nas_edge.mcu.boards import Board
    from nas_edge.pipeline.devices.targets import Target

CYCLES_SUFFIX = "-cycles"
"""Of the table that lies beside one of instructions."""


def in_milliseconds(table: LatencyTable, board: Board) -> LatencyTable:
    """A table of cycles as one of modelled milliseconds at a chip's greatest clock.

    Whole networks are left out: nobody measured their milliseconds, and the interval is that of published stacks.

    Args:
        table: of cycles, of any chip with the same core.
        board: the chip.

    """
    from nas_edge.mcu.timing import core_timing

    timing = core_timing(board.core.name)
    source = f"counted instructions as cycles at {board.clock_hz / 1e6:g} MHz; {timing.describe()}"
    header = replace(
        table.header,
        target=board.name,
        unit=MILLISECONDS,
        statistic="median",
        origin=Origin(OriginKind.MODELLED, source=source),
        assumed={"log_error": timing.log_error, "source": timing.describe()},
        sittings={},
        figures={},
    )
    blocks = {
        block: BlockEntry(timing.ms(entry.ms, board.clock_hz), origin=OriginKind.MODELLED)
        for block, entry in table.blocks.items()
    }
    return LatencyTable(header, blocks)


def modelled_table(target: Target) -> tuple[LatencyTable, Path] | None:
    """The latency table of a microcontroller, and where its cycles come from; None where nothing was counted.

    Raises:
        FormatError, ConfigError, TableError: the table that was found is damaged.

    """
    from nas_edge.pipeline.devices.microcontrollers import board_of

    for path in _paths(target, CYCLES_SUFFIX):
        return in_milliseconds(read_table(path), board_of(target)), path
    return None


def instruction_table(target: Target) -> tuple[LatencyTable, Path] | None:
    """What a microcontroller's blocks take in instructions, and where that was read; None where nothing was counted.

    Raises:
        FormatError, ConfigError, TableError: the table that was found is damaged.

    """
    for path in _paths(target, ""):
        return read_table(path), path
    return None


def kernels_digest() -> str:
    """Of the kernels' sources: counts hold for these alone."""
    from nas_edge.mcu.codegen.library import kernel_files

    text = "".join(f"{name}\n{source}" for name, source in sorted(kernel_files().items()))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def outdated(header: TableHeader) -> tuple[str, ...]:
    """What a user should be told where the kernels are no longer those that a table was counted with."""
    if header.protocol.get("kernels") in (None, kernels_digest()):
        return ()
    counted = header.device.get("board", header.target)
    return (f"the kernels have changed since the table was counted: nas-edge table measure --target {counted}",)


def _paths(target: Target, suffix: str) -> Iterator[Path]:
    from nas_edge.pipeline.tables.finding import TABLES

    name = target.table or f"{target.name}/{target.runtime}-{target.precision}"
    yield from (path for path in resources.candidates(f"{TABLES}/{name}{suffix}") if (path / HEADER_FILE).is_file())
