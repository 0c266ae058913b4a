"""Android devices, by adbutils over an adb server; Android 7 or newer (its shell tells exit codes and errors apart).

Files travel through the shell as well: one way for all devices, that goes on where it was cut.
"""

from __future__ import annotations

import contextlib
import re
import struct
import subprocess
import time
from typing import TYPE_CHECKING, Any

from nas_edge.devices.remote import RemoteDevice
from nas_edge.errors import DeviceError, DeviceLostError, MissingExtraError

if TYPE_CHECKING:
    import socket

TEMPORARY = "/data/local/tmp"
_CONNECT_S = 10.0
_CHUNK = 64 * 1024
_MOST_ERRORS = 256 * 1024
_NETWORK = re.compile(r".+:\d+")
_STDIN, _STDOUT, _STDERR, _EXIT, _CLOSE_STDIN = range(5)  # of the shell protocol's packets
_AGREE_S = 3.0
_PASSING = ("offline", "authorizing", "connecting", "unauthorized")
_NOT_READY = {
    "unauthorized": "it does not trust this computer: unlock it and accept the key on its screen",
    "no permissions": "this user may not use it over USB; Debian: apt install android-sdk-platform-tools-common",
    "recovery": "it is in recovery mode; start it normally",
    "bootloader": "it is in its bootloader; start it normally",
}


def adb_device(serial: str = "", directory: str = "", **options: Any) -> RemoteDevice:
    """A device by its serial number, or "address:port" over the network; "" for the only one that is there.

    Args:
        serial: as `adb devices` shows it.
        directory: parent of the working directory, by default /data/local/tmp.
        options: of `RemoteDevice`.

    Raises:
        MissingExtraError: adbutils is not installed.

    """
    return RemoteDevice(AdbTransport(serial), directory, **options)


class AdbTransport:
    """A `Transport` through an adb server ($ANDROID_ADB_SERVER_HOST and _PORT, else the usual one).

    Args:
        serial: see `adb_device`.
        temporary: directory on the device that its shell may write.

    """

    def __init__(self, serial: str = "", temporary: str = TEMPORARY) -> None:
        self._adbutils = _adbutils()
        self._serial = serial
        self._temporary = temporary
        self._alive = False

    @property
    def name(self) -> str:
        """The serial number."""
        return self._serial or "adb"

    @property
    def temporary(self) -> str:
        """Where Android lets a shell write."""
        return self._temporary

    @property
    def alive(self) -> bool:
        """Whether nothing was cut since it was connected."""
        return self._alive

    def connect(self) -> None:
        """Find the device, and ask whether it can do what is needed. Raises DeviceError, DeviceLostError."""
        try:
            client = self._adbutils.AdbClient()
            states = {info.serial: info.state for info in client.list()}
            if _NETWORK.fullmatch(self._serial) and states.get(self._serial) != "device":
                client.disconnect(self._serial)
                told = client.connect(self._serial, timeout=_CONNECT_S)
                states = self._agreed(client)
                if self._serial not in states:
                    raise DeviceLostError(f"device {self.name!r}: cannot be reached ({told})")
            self._choose(states)
            features = client.device(self._serial).get_features()
        except (OSError, self._adbutils.AdbError, subprocess.SubprocessError, RuntimeError) as error:
            text = " ".join(str(error).split())[:300]
            if "offline" in text or "not found" in text or "closed" in text:
                raise DeviceLostError(f"device {self.name!r}: cannot be reached ({text})") from error
            raise DeviceError(
                f"device {self.name!r}: no adb server answers ({text}); install adb, and try: adb devices"
            ) from error
        if "shell_v2" not in features.split(","):
            raise DeviceError(f"device {self.name!r}: its Android is too old; 7 or newer is needed")
        self._alive = True

    def start(self, command: str) -> _AdbChannel:
        """Start a command. Raises DeviceLostError."""
        try:
            connection = self._adbutils.AdbClient().device(self._serial).open_transport(timeout=_CONNECT_S)
            encoded = f"shell,v2,raw:{command}".encode()
            connection.conn.sendall(f"{len(encoded):04x}".encode() + encoded)
            connection.check_okay()
        except UnicodeEncodeError as error:
            raise DeviceError(f"device {self.name!r}: {error.object!r} is not text") from error
        except (OSError, self._adbutils.AdbError) as error:
            raise self.lost(error) from error
        return _AdbChannel(self, connection)

    def lost(self, error: object) -> DeviceLostError:
        """What was cut; it is not alive any more."""
        self._alive = False
        return DeviceLostError(f"device {self.name!r}: the connection was cut ({' '.join(str(error).split())[:200]})")

    def close(self) -> None:
        """Nothing is held between commands."""
        self._alive = False

    def _agreed(self, client: Any) -> dict[str, str]:
        """States of all devices, once ours and the server have agreed: it takes them a moment."""
        deadline = time.monotonic() + _AGREE_S
        while True:
            states = {info.serial: info.state for info in client.list()}
            if states.get(self._serial) not in _PASSING or time.monotonic() > deadline:
                return states
            time.sleep(0.1)

    def _choose(self, states: dict[str, str]) -> None:
        """Settle on one device. Raises DeviceError where none or several would do, or it is not ready."""
        if not self._serial:
            if len(states) != 1:
                shown = ", ".join(f"{serial} ({state})" for serial, state in sorted(states.items()))
                problem = f"several devices are there: {shown}; choose one with --serial" if states else "there is none"
                raise DeviceError(f"device 'adb': {problem}")
            self._serial = next(iter(states))
        state = states.get(self._serial)
        if state is None:
            shown = ", ".join(sorted(states)) or "none"
            raise DeviceLostError(f"device {self.name!r}: adb knows no such device; it knows {shown}")
        if state in _NOT_READY:
            raise DeviceError(f"device {self.name!r}: {_NOT_READY[state]}")
        if state != "device":
            raise DeviceLostError(f"device {self.name!r}: is {state}")


class _AdbChannel:
    """A `Channel` in the shell protocol: packets of one byte's kind, four bytes' length, data."""

    def __init__(self, transport: AdbTransport, connection: Any) -> None:
        self._transport, self._connection = transport, connection
        self._socket: socket.socket = connection.conn
        self._buffer = bytearray()
        self._output = bytearray()
        self._errors = bytearray()
        self._status: int | None = None
        self._ended = False

    def write(self, data: bytes, timeout_s: float) -> None:
        """To standard input."""
        if self._status is not None:
            raise BrokenPipeError
        for start in range(0, len(data), _CHUNK):
            self._send(_STDIN, data[start : start + _CHUNK], timeout_s)

    def close_input(self) -> None:
        """Send its end."""
        with contextlib.suppress(DeviceError, OSError):
            self._send(_CLOSE_STDIN, b"", _CONNECT_S)

    def read(self, timeout_s: float) -> bytes:
        """Some of standard output."""
        deadline = time.monotonic() + timeout_s
        while not self._output and not self._ended:
            self._receive(deadline)
        found = bytes(self._output)
        self._output.clear()
        return found

    def errors(self) -> bytes:
        """The last part of standard error."""
        return bytes(self._errors)

    def status(self, timeout_s: float) -> int:
        """Exit status; what it still prints is thrown away."""
        deadline = time.monotonic() + timeout_s
        while not self._ended:
            self._receive(deadline)
        assert self._status is not None
        return self._status

    def close(self) -> None:
        """Let go."""
        self._connection.close()

    def _send(self, kind: int, data: bytes, timeout_s: float) -> None:
        self._socket.settimeout(max(timeout_s, 0.001))
        try:
            self._socket.sendall(struct.pack("<BI", kind, len(data)) + data)
        except TimeoutError:
            raise
        except OSError as error:
            self._receive_rest()
            if self._status is not None:
                raise BrokenPipeError from error
            raise self._transport.lost(error) from error

    def _receive_rest(self) -> None:
        with contextlib.suppress(DeviceError, TimeoutError):
            while not self._ended:
                self._receive(time.monotonic() + 1.0)

    def _receive(self, deadline: float) -> None:
        """One packet. Raises TimeoutError, DeviceLostError."""
        while len(self._buffer) < 5 or len(self._buffer) < 5 + self._length():
            self._socket.settimeout(max(deadline - time.monotonic(), 0.001))
            try:
                more = self._socket.recv(_CHUNK)
            except TimeoutError:
                raise
            except OSError as error:
                raise self._transport.lost(error) from error
            if not more:
                if self._status is None:
                    raise self._transport.lost("it ended without a status")
                self._ended = True
                return
            self._buffer += more
        kind, length = self._buffer[0], self._length()
        data = bytes(self._buffer[5 : 5 + length])
        del self._buffer[: 5 + length]
        if kind == _STDOUT:
            self._output += data
        elif kind == _STDERR:
            self._errors += data
            del self._errors[:-_MOST_ERRORS]
        elif kind == _EXIT and data:
            self._status, self._ended = data[0], True

    def _length(self) -> int:
        length: int = struct.unpack_from("<I", self._buffer, 1)[0]
        return length


def _adbutils() -> Any:
    """The package. Raises MissingExtraError."""
    try:
        import adbutils
    except ImportError as error:
        raise MissingExtraError("adbutils", "devices", "reaching a device over adb") from error
    return adbutils
