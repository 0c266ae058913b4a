"""Microcontrollers end to end: a network is profiled in the emulator, on a serial line, and is found by a search."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nas_edge.cli.main import invoke
from nas_edge.errors import ConfigError, DeviceError, ExportError
from nas_edge.mcu.boards import board_names, load_board
from nas_edge.mcu.codegen import generate, write_library
from nas_edge.mcu.counted import read_onnx
from nas_edge.mcu.emulator.line import emulated_line
from nas_edge.mcu.firmware import SERIAL, build_firmware
from nas_edge.pipeline.devices.targets import load_target
from nas_edge.pipeline.profiling.command import profile_command
from nas_edge.pipeline.profiling.counted_report import CountedReport
from nas_edge.pipeline.profiling.serial_line import SerialReport
from nas_edge.pipeline.seeded import seeded_model
from nas_edge.pipeline.tables.finding import load_table_for
from nas_edge.pipeline.tables.modelled import instruction_table
from nas_edge.spaces import SearchSpace
from tests.emulated import needs_emulator


def emulated(test):
    for mark in needs_emulator:
        test = mark(test)
    return test


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    space = SearchSpace.named("mcu")
    path = tmp_path_factory.mktemp("model") / "small.onnx"
    path.write_bytes(seeded_model(space, space.smallest(), 4, precision="int8"))
    return path


@pytest.mark.parametrize("name", board_names())
def test_every_board_is_a_target_with_the_chips_true_memory(name: str) -> None:
    target, board = load_target(name), load_board(name)
    assert target.microcontroller
    assert target.precision == "int8"
    assert target.memory == {region.name: region.size_bytes for region in board.regions.values()}
    if board.emulated is not None:
        assert (target.device.kind, target.device.address) == ("emulator", board.emulated.machine)


def test_milliseconds_of_a_microcontroller_are_modelled_and_its_instructions_counted() -> None:
    target = load_target("mcu")
    found = load_table_for(target)
    counted = instruction_table(target)
    assert counted is not None
    assert found.table.header.unit == "ms"
    assert found.table.header.origin.kind.value == "modelled"
    assert counted[0].header.unit == "instructions"
    assert counted[0].header.origin.kind.value == "measured-emulated"
    assert found.table.blocks.keys() == counted[0].blocks.keys()


@emulated
def test_a_file_is_profiled_in_the_emulator(model: Path) -> None:
    report = profile_command(model, "stm32f405")
    assert isinstance(report, CountedReport)
    data = report.to_json()
    assert data["outputs"] == {
        "bit_identical_to_reference": True, "images": 2, "same_class_as_onnxruntime": 2
    }  # fmt: skip
    assert data["origin"]["kind"] == "measured-emulated"
    assert data["silicon_measured"] is False
    assert sum(layer["instructions"] for layer in data["layers"]) <= data["instructions"]["counted"]
    assert data["memory"]["static_ram_bytes"] >= data["memory"]["arena_bytes"]
    assert "no silicon was measured" in report.lines()[-1]
    again = profile_command(model, "stm32f405").to_json()
    assert again["instructions"] == data["instructions"]


@emulated
def test_a_chip_that_nothing_emulates_is_counted_on_another_of_its_core(model: Path) -> None:
    report = profile_command(model, "nrf52840")
    assert isinstance(report, CountedReport)
    assert "in place of nrf52840" in report.lines()[0]
    direct = profile_command(model, "stm32f405")
    assert isinstance(direct, CountedReport)
    assert abs(report.counted.instructions / direct.counted.instructions - 1) < 0.001
    point, other = report.modelled_ms, direct.modelled_ms
    assert point is not None
    assert other is not None
    assert point[0] / other[0] == pytest.approx(168 / 64, rel=0.001)


@emulated
def test_a_board_on_a_serial_line_is_profiled_layer_by_layer(model: Path, tmp_path: Path) -> None:
    pytest.importorskip("serial", reason="needs pyserial")
    write_library(tmp_path / "network", generate(read_onnx(model.read_bytes())))
    firmware = build_firmware(load_board("stm32f405"), tmp_path / "network", tmp_path / "firmware", SERIAL)
    with emulated_line(firmware) as port:
        report = profile_command(model, "stm32f405", serial=port)
    counted = profile_command(model, "stm32f405")
    assert isinstance(report, SerialReport)
    assert isinstance(counted, CountedReport)
    assert report.origin.kind.value == "measured-emulated"
    assert report.total == pytest.approx(counted.counted.instructions, rel=0.001)
    for (name, ticks), (other, _, _, count) in zip(report.layers(), counted.counted.layers(), strict=True):
        assert name == other
        assert abs(ticks - count.instructions) <= max(8, 0.001 * count.instructions)


@emulated
def test_a_board_that_runs_another_network_is_told(model: Path, tmp_path: Path) -> None:
    pytest.importorskip("serial", reason="needs pyserial")
    space = SearchSpace.named("mcu")
    other = tmp_path / "other.onnx"
    other.write_bytes(seeded_model(space, space.sample(1, np.random.default_rng(0))[0], 4, precision="int8"))
    write_library(tmp_path / "network", generate(read_onnx(model.read_bytes())))
    firmware = build_firmware(load_board("stm32f405"), tmp_path / "network", tmp_path / "firmware", SERIAL)
    with emulated_line(firmware) as port, pytest.raises(DeviceError, match="runs another network"):
        profile_command(other, "stm32f405", serial=port)


def test_what_cannot_be_firmware_is_told_in_one_line(tmp_path: Path, model: Path) -> None:
    space = SearchSpace.named("mcu")
    large, floats, gated = (tmp_path / f"{name}.onnx" for name in ("large", "floats", "gated"))
    large.write_bytes(seeded_model(space, space.largest(), 4, precision="int8"))
    floats.write_bytes(seeded_model(space, space.smallest(), 4))
    mbv3 = SearchSpace.named("mbv3-32")
    gated.write_bytes(seeded_model(mbv3, mbv3.smallest(), 4, precision="int8"))
    with pytest.raises(ExportError, match=r"does not fit into stm32f405: .* [\d,]+ bytes .*; layer b\d+\.\w+"):
        profile_command(large, "stm32f405")
    with pytest.raises(ExportError, match="an int8 model is needed"):
        profile_command(floats, "stm32f405")
    with pytest.raises(ExportError, match="HardSwish"):
        profile_command(gated, "stm32f405")
    with pytest.raises(ConfigError, match="--serial"):
        profile_command(model, "stm32f405", host="pi@nowhere")


def test_a_missing_emulator_is_told_with_the_line_that_installs_it(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert invoke(["profile", str(model), "--target", "stm32f405"]) == 1
    assert "apt-get install" in capsys.readouterr().err


@emulated
def test_the_doctor_tries_compiler_emulator_and_counting(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["targets", "doctor", "stm32f405"]) == 0
    told = capsys.readouterr().out
    for name in ("board", "compiler", "emulator", "counting", "table"):
        assert name in told


def test_the_doctor_says_how_to_install_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert invoke(["targets", "doctor", "mps2-an505"]) == 1
    assert "apt-get install --no-install-recommends qemu-system-arm" in capsys.readouterr().out


def test_a_board_of_ones_own_is_added_with_its_port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert invoke(["targets", "add", "mine", "--like", "stm32f405", "--serial", "/dev/ttyACM0"]) == 0
    target = load_target("mine")
    assert (target.device.kind, target.device.address) == ("serial", "/dev/ttyACM0")
    assert target.board == "stm32f405"
    assert load_table_for(target).table.header.unit == "ms"
