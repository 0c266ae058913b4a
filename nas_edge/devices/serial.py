"""A board on a serial line: requests and answers in frames that survive noise, cuts and resets.

The firmware's side is `mcu/firmware/c/nas_serve.c`, where the frame is described as well. A request that is not
answered in time is sent again with the same sequence number; the board answers it once more without doing it once more.
"""

from __future__ import annotations

import struct
import subprocess  # commands are lists, never a shell's text
import time
import zlib
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Protocol

from nas_edge.errors import ConfigError, DeviceError, DeviceLostError, MissingExtraError

BAUD = 115_200
MOST_PAYLOAD = 512
ATTEMPTS = 8

_MARK = b"NE"
_HEADER = struct.Struct("<BBH")
_REFUSED = ord("!")
_FAULT, _TAIL = b"NAS-FAULT", 2048
_POLL_S = 0.05
# A board that waits for the rest of a frame whose length was disturbed has it after so many bytes of nothing.
_FLUSH = bytes(_HEADER.size + MOST_PAYLOAD + 4)


class Line(Protocol):
    """What of pyserial's `Serial` is used."""

    def read(self, size: int) -> bytes:
        """At most `size` bytes; fewer where none come in time."""

    def write(self, data: bytes, /) -> Any:
        """Send all bytes."""

    def close(self) -> None:
        """Let go."""


class SerialLink:
    """Requests over one line.

    Args:
        name: of the port, for errors.
        line: open; reads end after a moment.
        patience_s: for an answer, before a request is sent again.

    """

    def __init__(self, name: str, line: Line, patience_s: float = 1.0) -> None:
        self.name = name
        self._line = line
        self._patience_s = patience_s
        self._sequence = int(time.monotonic() * 1e3) % 256
        self._received = b""
        self._heard = b""

    def __enter__(self) -> SerialLink:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the port. Never raises; may be called twice."""
        try:
            self._line.close()
        except OSError:
            return

    def request(self, kind: str, payload: bytes = b"", patience_s: float | None = None) -> bytes:
        """The answer to a request.

        Args:
            kind: one letter.
            payload: at most 512 bytes.
            patience_s: for the answer; by default the link's.

        Raises:
            DeviceLostError: the port vanished. DeviceError: no answer after several attempts, or the board refuses.

        """
        if len(payload) > MOST_PAYLOAD:
            raise ValueError(f"a frame holds {MOST_PAYLOAD} bytes, not {len(payload)}")
        self._sequence = (self._sequence + 1) % 256
        frame = encode_frame(ord(kind), self._sequence, payload)
        for attempt in range(ATTEMPTS):
            self._send(frame if attempt == 0 else _FLUSH + frame)
            answer = self._answer(ord(kind), self._patience_s if patience_s is None else patience_s)
            if answer is not None:
                return answer
        fault = self._heard.find(_FAULT)
        if fault >= 0:
            told = self._heard[fault + len(_FAULT) :].decode("ascii", "replace").split("\n")[0].strip()
            raise DeviceError(f"serial line {self.name}: the firmware faulted: {told}; reset the board")
        raise DeviceError(
            f"serial line {self.name}: no answer to {kind!r} after {ATTEMPTS} attempts; is it the right port and "
            "speed, and does the board run firmware that calls nas_serve()?"
        )

    def _answer(self, kind: int, patience_s: float) -> bytes | None:
        until = time.monotonic() + patience_s
        while time.monotonic() < until:
            found, self._received = decode_frame(self._received)
            if found is None:
                self._received += self._read()
                continue
            answered, sequence, payload = found
            if sequence != self._sequence:
                continue  # late, of an earlier request
            if answered == _REFUSED:
                raise DeviceError(f"serial line {self.name}: the board refuses {chr(kind)!r}")
            if answered == kind:
                return payload
        self._received = b""
        return None

    def _send(self, data: bytes) -> None:
        try:
            self._line.write(data)
        except OSError as error:  # pyserial's exceptions are of it
            raise DeviceLostError(f"serial line {self.name}: is gone ({error}); plug the board in again") from error

    def _read(self) -> bytes:
        try:
            found = self._line.read(4096)
            self._heard = (self._heard + found)[-_TAIL:]
            return found
        except OSError as error:
            raise DeviceLostError(f"serial line {self.name}: is gone ({error}); plug the board in again") from error


def encode_frame(kind: int, sequence: int, payload: bytes) -> bytes:
    """Marks, header, payload, CRC-32."""
    body = _HEADER.pack(kind, sequence, len(payload)) + payload
    return _MARK + body + struct.pack("<I", zlib.crc32(body))


def decode_frame(received: bytes) -> tuple[tuple[int, int, bytes] | None, bytes]:
    """The first whole frame (kind, sequence, payload) of what was received, and the bytes after it.

    Bytes that belong to no frame are dropped. None where no frame is whole yet; what may become one is kept.
    """
    while True:
        start = received.find(_MARK)
        if start < 0:
            return None, received[-1:] if received.endswith(_MARK[:1]) else b""
        body = received[start + len(_MARK) :]
        if len(body) < _HEADER.size:
            return None, received[start:]
        kind, sequence, length = _HEADER.unpack_from(body)
        whole = _HEADER.size + length + 4
        if length <= MOST_PAYLOAD and len(body) < whole:
            return None, received[start:]
        if length <= MOST_PAYLOAD:
            content, check = body[: whole - 4], body[whole - 4 : whole]
            if zlib.crc32(content) == struct.unpack("<I", check)[0]:
                return (kind, sequence, content[_HEADER.size :]), body[whole:]
        received = received[start + 1 :]


def open_serial(port: str, baud: int = BAUD) -> SerialLink:
    """A link over a port ("/dev/ttyACM0", "COM3").

    Raises:
        MissingExtraError: pyserial is not installed. DeviceError: the port is not there, or somebody else has it.

    """
    try:
        import serial
    except ImportError as error:
        raise MissingExtraError("pyserial", "devices", "a board on a serial line") from error
    try:
        line = serial.Serial(port, baud, timeout=_POLL_S, write_timeout=10.0, exclusive=True)
    except (serial.SerialException, ValueError) as error:
        known = ", ".join(sorted(one.device for one in _ports())) or "none"
        raise DeviceError(f"serial line {port}: cannot be opened ({error}); ports that are there: {known}") from error
    return SerialLink(port, _Port(line))


class _Port:
    """pyserial's line, whose reads end with what has come instead of waiting for more."""

    def __init__(self, line: Any) -> None:
        self._line = line

    def read(self, size: int) -> bytes:
        first: bytes = self._line.read(1)
        rest: bytes = self._line.read(min(size - 1, self._line.in_waiting)) if first else b""
        return first + rest

    def write(self, data: bytes) -> int:
        sent: int = self._line.write(data)
        return sent

    def close(self) -> None:
        self._line.close()


def _ports() -> list[Any]:
    from serial.tools import list_ports

    return list(list_ports.comports())


def flash(command: Sequence[str], firmware: str, timeout_s: float = 120.0) -> None:
    """Write firmware to a board by the user's own command.

    Args:
        command: words, run without a shell: ("pyocd", "flash", "-t", "stm32f405rg", "{firmware}").
        firmware: the file that "{firmware}" stands for.
        timeout_s: after so long it is given up.

    Raises:
        ConfigError: no word is "{firmware}". DeviceError: the command is missing, fails or takes too long.

    """
    if not any("{firmware}" in word for word in command):
        raise ConfigError("the command that flashes has no word {firmware}, which stands for the file")
    words = [word.replace("{firmware}", firmware) for word in command]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=timeout_s, check=False)  # noqa: S603
    except FileNotFoundError:
        raise DeviceError(f"{words[0]} is missing: install it (pyocd: pip install pyocd), or flash by hand") from None
    except subprocess.TimeoutExpired:
        raise DeviceError(f"{words[0]} did not end within {timeout_s:g} s; is the probe connected?") from None
    if done.returncode:
        last = (done.stderr.strip().splitlines() or done.stdout.strip().splitlines() or ["no message"])[-1]
        raise DeviceError(f"{words[0]} failed (status {done.returncode}): {last[:300]}")
