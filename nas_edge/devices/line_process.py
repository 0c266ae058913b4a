"""A command on a device, talked with a line at a time."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

from nas_edge.devices import scripts
from nas_edge.devices.transport import Channel
from nas_edge.errors import DeviceError, DeviceLostError

_WRITE_S = 60.0
_END_S = 2.0
_LONGEST_LINE = 64 * 2**20


def read_all(channel: Channel, timeout_s: float, most: int) -> bytes:
    """Standard output to its end. Raises TimeoutError, DeviceLostError; OverflowError beyond `most` bytes."""
    deadline = time.monotonic() + timeout_s
    parts, got = [], 0
    while more := channel.read(max(deadline - time.monotonic(), 0.0)):
        parts.append(more)
        got += len(more)
        if got > most:
            raise OverflowError
    return b"".join(parts)


class LineProcess:
    """A `Process` on a channel; see there.

    Args:
        device, command: for errors.
        channel: of the command; of `scripts.TALK` where `begin` is called.
        kill: kills a process and its group on the device.
        pid: the process, where it is known already.

    """

    def __init__(self, device: str, command: str, channel: Channel, kill: Callable[[int], None], pid: int = 0) -> None:
        self._device, self._command, self._channel, self._kill = device, command, channel, kill
        self._buffer = bytearray()
        self._pid = pid
        self._closed = False

    def begin(self, timeout_s: float) -> None:
        """Wait until it runs. Raises DeviceError, DeviceLostError."""
        line = self.receive(timeout_s)
        if not line.isdigit():
            raise DeviceError(f"device {self._device!r}: {self._command} does not start: {line[:100]!r}")
        self._pid = int(line)

    def send(self, line: str) -> None:
        """Write one line. Raises DeviceError, DeviceLostError."""
        try:
            self._channel.write(line.encode() + b"\n", _WRITE_S)
        except TimeoutError as error:
            raise DeviceLostError(f"device {self._device!r}: {self._command} takes no input") from error
        except BrokenPipeError as error:
            raise self._ended() from error

    def receive(self, timeout_s: float) -> str:
        """The next line. Raises DeviceError, DeviceLostError."""
        deadline = time.monotonic() + timeout_s
        searched = 0
        while (end := self._buffer.find(b"\n", searched)) < 0:
            searched = len(self._buffer)
            if searched > _LONGEST_LINE:
                raise DeviceError(f"device {self._device!r}: {self._command} prints a line without end")
            try:
                more = self._channel.read(max(deadline - time.monotonic(), 0.0))
            except TimeoutError as error:
                raise DeviceError(
                    f"device {self._device!r}: {self._command} did not answer within {timeout_s:g} s"
                ) from error
            if not more:
                raise self._ended()
            self._buffer += more
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line.decode("utf-8", "replace").rstrip("\r")

    def close(self) -> None:
        """End its input, kill it where that is not enough."""
        if self._closed:
            return
        self._closed = True
        try:
            self._channel.close_input()
            self._channel.status(_END_S)
        except (DeviceError, TimeoutError, OSError):
            if self._pid:
                self._kill(self._pid)
        finally:
            self._channel.close()

    def _ended(self) -> DeviceError:
        """The error that says how it ended."""
        status = 0
        with contextlib.suppress(TimeoutError):
            status = self._channel.status(_END_S)
        errors = self._channel.errors().decode("utf-8", "replace")
        if status == scripts.NO_COMMAND and scripts.NOT_STARTED in errors:
            return DeviceError(f"device {self._device!r}: {self._command} cannot be run (No such command there)")
        said = (errors.strip().splitlines() or [""])[-1][:300]
        return DeviceError(
            f"device {self._device!r}: {self._command} has ended with status {status}{': ' if said else ''}{said}"
        )
