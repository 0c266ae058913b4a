"""Firmware built: sources of a network and of the board, compiled and linked within the board's true memory."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from nas_edge.errors import ExportError
from nas_edge.files import make_directory, write_text
from nas_edge.mcu.boards import Board
from nas_edge.mcu.firmware.link_script import link_script
from nas_edge.mcu.firmware.objects import is_kernel, kernel_objects
from nas_edge.mcu.toolchain import ARM_GCC, run_tool
from nas_edge.memory.firmware import firmware_size
from nas_edge.units import format_bytes

SOURCES = Path(__file__).parent / "c"
FILES, SERIAL = "files", "serial"
ADVICE = "choose a smaller network"
_HOST_PROGRAM = "host.c"
_COMMON = ("nas_startup.c", "nas_layers.c", "nas_ticks.c")
_TRANSPORTS = {
    FILES: ("nas_main_files.c", "nas_semihosting.c"),
    SERIAL: ("nas_main_serial.c", "nas_serve.c", "nas_uart.c"),
}
_FLAGS = (
    "-std=c99", "-O3", "-ffunction-sections", "-fdata-sections", "-Wall", "-Wextra", "-Werror",
)  # fmt: skip
_LINK = (
    "-nostartfiles",
    "--specs=nano.specs",
    "--specs=nosys.specs",
    "-Wl,--gc-sections",
    "-Wl,--no-warn-rwx-segments",
    "-lm",
)
_OVERFLOW = re.compile(r"region `(\w+)' overflowed by (\d+) bytes")


@dataclass(frozen=True)
class Firmware:
    """A linked program.

    Attributes:
        board: it was linked for.
        elf: the file.
        flash_bytes: code, constants, weights and initial values.
        static_ram_bytes: variables and the arena, without the stack.
        stack_bytes: set aside for the stack.

    """

    board: Board
    elf: Path
    flash_bytes: int
    static_ram_bytes: int
    stack_bytes: int


def build_firmware(
    board: Board,
    network: Path,
    out: Path,
    transport: str = FILES,
    stack_bytes: int | None = None,
    defines: Sequence[str] = (),
    silicon: bool = False,
    peak: str = "",
) -> Firmware:
    """Compile a generated network and the board's own files, and link them.

    Args:
        board: whose core, regions and peripherals are used.
        network: directory with `net.h` and the C files of the network.
        out: directory for objects and `firmware.elf`.
        transport: `FILES` for the emulator, `SERIAL` for a line.
        stack_bytes: set aside for the stack; by default what `memory.firmware_size` counts for it.
        defines: macros, "NAME" or "NAME=VALUE".
        peak: what takes most memory, for the error that it does not fit.
        silicon: for the real chip, whose timer ticks in time; in the emulator it ticks in instructions.

    Raises:
        DeviceError: the compiler is missing (the line that installs it). ExportError: it does not fit into the board's
            memory (by how many bytes), or does not compile. ConfigError, StorageError: `out` cannot be written.

    """
    stack_bytes = stack_bytes or firmware_size(board.core.name).stack_bytes
    make_directory(out)
    write_text(out / "board.ld", link_script(board, stack_bytes))
    write_text(out / "nas_board.h", board_header(board, silicon))
    own = [SOURCES / name for name in (*_COMMON, *_TRANSPORTS[transport])]
    elf, flags = out / "firmware.elf", (*board.core.flags, *_FLAGS)
    done = run_tool(
        ARM_GCC,
        [
            *flags, *(f"-D{define}" for define in defines),
            "-I", out, "-I", SOURCES, "-I", network, "-include", SOURCES / "nas_layers.h",
            *_sources(network), *kernel_objects(network, flags, compiler_version()), *own,
            *_LINK, "-T", out / "board.ld", "-o", elf,
        ],
    )  # fmt: skip
    if done.returncode:
        raise ExportError(_failure(board, done.stderr, peak))
    return Firmware(board, elf, *_sizes(elf, stack_bytes), stack_bytes)


@lru_cache(maxsize=1)
def compiler_version() -> str:
    """ "arm-none-eabi-gcc 12.2.1". Raises DeviceError where it is missing."""
    return f"{ARM_GCC} {run_tool(ARM_GCC, ['-dumpfullversion']).stdout.strip()}"


def _sources(network: Path) -> list[Path]:
    """The network's own C files, without the program for this machine that lies among them."""
    return [path for path in sorted(network.glob("*.c")) if path.name != _HOST_PROGRAM and not is_kernel(path)]


def board_header(board: Board, silicon: bool = False) -> str:
    """`nas_board.h`: the board's peripherals as macros. Raises ExportError where the board has no firmware."""
    if board.emulated is None or board.uart is None:
        raise ExportError(
            f"board {board.name!r} has no complete firmware: take the C library ('nas-edge export --format c') into "
            f"a project of its own; {board.counted_on} counts its instructions"
        )
    timer, uart = board.emulated.timer, board.uart
    kinds = {"stm32-tim": "STM32_TIM", "cmsdk": "CMSDK", "sse-300": "SSE_300"}
    lines = [
        f"/* {board.description}. */",
        "#ifndef NAS_BOARD_H",
        "#define NAS_BOARD_H",
        "",
        f'#define NAS_BOARD_NAME "{board.name}"',
        f"#define NAS_TIMER_{kinds[timer.kind]} 1",
        f"#define NAS_TIMER_BASE {timer.base:#010x}u",
        f"#define NAS_TICKS_PER_SECOND {timer.silicon_hz if silicon else 0}u",
        f"#define NAS_UART_{uart.kind.upper()} 1",
        f"#define NAS_UART_BASE {uart.base:#010x}u",
        "",
        "#endif",
    ]
    return "\n".join(lines) + "\n"


def _failure(board: Board, stderr: str, peak: str) -> str:
    overflows = _OVERFLOW.findall(stderr)
    if overflows:
        parts = [
            f"by {int(by):,} bytes beyond the {format_bytes(board.regions[name].size_bytes)} of {name}"
            for name, by in overflows
            if name in board.regions
        ]
        return f"the firmware does not fit into {board.name}: {'; '.join([*parts, *[peak] * bool(peak)])}; {ADVICE}"
    told = [line for line in stderr.splitlines() if "error" in line or "undefined" in line]
    first = (told or stderr.strip().splitlines() or ["no message"])[0]
    return f"the firmware for {board.name} does not compile: {first.strip()[:300]}"


def _sizes(elf: Path, stack_bytes: int) -> tuple[int, int]:
    """Flash and static RAM in bytes, by the sections."""
    done = run_tool("arm-none-eabi-size", ["-A", "-d", elf])
    sizes = {
        fields[0]: int(fields[1])
        for line in done.stdout.splitlines()
        if len(fields := line.split()) == 3 and fields[1].isdigit()
    }
    data = sizes.get(".data", 0)
    return sizes.get(".text", 0) + sizes.get(".ARM.exidx", 0) + data, data + sizes.get(".bss", 0)
