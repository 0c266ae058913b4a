"""`Device`: the protocol of everything that code can run on."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from nas_edge.devices.fingerprint import DeviceFingerprint
from nas_edge.devices.state import DeviceState


@dataclass(frozen=True)
class CommandResult:
    """What a command on a device left behind.

    Attributes:
        status: exit status.
        stdout, stderr: as text, undecodable bytes replaced.

    """

    status: int
    stdout: str
    stderr: str


class Process(Protocol):
    """A command on a device that is talked with, a line at a time."""

    def send(self, line: str) -> None:
        """Write one line (without its end) to its standard input. Raises as `receive`."""

    def receive(self, timeout_s: float) -> str:
        """The next line of its standard output, without its end.

        Raises:
            DeviceLostError: the connection was cut. DeviceError: it has ended (status and last line of its standard
            error are told), was silent for `timeout_s` seconds, or says lines without end.

        """

    def close(self) -> None:
        """End its input, wait a moment, kill what still runs. Never raises; may be called twice."""


class Device(Protocol):
    """A machine to measure on.

    Life cycle: `fingerprint` says once what it is, `lock` is held for a whole sitting, within it `push`, `run`,
    `start` and `pull` in any order, `state` before and after, `close` at the end: it leaves nothing behind. All raise
    DeviceError when the device cannot be reached or has vanished: one line saying which device, what failed, what to
    do. After a DeviceLostError the next call connects anew.
    """

    @property
    def name(self) -> str:
        """How the user calls it."""

    def fingerprint(self) -> DeviceFingerprint:
        """What it is: the same at each call."""

    def state(self) -> DeviceState:
        """How it is at this moment."""

    def push(self, local: Path, remote: str) -> None:
        """Copy a file to `remote`, a path relative to the device's own working directory."""

    def pull(self, remote: str, local: Path) -> None:
        """Copy a file back, whole or not at all."""

    def run(self, argv: Sequence[str], timeout_s: float) -> CommandResult:
        """Run a command in the working directory, without a shell; a failing status is a result, not an error."""

    def start(self, argv: Sequence[str]) -> Process:
        """Start a command in the working directory, without a shell, to talk with it."""

    def lock(self, timeout_s: float = 0.0) -> AbstractContextManager[None]:
        """Have the device to oneself; DeviceError when another process still has it after `timeout_s`."""

    def close(self) -> None:
        """Remove the working directory, where it is a temporary one, and let go. Never raises; may be called twice."""
