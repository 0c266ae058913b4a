"""Profile of a real board on a serial line: the same network, timed layer by layer by the board's own counter."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nas_edge.errors import DeviceError, MeasurementError
from nas_edge.origin import Origin, OriginKind
from nas_edge.pipeline.devices.microcontrollers import board_of
from nas_edge.pipeline.devices.targets import Target
from nas_edge.pipeline.report import Success
from nas_edge.progress import Progress, silent
from nas_edge.units import format_ms

if TYPE_CHECKING:
    from nas_edge.mcu.boards import Board
    from nas_edge.mcu.graph import Int8Graph
    from nas_edge.runtimes.serial_board import BoardNetwork, BoardRun

REPEATS = 3
_START_S = 2.0  # for a board that was flashed to come up


@dataclass(frozen=True)
class SerialReport(Success):
    """One network timed on a board.

    Attributes:
        subject: the run or the file.
        target: that was asked for.
        port: of the board.
        graph: the network.
        network: what the board says of it.
        runs: each with its own image.
        origin: measured; measured-emulated where the board's ticks are an emulator's.

    """

    subject: Path
    target: str
    port: str
    graph: Int8Graph
    network: BoardNetwork
    runs: tuple[BoardRun, ...]
    origin: Origin

    @property
    def total(self) -> float:
        """Median of the runs: ms, or ticks of an emulator."""
        return self._scaled(float(np.median([run.total_ticks for run in self.runs])))

    @property
    def unit(self) -> str:
        """ "ms" on silicon, "ticks" of an emulator's time."""
        return "ms" if self.network.ticks_per_second else "ticks"

    def layers(self) -> list[tuple[str, float]]:
        """Name and median of each layer, in `unit`."""
        ticks = np.median([run.layer_ticks for run in self.runs], axis=0)
        return [(item.name, self._scaled(float(t))) for item, t in zip(self.graph.layers, ticks, strict=True)]

    def _scaled(self, ticks: float) -> float:
        return 1e3 * ticks / self.network.ticks_per_second if self.network.ticks_per_second else ticks

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "subject": str(self.subject),
            "target": self.target,
            "port": self.port,
            "total": self.total,
            "unit": self.unit,
            "runs": len(self.runs),
            "layers": [{"name": name, self.unit: value} for name, value in self.layers()],
            "arena_bytes": self.network.arena_bytes,
            "stack_bytes": self.runs[0].stack_bytes,
            "outputs": {"bit_identical_to_reference": True, "images": len(self.runs)},
            "origin": self.origin.to_json(),
        }

    def lines(self) -> list[str]:
        """For a person."""
        verb = "MEASURED" if self.network.ticks_per_second else "COUNTED"
        stack = f", stack {self.runs[0].stack_bytes:,} bytes" if self.runs[0].stack_bytes else ""
        lines = [
            f"{verb:10} {self._figure(self.total)} on {self.port}, median of {len(self.runs)} runs",
            f"memory     arena {self.network.arena_bytes:,} bytes{stack}",
            f"outputs    bit-identical to the reference on {len(self.runs)} images",
        ]
        lines += [f"layer      {name:16} {self._figure(value):>14}" for name, value in self.layers()]
        return [*lines, f"origin     {self.origin.describe()}"]

    def _figure(self, value: float) -> str:
        return format_ms(value) if self.unit == "ms" else f"{value:,.0f} ticks"


def serial_flow(
    subject: Path, target: Target, model: bytes, port: str, flash: Sequence[str] = (), progress: Progress = silent
) -> SerialReport:
    """Time a network on a board at the end of a serial line.

    Args:
        subject: directory of a run, or a file: for the report.
        target: a microcontroller.
        model: serialised ONNX, int8: what the board runs.
        port: "/dev/ttyACM0", "COM3".
        flash: words of a command that writes "{firmware}" to the board; () where the board runs the network already.
        progress: told how far it is.

    Raises:
        DeviceError: the port cannot be opened, the board does not answer, or runs another network.
        MeasurementError: the board computes something else. ExportError: it cannot be firmware.

    """
    from nas_edge.devices.serial import open_serial
    from nas_edge.mcu import reference
    from nas_edge.mcu.counted import read_onnx, seeded_images
    from nas_edge.runtimes.serial_board import SerialBoard

    graph, board = read_onnx(model), board_of(target)
    if flash:
        progress(0, REPEATS + 1, f"flashing {board.name}")
        _flash(graph, board, flash)
    codes = reference.quantise_images(graph, seeded_images(graph, REPEATS))
    expected = reference.run(graph, codes)
    runs = []
    with open_serial(port) as link:
        on_board = SerialBoard(link)
        network = on_board.hello()
        _check_same(graph, network, port)
        for number, image in enumerate(codes):
            progress(number + 1, REPEATS + 1, f"running on {port}")
            run = on_board.run(network, image.reshape(-1))
            if run.output.tobytes() != expected[number].tobytes():
                raise MeasurementError(f"the board on {port} computes something else: does it run this very network?")
            runs.append(run)
    kind = OriginKind.MEASURED if network.ticks_per_second else OriginKind.MEASURED_EMULATED
    origin = Origin(kind, f"{board.name} on {port}", time.strftime("%F"))
    return SerialReport(subject, target.name, port, graph, network, tuple(runs), origin)


def _check_same(graph: Int8Graph, network: BoardNetwork, port: str) -> None:
    found = (network.layers, network.input_bytes, network.output_bytes)
    wanted = (len(graph.layers), graph.input.bytes, graph.output.bytes)
    if found != wanted:
        raise DeviceError(
            f"the board on {port} runs another network: {found[0]} layers, {found[1]} bytes in, {found[2]} out, not "
            f"{wanted[0]}, {wanted[1]}, {wanted[2]}; flash it again"
        )


def _flash(graph: Int8Graph, board: Board, command: Sequence[str]) -> None:
    from nas_edge.devices.serial import flash
    from nas_edge.mcu.codegen import generate, write_library
    from nas_edge.mcu.firmware import SERIAL, build_firmware

    with tempfile.TemporaryDirectory(prefix="nas-edge-flash-") as place:
        write_library(Path(place) / "network", generate(graph))
        firmware = build_firmware(board, Path(place) / "network", Path(place) / "firmware", SERIAL, silicon=True)
        flash(command, str(firmware.elf))
    time.sleep(_START_S)
