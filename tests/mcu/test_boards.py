"""Boards are data: every file is whole, and mistakes in one are told."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from nas_edge.errors import ConfigError, UnknownNameError
from nas_edge.mcu.boards import board_names, load_board, read_board

EMULATED = ("stm32f405", "mps2-an386", "mps2-an500", "mps2-an505", "mps3-an547")


@pytest.mark.parametrize("name", board_names())
def test_a_board_says_all_that_firmware_and_planner_need(name: str) -> None:
    board = load_board(name)
    assert board.flash.kind == "flash"
    assert board.sram.kind == "ram"
    assert board.sram.size_bytes >= 64 * 1024
    assert board.clock_hz >= 16_000_000
    stand_in = load_board(board.counted_on)
    assert stand_in.core == board.core
    assert stand_in.emulated is not None
    assert load_board(board.blocks_on).core == board.core
    assert load_board(board.blocks_on).sram.size_bytes >= stand_in.sram.size_bytes


@pytest.mark.parametrize("name", board_names())
def test_regions_do_not_overlap(name: str) -> None:
    regions = sorted(load_board(name).regions.values(), key=lambda region: region.origin)
    for before, after in itertools.pairwise(regions):
        assert before.origin + before.size_bytes <= after.origin


@pytest.mark.parametrize("name", EMULATED)
def test_the_five_boards_that_run_in_the_emulator_do(name: str) -> None:
    board = load_board(name)
    assert board.emulated is not None
    assert board.uart is not None
    assert board.counted_on == name


def test_an_unknown_board_is_told_with_near_names() -> None:
    with pytest.raises(UnknownNameError, match="stm32f405"):
        load_board("stm32f404")


BOARD = """format: 1
description: a board
core: cortex-m4
clock_mhz: 100
regions:
  flash: {kind: flash, origin: 0x0, size: 1MB}
  sram: {kind: ram, origin: 0x20000000, size: 64KB}
counted_on: stm32f405
"""


def test_a_file_of_ones_own_is_read(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(BOARD)
    board = read_board(tmp_path / "mine.yaml")
    assert (board.name, board.sram.size_bytes, board.clock_hz) == ("mine", 65536, 100_000_000)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("core: cortex-m4\n", "core: cortex-m4\nspeed: 3\n", r"mine\.yaml:4: unknown key 'speed'"),
        ("  flash: {kind: flash, origin: 0x0, size: 1MB}\n", "", "flash missing"),
        ("size: 64KB", "size: lots", "'lots' is not a quantity"),
        ("kind: ram", "kind: rom", "is flash or ram, not 'rom'"),
        ("core: cortex-m4", "core: cortex-m5", "unknown core"),
        ("format: 1", "format: 2", "format: 1 is expected"),
        ("clock_mhz: 100\n", "", "'clock_mhz' is missing"),
    ],
)
def test_a_mistake_in_a_file_is_told(tmp_path: Path, old: str, new: str, told: str) -> None:
    (tmp_path / "mine.yaml").write_text(BOARD.replace(old, new))
    with pytest.raises((ConfigError, UnknownNameError), match=told):
        read_board(tmp_path / "mine.yaml")
