"""The firmware's own protocol over a real line: the serial port of an emulated board, through a pseudo-terminal."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from nas_edge.devices.serial import Line, SerialLink, open_serial
from nas_edge.errors import DeviceError, MeasurementError
from nas_edge.mcu.boards import load_board
from nas_edge.mcu.emulator import Method, count_firmware
from nas_edge.mcu.emulator.line import emulated_line
from nas_edge.mcu.firmware import SERIAL, build_firmware
from nas_edge.runtimes.serial_board import SerialBoard
from tests.emulated import needs_emulator, write_program

pytest.importorskip("serial", reason="needs pyserial")
pytestmark = needs_emulator

IMAGE = np.arange(64, dtype=np.int8)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_program(tmp_path_factory.mktemp("program"))


@pytest.fixture(scope="module", params=["stm32f405", "mps2-an505"])
def port(request: pytest.FixtureRequest, program: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    firmware = build_firmware(load_board(request.param), program, tmp_path_factory.mktemp("firmware"), SERIAL)
    with emulated_line(firmware) as opened:
        yield opened


class Noisy:
    """A line that loses, doubles and disturbs bytes both ways, from a seed."""

    def __init__(self, line: Line, seed: int) -> None:
        self._line, self._random = line, random.Random(seed)

    def _spoiled(self, data: bytes) -> bytes:
        found = bytearray()
        for byte in data:
            chance = self._random.random()
            if chance < 0.0005:
                continue
            found.append(byte ^ 0x10 if chance < 0.001 else byte)
            if chance > 0.9995:
                found += b"NE"
        return bytes(found)

    def read(self, size: int) -> bytes:
        return self._spoiled(self._line.read(size))

    def write(self, data: bytes) -> int:
        self._line.write(self._spoiled(data))
        return len(data)

    def close(self) -> None:
        self._line.close()


def test_a_board_says_what_it_is_and_runs_what_it_is_sent(port: str, program: Path, tmp_path: Path) -> None:
    with open_serial(port) as link:
        board = SerialBoard(link)
        network = board.hello()
        assert (network.layers, network.input_bytes, network.output_bytes) == (3, 64, 4)
        run = board.run(network, IMAGE)
        again = board.run(network, IMAGE)
        other = board.run(network, -IMAGE)
    counted = count_firmware(build_firmware(load_board("stm32f405"), program, tmp_path), IMAGE[None], 4, Method.TIMER)
    assert run.output.tolist() == counted.outputs[0].tolist() != other.output.tolist()
    assert max(abs(a - b) for a, b in zip(run.layer_ticks, again.layer_ticks, strict=True)) <= 1
    assert run.layer_ticks[0] > 9 * run.layer_ticks[1] > 60 * run.layer_ticks[2]
    assert run.stack_bytes > 0


def test_noise_on_the_line_costs_time_but_no_answer(port: str) -> None:
    with open_serial(port) as clean:
        board = SerialBoard(clean)
        network = board.hello()
        expected = board.run(network, IMAGE)
        noisy = SerialBoard(SerialLink(port, Noisy(clean._line, seed=3), patience_s=0.5), run_patience_s=2.0)
        for _ in range(6):
            assert noisy.run(noisy.hello(), IMAGE).output.tolist() == expected.output.tolist()


def test_an_input_of_another_size_is_refused_before_it_is_sent(port: str) -> None:
    with open_serial(port) as link:
        board = SerialBoard(link)
        with pytest.raises(MeasurementError, match="takes 64 bytes of input, not"):
            board.run(board.hello(), IMAGE[:-1])


def test_a_request_beyond_the_network_is_refused_by_the_board(port: str) -> None:
    with open_serial(port) as link:
        SerialBoard(link).hello()
        with pytest.raises(DeviceError, match="the board refuses 'O'"):
            link.request("O", b"\0\0\0\0\xff\0")
