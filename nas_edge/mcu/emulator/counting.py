"""Firmware counted: run in the emulator on given inputs, every layer's instructions told, outputs handed back."""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas_edge.errors import MeasurementError
from nas_edge.files import make_directory, read_text, write_bytes
from nas_edge.mcu.boards import load_board
from nas_edge.mcu.emulator.counts import Count, read_plugin_counts, total
from nas_edge.mcu.emulator.disassembly import disassemble
from nas_edge.mcu.emulator.qemu import TIMEOUT_S, qemu_version, run_to_end
from nas_edge.mcu.firmware import Firmware, build_firmware
from nas_edge.mcu.plugin import plugin_library
from nas_edge.mcu.toolchain import run_tool

_OUTSIDE, _BETWEEN, _EMPTY, _FIRST_LAYER = range(4)
_BETWEEN_ENTRIES = 2  # as in nas_layers.h
_SELF_TEST = Path(__file__).parent / "self_test"
SELF_TEST_DIFFERENCE = 6_000
"""Instructions by which the layers of the self-test differ: two thousand turns of three."""

_SYMBOL = re.compile(r"([0-9a-f]+) ([0-9a-f]+) \w (nas_mark|nas_region_begin)\s*$", re.MULTILINE)


class Method(StrEnum):
    """How instructions were counted."""

    PLUGIN = "plugin"
    TIMER = "timer"


@dataclass(frozen=True)
class EmulatedRun:
    """One firmware run in an emulator.

    Attributes:
        firmware: that ran.
        method: by the counting plugin, which sees classes, or by a timer.
        emulator: "QEMU 7.2.22, netduinoplus2".
        runs: inputs; counts are means over them.
        layers: what each layer took.
        between: what the run took around its layers.
        stack_bytes: deepest use.
        outputs: int8 [runs, bytes of an output].

    """

    firmware: Firmware
    method: Method
    emulator: str
    runs: int
    layers: tuple[Count, ...]
    between: Count
    stack_bytes: int
    outputs: NDArray[np.int8]

    @property
    def total(self) -> Count:
        """Of one run of the network."""
        return total((self.between, *self.layers))

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        whole = self.total
        return {
            "method": str(self.method),
            "emulator": self.emulator,
            "runs": self.runs,
            "instructions": whole.instructions,
            "classes": dict(whole.classes),
            "layers": [{"instructions": one.instructions, "classes": dict(one.classes)} for one in self.layers],
            "stack_bytes": self.stack_bytes,
            "static_ram_bytes": self.firmware.static_ram_bytes,
            "flash_bytes": self.firmware.flash_bytes,
        }


def count_firmware(
    firmware: Firmware,
    inputs: NDArray[np.int8],
    output_bytes: int,
    method: Method | None = None,
    timeout_s: float = TIMEOUT_S,
) -> EmulatedRun:
    """Run firmware on some inputs and count what it executes: the same to the last digit at each call.

    Args:
        firmware: built for an emulated board with the transport `firmware.FILES`.
        inputs: int8 [n, bytes of an input], n at least 1.
        output_bytes: of one output.
        method: by default the plugin where this QEMU loads it and it passed its self-test, else the timer.
        timeout_s: real time after which the firmware is taken to hang.

    Raises:
        DeviceError: QEMU is missing. MeasurementError: the firmware faults, hangs or writes no results.

    """
    method = method or best_method()
    plugin = plugin_library(qemu_version()) if method is Method.PLUGIN else None
    return _counted(firmware, inputs, output_bytes, plugin, timeout_s)


@lru_cache(maxsize=1)
def best_method() -> Method:
    """The plugin, where this QEMU loads it and it counts a program of known length rightly; else the timer.

    Raises:
        DeviceError: QEMU or the compiler is missing.

    """
    library = plugin_library(qemu_version())
    if library is None:
        return Method.TIMER
    passed = library.with_suffix(f".{qemu_version()}.passed")
    if not passed.is_file():
        try:
            counted = self_test(library)
        except MeasurementError:
            return Method.TIMER  # this QEMU does not load it after all
        short, long = counted.layers
        if long.instructions - short.instructions != SELF_TEST_DIFFERENCE:
            return Method.TIMER
        write_bytes(passed, b"")
    return Method.PLUGIN


def self_test(plugin: Path | None) -> EmulatedRun:
    """A program whose two layers differ by `SELF_TEST_DIFFERENCE`, counted by a plugin, or by the timer."""
    with tempfile.TemporaryDirectory(prefix="nas-self-test-") as place:
        firmware = build_firmware(load_board("stm32f405"), _SELF_TEST, Path(place))
        return _counted(firmware, np.zeros((1, 4), np.int8), 4, plugin, TIMEOUT_S)


def _counted(
    firmware: Firmware, inputs: NDArray[np.int8], output_bytes: int, plugin: Path | None, timeout_s: float
) -> EmulatedRun:
    board, directory = firmware.board, make_directory(firmware.elf.parent)
    data = np.ascontiguousarray(inputs, dtype=np.int8)
    if data.ndim != 2 or not len(data):
        raise MeasurementError(f"inputs are int8 [n, bytes], not {data.dtype} {list(data.shape)}")
    write_bytes(directory / "input.bin", data.tobytes())
    for name in ("output.bin", "report.txt", "counts.txt"):
        (directory / name).unlink(missing_ok=True)
    arguments = [] if plugin is None else [str(plugin), *_watched(firmware.elf), "out=counts.txt"]
    run_to_end(board, firmware.elf, directory, arguments, timeout_s)
    report = _read_report(directory / "report.txt")
    if plugin is None:
        assert board.emulated is not None
        counts = {i: Count(round(board.emulated.instructions(ticks))) for i, ticks in enumerate(report.regions)}
        counted = 1  # its ticks are those of the last run
    else:
        counts = read_plugin_counts(directory / "counts.txt", disassemble(firmware.elf))
        counted = report.runs
    outputs = np.frombuffer((directory / "output.bin").read_bytes(), np.int8).reshape(report.runs, output_bytes)
    if len(outputs) != len(data):
        raise MeasurementError(f"the firmware gave {len(outputs)} outputs for {len(data)} inputs")
    empty = counts.get(_EMPTY, Count(0)).per_run(counted, Count(0, cycles=0))
    layers = tuple(
        counts.get(region, Count(0)).per_run(counted, empty) for region in range(_FIRST_LAYER, len(report.regions))
    )
    between = counts.get(_BETWEEN, Count(0)).per_run(counted, empty, _BETWEEN_ENTRIES)
    assert board.emulated is not None
    return EmulatedRun(
        firmware, Method.TIMER if plugin is None else Method.PLUGIN,
        f"QEMU {qemu_version()}, {board.emulated.machine}", report.runs, layers, between, report.stack_bytes,
        outputs.copy(),
    )  # fmt: skip


def _watched(elf: Path) -> list[str]:
    """The plugin's arguments: where the firmware says which region begins."""
    told = run_tool("arm-none-eabi-nm", ["-S", elf]).stdout
    found = {name: (int(address, 16), int(size, 16)) for address, size, name in _SYMBOL.findall(told)}
    try:
        (mark, regions), (first, size) = found["nas_mark"], found["nas_region_begin"]
    except KeyError as error:
        raise MeasurementError(f"{elf.name} has no symbol {error}: it was not built to be counted") from None
    first &= ~1
    return [f"mark={mark:#x}", f"regions={regions}", f"first={first:#x}", f"last={first + size:#x}"]


@dataclass(frozen=True)
class _Report:
    """What the firmware says of itself: runs, stack, and the ticks of each region in the last run."""

    runs: int
    stack_bytes: int
    regions: tuple[int, ...]


def _read_report(path: Path) -> _Report:
    figures: dict[str, int] = {}
    regions = []
    try:
        for line in read_text(path).splitlines():
            name, value = line.split()
            if name == "region":
                regions.append(int(value))
            else:
                figures[name] = int(value)
        return _Report(figures["runs"], figures["stack"], tuple(regions))
    except (KeyError, ValueError) as error:
        raise MeasurementError(f"the firmware's report is not whole ({error})") from error
