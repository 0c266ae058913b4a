"""Arm's Vela: compiles int8 `.tflite` files for Ethos-U, and estimates what they take there. Nothing is measured."""

from __future__ import annotations

import csv
import math
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from nas_edge.errors import ExportError, MeasurementError, MissingExtraError

_TIMEOUT_S = 600.0
_OPERATORS = re.compile(r"^(CPU|NPU) operators = (\d+)", re.MULTILINE)
_KIB = 1024


@dataclass(frozen=True)
class Accelerator:
    """An Ethos-U and the memory around it, in Vela's words.

    Attributes:
        config: "ethos-u55-128": family and MACs a cycle.
        system: of Vela's `Arm/vela.ini`: clocks and bandwidths.
        memory: likewise: where weights and activations lie.

    """

    config: str
    system: str
    memory: str


@dataclass(frozen=True)
class VelaEstimate:
    """What Vela says of a network.

    Attributes:
        ms: of one inference.
        clock_hz: of the accelerator.
        cycles, npu_cycles: all, and those in which the accelerator computes.
        sram_bytes, dram_bytes, flash_bytes: in use; flash on and off the chip.
        npu_operators, cpu_operators: what runs where; those left to the CPU take time that Vela does not count.
        version: of Vela.
        compiled: the `.tflite` file for the accelerator's driver.

    """

    ms: float
    clock_hz: float
    cycles: int
    npu_cycles: int
    sram_bytes: int
    dram_bytes: int
    flash_bytes: int
    npu_operators: int
    cpu_operators: int
    version: str
    compiled: bytes


def estimate(file: bytes, accelerator: Accelerator) -> VelaEstimate:
    """Compile an int8 `.tflite` file.

    Raises:
        ExportError: Vela does not know the accelerator or refuses the file. MeasurementError: it does not end, or says
            what cannot be. MissingExtraError: it is not installed.

    """
    if find_spec("ethosu") is None:
        raise MissingExtraError("ethos-u-vela", "mcu", "compiling for Ethos-U")
    with tempfile.TemporaryDirectory(prefix="nas-edge-") as name:
        folder = Path(name)
        (folder / "model.tflite").write_bytes(file)
        command = [
            sys.executable, "-m", "ethosu.vela", str(folder / "model.tflite"), "--output-dir", str(folder),
            "--config", "Arm/vela.ini", "--accelerator-config", accelerator.config,
            "--system-config", accelerator.system, "--memory-mode", accelerator.memory,
        ]  # fmt: skip
        try:
            done = subprocess.run(  # noqa: S603 - this interpreter, on files of its own
                command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise MeasurementError(f"Vela has not ended after {_TIMEOUT_S:.0f} s") from error
        summaries, compiled = list(folder.glob("*summary*.csv")), folder / "model_vela.tflite"
        if done.returncode or len(summaries) != 1 or not compiled.is_file():
            raise ExportError(f"Vela does not compile the file for {accelerator.config}: {_reason(done)}")
        return read_summary(summaries[0].read_text(encoding="utf-8"), done.stdout, compiled.read_bytes())


def read_summary(text: str, told: str, compiled: bytes) -> VelaEstimate:
    """Vela's figures from its summary and its standard output. Raises MeasurementError for what cannot be.

    Args:
        text: the CSV file.
        told: standard output.
        compiled: the file it wrote.

    """
    from importlib.metadata import PackageNotFoundError, version

    try:
        (row,) = csv.DictReader(text.splitlines())
        seconds, clock = _number(row, "inference_time"), _number(row, "core_clock")
        cycles = [round(_number(row, key)) for key in ("cycles_total", "cycles_npu")]
        memory = {
            kind: round(_KIB * _number(row, f"{kind}_memory_used"))
            for kind in ("sram", "dram", "on_chip_flash", "off_chip_flash")
        }
    except (KeyError, ValueError) as error:
        raise MeasurementError(f"Vela's summary is not what it was in version 5: {error}") from error
    counts = {kind: int(count) for kind, count in _OPERATORS.findall(told)}
    try:
        installed = version("ethos-u-vela")
    except PackageNotFoundError:
        installed = "unknown"
    return VelaEstimate(
        1e3 * seconds, clock, cycles[0], cycles[1], memory["sram"], memory["dram"],
        memory["on_chip_flash"] + memory["off_chip_flash"], counts.get("NPU", 0), counts.get("CPU", 0), installed,
        compiled,
    )  # fmt: skip


def _number(row: Mapping[str, str], key: str) -> float:
    value = float(row[key])
    if not math.isfinite(value) or value < 0:
        raise ValueError(f"{key} is {row[key]!r}")
    return value


def _reason(done: subprocess.CompletedProcess[str]) -> str:
    """Vela complains on either stream, after its usage."""
    lines = [line.strip() for line in f"{done.stdout}\n{done.stderr}".splitlines() if "rror" in line]
    return (lines or [f"it ended with status {done.returncode}"])[-1][:300]
