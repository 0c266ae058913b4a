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


class Device(Protocol):
    """A machine to measure on.

    Life cycle: `fingerprint` says once what it is, `lock` is held for a whole sitting, within it `push`, `run` and
    `pull` in any order, `state` before and after. All raise DeviceError when the device cannot be reached or has
    vanished: one line saying which device, what failed, what to do.
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

    def lock(self, timeout_s: float = 0.0) -> AbstractContextManager[None]:
        """Have the device to oneself; DeviceError when another process still has it after `timeout_s`."""
