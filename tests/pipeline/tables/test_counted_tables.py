"""Tables of microcontrollers: counted in the emulator, the same each time; those that are shipped fit the kernels."""

from __future__ import annotations

from pathlib import Path

import pytest

from nas_edge.errors import DeviceError, TableError
from nas_edge.latency import read_table
from nas_edge.latency.table import TableHeader
from nas_edge.mcu.boards import board_names, load_board
from nas_edge.mcu.emulator import Method, best_method
from nas_edge.pipeline.tables.commands import measure_command
from nas_edge.pipeline.tables.counting import CYCLE_TABLE, INSTRUCTION_TABLE, count_table
from nas_edge.pipeline.tables.modelled import in_milliseconds, outdated
from nas_edge.spaces import Padding, SearchSpace, Stage, Stem, Tail, Template
from tests.conftest import ROOT
from tests.emulated import needs_emulator

SHIPPED = sorted({load_board(name).counted_on for name in board_names()} - {"mps2-an386"})


@pytest.fixture(scope="module")
def space() -> SearchSpace:
    return SearchSpace(
        Template(
            name="tiny-mcu",
            stem=Stem(8),
            first=Stage(8, 1),
            stages=(Stage(8, 2, (1, 2), (3, 5), (3, 4)),),
            tail=Tail(16),
            resolutions=(16,),
            padding=Padding.SAME,
        )
    )


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_table_was_counted_with_the_kernels_as_they_are(name: str) -> None:
    table = read_table(ROOT / "latency_tables" / name / INSTRUCTION_TABLE)
    assert table.header.unit == "instructions"
    assert table.header.origin.kind.value == "measured-emulated"
    assert outdated(table.header) == (), "count it anew: nas-edge table measure --target " + name
    assert all(error["mape_percent"] <= 0.5 for error in table.header.figures["holdout_by_space"].values())
    cycles = read_table(ROOT / "latency_tables" / name / CYCLE_TABLE)
    assert cycles.header.origin.kind.value == "modelled"
    assert cycles.blocks.keys() == table.blocks.keys()
    for block, entry in table.blocks.items():
        assert entry.ms < cycles.blocks[block].ms < 2 * entry.ms


def test_milliseconds_scale_with_the_clock_and_know_their_interval() -> None:
    cycles = read_table(ROOT / "latency_tables" / "stm32f405" / CYCLE_TABLE)
    slow, fast = (in_milliseconds(cycles, load_board(name)) for name in ("nrf52840", "stm32f405"))
    block = next(iter(cycles.blocks))
    assert slow.blocks[block].ms / fast.blocks[block].ms == pytest.approx(168 / 64)
    assert slow.header.assumed["log_error"] == fast.header.assumed["log_error"] > 0.1
    assert "published" in slow.header.assumed["source"]
    assert slow.header.origin.kind.value == "modelled"


def test_a_table_of_other_kernels_says_so() -> None:
    header = TableHeader("stm32f405", "mcu", protocol={"kernels": "0123"}, device={"board": "stm32f405"})
    assert "nas-edge table measure --target stm32f405" in outdated(header)[0]


def test_a_unit_that_no_table_has_is_refused() -> None:
    with pytest.raises(TableError, match="unit 'seconds' is not known"):
        TableHeader("stm32f405", "mcu", unit="seconds")


def test_a_chip_that_nothing_emulates_has_no_table_of_its_own(space: SearchSpace) -> None:
    with pytest.raises(DeviceError, match="nas-edge table measure --target stm32f405"):
        measure_command("nrf52840", [(space, 4)])


class TestCounted:
    pytestmark = needs_emulator

    def test_blocks_and_networks_are_counted_and_written_the_same_each_time(
        self, space: SearchSpace, tmp_path: Path
    ) -> None:
        if best_method() is not Method.PLUGIN:
            pytest.skip("only QEMU 7.2 loads the plugin that tables are counted by")
        wishes = {"calibration": 2, "holdout": 2}
        board = load_board("stm32f405")
        found = count_table([(space, 4)], board, out=tmp_path / "one", **wishes)  # type: ignore[arg-type]
        assert found.path == tmp_path / "one" / "stm32f405" / INSTRUCTION_TABLE
        assert read_table(found.path).blocks == found.table.blocks
        assert found.reports[0].coverage == 1.0
        assert found.reports[0].holdout is not None
        assert found.reports[0].holdout.mape_percent < 1
        again = count_table([(space, 4)], board, out=tmp_path / "two", **wishes)  # type: ignore[arg-type]
        for table in (INSTRUCTION_TABLE, CYCLE_TABLE):
            for name in ("blocks.csv", "networks.csv", "table.yaml"):
                one, two = (tmp_path / root / "stm32f405" / table / name for root in ("one", "two"))
                assert one.read_text() == two.read_text()
        assert again.table.blocks == found.table.blocks
