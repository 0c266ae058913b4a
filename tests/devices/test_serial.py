"""A serial line loses and disturbs bytes: requests are answered all the same, or it is said that they are not."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas_edge.devices.serial import ATTEMPTS, SerialLink, decode_frame, encode_frame, flash, open_serial
from nas_edge.errors import ConfigError, DeviceError, DeviceLostError

PAYLOADS = st.binary(max_size=512)


class Board:
    """A line with something at its other end that answers each whole frame; `spoil` sees what goes either way."""

    def __init__(self, spoil: Callable[[bytes], bytes] = lambda data: data) -> None:
        self.spoil = spoil
        self.asked: list[tuple[int, int, bytes]] = []
        self._in, self._out = b"", b""

    def write(self, data: bytes) -> int:
        self._in += self.spoil(data)
        while True:
            found, self._in = decode_frame(self._in)
            if found is None:
                return len(data)
            self.asked.append(found)
            kind, sequence, payload = found
            self._out += self.spoil(encode_frame(kind, sequence, payload[::-1]))

    def read(self, size: int) -> bytes:
        found, self._out = self._out[:size], self._out[size:]
        return found

    def close(self) -> None:
        return


@given(PAYLOADS, st.binary(max_size=80), st.integers(0, 255))
def test_a_frame_is_found_in_whatever_is_around_it(payload: bytes, before: bytes, sequence: int) -> None:
    frame = encode_frame(ord("R"), sequence, payload)
    found, rest = decode_frame(before.replace(b"N", b"n") + frame + b"tail")
    assert found == (ord("R"), sequence, payload)
    assert rest == b"tail"


@given(PAYLOADS, st.data())
def test_a_disturbed_frame_is_never_taken_for_a_whole_one(payload: bytes, data: st.DataObject) -> None:
    frame = bytearray(encode_frame(ord("R"), 7, payload))
    at = data.draw(st.integers(2, len(frame) - 1))
    frame[at] ^= data.draw(st.integers(1, 255))
    found, _ = decode_frame(bytes(frame))
    assert found is None


@given(PAYLOADS, st.data())
def test_a_cut_frame_is_completed_by_what_comes_later(payload: bytes, data: st.DataObject) -> None:
    frame = encode_frame(ord("O"), 9, payload)
    cut = data.draw(st.integers(0, len(frame) - 1))
    found, rest = decode_frame(frame[:cut])
    assert found is None
    found, rest = decode_frame(rest + frame[cut:])
    assert found == (ord("O"), 9, payload)


def test_a_request_is_answered() -> None:
    assert SerialLink("stub", Board()).request("H", b"abc") == b"cba"


@pytest.mark.parametrize("lost", [1, 2, 5])
def test_a_request_is_sent_again_until_it_is_answered(lost: int) -> None:
    state = {"left": lost}

    def spoil(data: bytes) -> bytes:
        if state["left"]:
            state["left"] -= 1
            return data[:-3] + b"\0"
        return data

    board = Board(spoil)
    link = SerialLink("stub", board, patience_s=0.02)
    assert link.request("H", b"abc") == b"cba"
    assert len({sequence for _, sequence, _ in board.asked}) == 1


def test_a_line_on_which_nothing_answers_is_told() -> None:
    with pytest.raises(DeviceError, match=f"stub: no answer to 'H' after {ATTEMPTS} attempts"):
        SerialLink("stub", Board(lambda _: b""), patience_s=0.01).request("H")


def test_a_fault_on_the_board_is_told_with_its_registers() -> None:
    class Faulting(Board):
        def read(self, size: int) -> bytes:
            return b"NAS-FAULT exception=00000003 pc=08000123\n"

    with pytest.raises(DeviceError, match="the firmware faulted: exception=00000003 pc=08000123"):
        SerialLink("stub", Faulting(), patience_s=0.01).request("R")


def test_a_refusal_is_told() -> None:
    class Refusing(Board):
        def write(self, data: bytes) -> int:
            found, _ = decode_frame(data)
            assert found is not None
            self._out = encode_frame(ord("!"), found[1], b"")
            return len(data)

    with pytest.raises(DeviceError, match="the board refuses 'R'"):
        SerialLink("stub", Refusing()).request("R")


def test_a_port_that_vanishes_is_told() -> None:
    class Gone(Board):
        def read(self, size: int) -> bytes:
            raise OSError("device disconnected")

    with pytest.raises(DeviceLostError, match="is gone"):
        SerialLink("stub", Gone()).request("R")


def test_a_port_that_is_not_there_is_told_with_those_that_are() -> None:
    pytest.importorskip("serial", reason="needs pyserial")
    with pytest.raises(DeviceError, match=r"/dev/nowhere: cannot be opened .* ports that are there: "):
        open_serial("/dev/nowhere")


def test_the_users_own_command_flashes() -> None:
    flash([sys.executable, "-c", "import sys; sys.exit(sys.argv[1] != 'net.elf')", "{firmware}"], "net.elf")


def test_a_command_that_cannot_flash_is_told() -> None:
    with pytest.raises(ConfigError, match=r"no word {firmware}"):
        flash(["pyocd", "flash"], "net.elf")
    with pytest.raises(DeviceError, match="nothing-like-it is missing"):
        flash(["nothing-like-it", "{firmware}"], "net.elf")
    with pytest.raises(DeviceError, match=r"failed .status 3.: no probe"):
        flash([sys.executable, "-c", "import sys; sys.stderr.write('no probe'); sys.exit(3)", "{firmware}"], "net.elf")
