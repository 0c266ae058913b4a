"""The programs that firmware is made and run by, found or asked for."""

from __future__ import annotations

import shutil
import subprocess  # commands are lists, never a shell's text
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from nas_edge.errors import DeviceError, MeasurementError

ARM_GCC = "arm-none-eabi-gcc"
QEMU = "qemu-system-arm"
HOST_GCC = "gcc"

_PACKAGES: Mapping[str, str] = MappingProxyType(
    {
        ARM_GCC: "gcc-arm-none-eabi libnewlib-arm-none-eabi",
        "arm-none-eabi-objdump": "binutils-arm-none-eabi",
        "arm-none-eabi-size": "binutils-arm-none-eabi",
        QEMU: "qemu-system-arm",
        HOST_GCC: "gcc libc6-dev",
    }
)
_TOOL_TIMEOUT_S = 300.0


def find_tool(program: str) -> str:
    """The path of a program. Raises DeviceError with the line that installs it where it is missing."""
    found = shutil.which(program)
    if found is None:
        raise DeviceError(f"{program} is missing: apt-get install --no-install-recommends {_PACKAGES[program]}")
    return found


def missing_tools(*programs: str) -> tuple[str, ...]:
    """Those of some programs that are not installed."""
    return tuple(program for program in programs if shutil.which(program) is None)


def run_tool(
    program: str, arguments: Sequence[str | Path], where: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, its output as text; a failing status is a result.

    Raises:
        DeviceError: it is missing. MeasurementError: it does not end within five minutes.

    """
    command = [find_tool(program), *map(str, arguments)]
    try:
        return subprocess.run(  # noqa: S603
            command, cwd=where, capture_output=True, text=True, errors="replace", timeout=_TOOL_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise MeasurementError(
            f"{program} did not end within {_TOOL_TIMEOUT_S:.0f} s; is the machine overloaded?"
        ) from None
