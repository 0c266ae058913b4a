"""Boards and cores as data."""

from nas_edge.mcu.boards.board import Board, Emulated, Region, Timer, Uart, board_names, load_board, read_board
from nas_edge.mcu.boards.cores import Core, core, core_names

__all__ = [
    "Board",
    "Core",
    "Emulated",
    "Region",
    "Timer",
    "Uart",
    "board_names",
    "core",
    "core_names",
    "load_board",
    "read_board",
]
