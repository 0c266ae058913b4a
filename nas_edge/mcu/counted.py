"""A network as firmware, counted: C generated, built for a board, run in the emulator, its outputs compared.

Nothing here says anything of the time on real silicon: what is measured is instructions (`measured-emulated`).
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nas_edge.errors import ExportError, MeasurementError
from nas_edge.mcu.boards import Board, load_board
from nas_edge.mcu.emulator import Count, EmulatedRun, Method, count_firmware
from nas_edge.mcu.emulator.qemu import TIMEOUT_S
from nas_edge.mcu.firmware import Firmware, build_firmware
from nas_edge.mcu.firmware.building import ADVICE
from nas_edge.units import format_bytes

if TYPE_CHECKING:
    from nas_edge.mcu.graph import Int8Graph
    from nas_edge.memory import MemoryPlan

COUNTED_IMAGES = 2


@dataclass(frozen=True)
class CountedNetwork:
    """A network that ran as firmware in an emulator.

    Attributes:
        board: that was asked for; another of the same core may have stood in for it.
        graph: what was run.
        plan: its memory.
        run: what it took.
        outputs: int8 or int32 [n, height, width, channels].
        equal: whether every output is, bit by bit, that of the numpy reference.

    """

    board: Board
    graph: Int8Graph
    plan: MemoryPlan
    run: EmulatedRun
    outputs: NDArray[Any]
    equal: bool

    @property
    def instructions(self) -> float:
        """Of one run."""
        return self.run.total.instructions

    def layers(self) -> list[tuple[str, str, int, Count]]:
        """Name, kind, MACs and count of each layer."""
        items = zip(self.graph.layers, self.run.layers, strict=True)
        return [(item.name, str(item.layer.kind), item.layer.macs, count) for item, count in items]


def count_network(
    onnx_model: bytes,
    board: Board,
    images: NDArray[np.float32] | None = None,
    *,
    folder: Path | None = None,
    method: Method | None = None,
    timeout_s: float = TIMEOUT_S,
) -> CountedNetwork:
    """Build a quantised network into firmware, run it in the emulator on some images, count and compare.

    Args:
        onnx_model: serialised, the canonical int8 form.
        board: whose true flash and RAM must hold it.
        images: float32 [n, channels, height, width] as training sees them; two seeded ones by default.
        folder: where sources and firmware are left; by default they are not kept.
        method: as of `count_firmware`.
        timeout_s: likewise.

    Raises:
        ExportError: an operator without a kernel, or it does not fit (by how many bytes, which layer peaks).
        DeviceError: QEMU or a compiler is missing. MeasurementError: it faults, hangs, or computes something else.

    """
    from nas_edge.mcu import reference
    from nas_edge.mcu.codegen import generate, plan_graph, write_library

    graph = read_onnx(onnx_model)
    plan = plan_graph(graph)
    stand_in = emulated_board(board)
    check_fit(plan, board)
    codes = reference.quantise_images(graph, seeded_images(graph) if images is None else images)
    with tempfile.TemporaryDirectory(prefix="nas-edge-mcu-") as place:
        where = folder or Path(place)
        write_library(where / "network", generate(graph))
        firmware = build_firmware(stand_in, where / "network", where / "firmware", peak=plan.describe_peak())
        _check_firmware(firmware, board, plan)
        run = count_firmware(firmware, codes.reshape(len(codes), -1), graph.output.bytes, method, timeout_s)
    shape = (len(codes), *graph.output.shape)
    outputs = np.frombuffer(run.outputs.tobytes(), np.dtype(graph.output.dtype).newbyteorder("<")).reshape(shape)
    equal = bool(np.array_equal(outputs, reference.run(graph, codes)))
    if not equal:
        raise MeasurementError(
            f"the firmware on {stand_in.name} computes something else than the reference: its counts say nothing"
        )
    return CountedNetwork(board, graph, plan, run, outputs, equal)


def read_onnx(onnx_model: bytes) -> Int8Graph:
    """A serialised model as integers. Raises ExportError where it is none, or not quantised."""
    import onnx
    from google.protobuf.message import DecodeError

    from nas_edge.mcu.from_onnx import read_graph

    try:
        model = onnx.load_from_string(onnx_model)
    except DecodeError as error:
        raise ExportError(f"this is no ONNX model ({error})") from error
    return read_graph(model)


def emulated_board(board: Board) -> Board:
    """The board itself where it is emulated, else one of the same core with memory for all that the chip can hold."""
    return board if board.emulated is not None else load_board(board.blocks_on)


def check_fit(plan: MemoryPlan, board: Board) -> None:
    """Raise ExportError where the arena alone is more than the RAM: by how many bytes, and which layer peaks."""
    excess = plan.arena_bytes - board.sram.size_bytes
    if excess > 0:
        raise ExportError(
            f"the network does not fit into {board.name}: its arena is {excess:,} bytes more than the "
            f"{board.sram.size_bytes:,} bytes of sram; {plan.describe_peak()}; {ADVICE}"
        )


def _check_firmware(firmware: Firmware, board: Board, plan: MemoryPlan) -> None:
    """Hold firmware against a chip that another board stands in for: what the linker does for an emulated one."""
    taken = {"sram": firmware.static_ram_bytes + firmware.stack_bytes, "flash": firmware.flash_bytes}
    for name, used in taken.items():
        excess = used - board.regions[name].size_bytes
        if excess > 0:
            raise ExportError(
                f"the firmware does not fit into {board.name}: by {excess:,} bytes beyond the "
                f"{format_bytes(board.regions[name].size_bytes)} of {name}; {plan.describe_peak()}; {ADVICE}"
            )


def seeded_images(graph: Int8Graph, count: int = COUNTED_IMAGES) -> NDArray[np.float32]:
    """Images to count on, float32 [n, channels, height, width]: what they show changes no count."""
    shape = (count, graph.input.channels, graph.input.height, graph.input.width)
    return np.random.default_rng(0).standard_normal(shape, np.float32)
