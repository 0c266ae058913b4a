"""`Transport` and `Channel`: the little that a way to a device must offer; `RemoteDevice` makes a device of it."""

from __future__ import annotations

from typing import Protocol


class Channel(Protocol):
    """One running command. Its standard error is collected on the side."""

    def write(self, data: bytes, timeout_s: float) -> None:
        """To its standard input. Raises DeviceLostError, TimeoutError; BrokenPipeError where it has ended."""

    def close_input(self) -> None:
        """Its standard input ends."""

    def read(self, timeout_s: float) -> bytes:
        """Some of its standard output, b"" at the end. Raises DeviceLostError, TimeoutError."""

    def errors(self) -> bytes:
        """Its standard error so far, the last part of it where it is long."""

    def status(self, timeout_s: float) -> int:
        """Exit status once it has ended, negative for a signal. Raises DeviceLostError, TimeoutError."""

    def close(self) -> None:
        """Let go of it; its standard input ends if it had not. Never raises."""


class Transport(Protocol):
    """A way to a device. Commands are texts for its shell: whoever makes them quotes."""

    @property
    def name(self) -> str:
        """How the user calls the device."""

    @property
    def temporary(self) -> str:
        """Directory for temporary files, "" for the device's own idea ($TMPDIR, else /tmp)."""

    @property
    def alive(self) -> bool:
        """Whether the last connection still stands, as far as is known."""

    def connect(self) -> None:
        """Connect anew. Raises DeviceError saying what to do; DeviceLostError where trying again later may help."""

    def start(self, command: str) -> Channel:
        """Start a command. Raises DeviceLostError."""

    def close(self) -> None:
        """Let go. Never raises."""
