"""An emulated board that answers on a serial line: a pseudo-terminal stands for its port."""

from __future__ import annotations

import re
import subprocess  # commands are lists, never a shell's text
import time
from collections.abc import Iterator
from contextlib import contextmanager

from nas_edge.errors import MeasurementError
from nas_edge.mcu.emulator.qemu import QemuCommand
from nas_edge.mcu.firmware import Firmware

_PORT = re.compile(r"char device redirected to (/dev/\S+)")
_START_S = 20.0


@contextmanager
def emulated_line(firmware: Firmware) -> Iterator[str]:
    """The port ("/dev/pts/3") at which firmware with the transport `firmware.SERIAL` answers while this is open.

    Raises:
        DeviceError: QEMU is missing. MeasurementError: it does not start.

    """
    arguments = ("-monitor", "none", "-serial", "pty")
    command = QemuCommand(firmware.board, firmware.elf, arguments).argv()
    with subprocess.Popen(  # noqa: S603
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            yield _port(process)
        finally:
            process.kill()


def _port(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    told, until = "", time.monotonic() + _START_S
    while time.monotonic() < until:
        line = process.stdout.readline()
        told += line
        if found := _PORT.search(line):
            return found[1]
        if not line:
            break
    raise MeasurementError(f"the emulator gave no serial line: {told.strip()[:300] or 'it said nothing'}")
