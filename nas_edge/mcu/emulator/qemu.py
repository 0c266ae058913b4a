"""QEMU, headless: firmware runs to its end, faults with its registers told, or is stopped with its registers told."""

from __future__ import annotations

import re
import socket
import subprocess  # commands are lists, never a shell's text
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

from nas_edge.errors import DeviceError, MeasurementError
from nas_edge.mcu.boards import Board
from nas_edge.mcu.toolchain import QEMU, find_tool, run_tool

TIMEOUT_S = 120.0
_FAULT_STATUS = 99
_VERSION = re.compile(r"version (\d+\.\d+\.\d+)")
_REGISTER = re.compile(r"\b(R\d\d|XPSR)=([0-9a-f]{8})")
_MONITOR_WAIT_S = 5.0
_STATUSES: Mapping[int, str] = MappingProxyType(
    {
        10: "its files cannot be opened",
        11: "net_init failed",
        12: "net_run failed",
        13: "its results cannot be written",
        14: "it was given no whole input",
    }
)


@lru_cache(maxsize=1)
def qemu_version() -> str:
    """ "7.2.22". Raises DeviceError where QEMU is missing (the line that installs it)."""
    found = _VERSION.search(run_tool(QEMU, ["--version"]).stdout)
    if found is None:
        raise DeviceError(f"{QEMU} does not tell its version; reinstall it: apt-get install qemu-system-arm")
    return found[1]


@dataclass(frozen=True)
class QemuCommand:
    """How an emulator is started.

    Attributes:
        board: must be one that QEMU has.
        elf: the program.
        arguments: further ones.

    """

    board: Board
    elf: Path
    arguments: tuple[str, ...] = ()

    def argv(self) -> list[str]:
        """The command line. Raises DeviceError where the board is not emulated, or QEMU is missing."""
        emulated = self.board.emulated
        if emulated is None:
            raise DeviceError(
                f"board {self.board.name!r} is emulated by nothing; {self.board.counted_on} stands in for it"
            )
        return [
            find_tool(QEMU), "-machine", emulated.machine, "-display", "none", "-kernel", str(self.elf.resolve()),
            "-icount", f"shift={emulated.icount_shift}", *self.arguments,
        ]  # fmt: skip


def run_to_end(
    board: Board, elf: Path, directory: Path, plugin: Sequence[str] = (), timeout_s: float = TIMEOUT_S
) -> None:
    """Run firmware that ends by itself.

    Args:
        board: as of `QemuCommand`.
        elf: the program.
        directory: where its files are.
        plugin: path of a plugin and its arguments.
        timeout_s: after so many seconds of real time it is stopped.

    Raises:
        DeviceError: QEMU is missing. MeasurementError: it faults, hangs (both with registers), or says that it failed.

    """
    with tempfile.TemporaryDirectory(prefix="nas-qemu-") as place:
        monitor = Path(place) / "monitor"
        arguments = [
            "-serial", "none", "-monitor", f"unix:{monitor},server=on,wait=off",
            "-semihosting-config", "enable=on,target=native",
        ]  # fmt: skip
        if plugin:
            arguments += ["-plugin", ",".join(plugin)]
        command = QemuCommand(board, elf, tuple(arguments)).argv()
        process = subprocess.Popen(  # noqa: S603
            command, cwd=directory, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        try:
            _, told = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            registers = _registers(monitor)
            raise MeasurementError(
                f"the firmware did not end within {timeout_s:g} s on {board.name} and was stopped: {registers}"
            ) from None
        finally:
            if process.poll() is None:
                process.kill()
                process.communicate()
    if process.returncode:
        raise MeasurementError(_failure(board, process.returncode, told.decode("utf-8", "replace")))


def _failure(board: Board, status: int, told: str) -> str:
    lines = [line.strip() for line in told.splitlines() if line.strip()]
    fault = next((line for line in lines if line.startswith("NAS-FAULT")), None)
    if fault is not None or status == _FAULT_STATUS:
        if fault and "stack-overflow" in fault:
            return f"the firmware's stack overflowed on {board.name}: {_rest(fault)}"
        return f"the firmware faulted on {board.name}: {_rest(fault or 'no registers')}"
    if any("ockup" in line for line in lines):
        found = dict(_REGISTER.findall(told))
        return f"the firmware locked up on {board.name}: {_shown(found)}"
    if status in _STATUSES:
        return f"the firmware failed on {board.name}: {_STATUSES[status]}"
    return f"{QEMU} failed (status {status}): {(lines or ['no message'])[0][:300]}"


def _rest(fault: str) -> str:
    return fault.removeprefix("NAS-FAULT").strip()


def _registers(monitor: Path) -> str:
    """What the processor's registers hold, as QEMU's monitor tells."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
            line.settimeout(_MONITOR_WAIT_S)
            line.connect(str(monitor))
            line.sendall(b"info registers\n")
            text, until = b"", time.monotonic() + _MONITOR_WAIT_S
            while b"XPSR" not in text and time.monotonic() < until:
                text += line.recv(1 << 16)
    except OSError:
        return "its registers could not be read"
    return _shown(dict(_REGISTER.findall(text.decode("utf-8", "replace"))))


def _shown(registers: Mapping[str, str]) -> str:
    names = {"R13": "sp", "R14": "lr", "R15": "pc", "XPSR": "psr"}
    return " ".join(f"{names.get(name, name.lower().replace('r0', 'r'))}={value}" for name, value in registers.items())
