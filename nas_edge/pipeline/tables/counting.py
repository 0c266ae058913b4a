"""Tables of microcontrollers: every block's instructions counted in the emulator, and whole networks beside them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas_edge.errors import ExportError, MeasurementError
from nas_edge.latency import LatencyTable, NetworkEntry, TableHeader, write_table
from nas_edge.latency.table import CYCLES, INSTRUCTIONS, BlockEntry
from nas_edge.origin import Origin, OriginKind
from nas_edge.pipeline.tables.finding import TABLES
from nas_edge.pipeline.tables.modelled import CYCLES_SUFFIX, kernels_digest
from nas_edge.pipeline.tables.work import NetworkWork, plan_work
from nas_edge.progress import Progress, silent
from nas_edge.spaces import BlockSpec, Kind, Precision, SearchSpace

if TYPE_CHECKING:
    from nas_edge.latency.check import TableReport
    from nas_edge.mcu.boards import Board
    from nas_edge.mcu.emulator import Count, Method

OTHER_CLASSES = (2, 3, 4, 5, 6, 8, 10, 12, 16, 17, 20, 32, 50, 64, 100)
RUNTIME, PRECISION = "mcu", Precision.INT8
INSTRUCTION_TABLE = "mcu-int8"
CYCLE_TABLE = INSTRUCTION_TABLE + CYCLES_SUFFIX
"""Beside the instructions: cycles modelled from the classes of the same instructions (`mcu.emulator.counts`)."""


@dataclass(frozen=True)
class CountedTable:
    """What `count_table` made.

    Attributes:
        path: of the instruction table; that of the cycles lies beside it.
        table: of instructions.
        reports: coverage and error on the hold-out networks, of each space.
        wall_s: time taken.

    """

    path: Path
    table: LatencyTable
    reports: tuple[TableReport, ...]
    wall_s: float


def count_table(
    spaces: Sequence[tuple[SearchSpace, int]],
    board: Board,
    *,
    out: Path | None = None,
    calibration: int = 20,
    holdout: int = 30,
    seed: int = 0,
    method: Method | None = None,
    progress: Progress = silent,
) -> CountedTable:
    """Count every block of some spaces, and whole networks; check and write: the same files each time.

    Blocks are counted layer by layer, on `board.blocks_on`, which has memory for the largest; networks as complete
    firmware, on the board itself where they fit.

    Args:
        spaces: each with its number of classes.
        board: emulated.
        out: the `latency_tables` directory; by default that of the current directory.
        calibration: whole networks of each space that the predictor is calibrated on.
        holdout: whole networks of each space that its error is computed from.
        seed: of the choice of networks.
        method: as of `count_firmware`.
        progress: told how far it is.

    Raises:
        ExportError: blocks that no kernel computes. DeviceError: QEMU or a compiler is missing.
        MeasurementError: QEMU 7.2 is not there: only its plugin tells classes. ConfigError, StorageError: not writable.

    """
    from nas_edge.mcu.emulator import Method, best_method

    begun = time.monotonic()
    method = method or best_method()
    if method is not Method.PLUGIN:
        raise MeasurementError("a table is counted by the plugin, which needs QEMU 7.2 (Debian 12's) and gcc")
    plan = plan_work(spaces, PRECISION, calibration, holdout, seed)
    blocks = _count_blocks(_with_other_classes(plan.blocks.values()), board, method, progress)
    networks = []
    for number, work in enumerate(plan.networks):
        progress(number, len(plan.networks), f"counting networks on {board.name}")
        if (counted := _count_network(work, board, method)) is not None:
            networks.append((work, counted))
    header = _header(spaces, board, method)
    directory = (out or Path(TABLES)) / board.name
    instructions = _table(header, blocks, [(work, count.instructions) for work, count in networks], INSTRUCTIONS)
    cycles = _table(header, blocks, [(work, count.cycles or 0.0) for work, count in networks], CYCLES)
    instructions, reports = _checked(instructions, spaces)
    write_table(cycles, directory / CYCLE_TABLE)
    write_table(instructions, directory / INSTRUCTION_TABLE)
    return CountedTable(directory / INSTRUCTION_TABLE, instructions, reports, time.monotonic() - begun)


def _with_other_classes(blocks: Iterable[BlockSpec]) -> tuple[BlockSpec, ...]:
    """Blocks, and classifiers of other sizes: bundles of the same space have other classes."""
    found: dict[BlockSpec, None] = {}
    for block in blocks:
        found[block] = None
        if block.kind is Kind.LINEAR:
            found |= dict.fromkeys(replace(block, out_channels=classes) for classes in OTHER_CLASSES)
    return tuple(found)


def _count_blocks(
    blocks: Sequence[BlockSpec], board: Board, method: Method, progress: Progress
) -> dict[BlockSpec, Count]:
    from nas_edge.mcu.boards import load_board
    from nas_edge.mcu.emulator.counts import total
    from nas_edge.mcu.emulator.layer_bench import count_layers, shape
    from nas_edge.memory import layers_of

    layers = {block: layers_of([block]) for block in blocks}
    every = [layer for found in layers.values() for layer in found]
    counts = count_layers(every, load_board(board.blocks_on), method, progress)
    return {block: total(counts[shape(layer)] for layer in found) for block, found in layers.items()}


def _count_network(work: NetworkWork, board: Board, method: Method) -> Count | None:
    """A whole network's count; None where it fits into no board of the core."""
    from nas_edge.mcu.boards import load_board
    from nas_edge.mcu.counted import count_network
    from nas_edge.pipeline.seeded import seeded_network

    model = seeded_network(work.space.lower(work.arch, work.num_classes, work.precision))
    for name in dict.fromkeys((board.name, board.blocks_on)):  # the same core with more memory counts the same
        try:
            return count_network(model, load_board(name), method=method).run.total
        except ExportError:
            continue
    return None


def _header(spaces: Sequence[tuple[SearchSpace, int]], board: Board, method: Method) -> TableHeader:
    from nas_edge.mcu.emulator.qemu import qemu_version
    from nas_edge.mcu.firmware.building import compiler_version

    described: list[dict[str, Any]] = [
        {"name": space.name, "num_classes": classes, "resolutions": list(space.resolutions)}
        for space, classes in spaces
    ]
    machines = {board.name, board.blocks_on}
    return TableHeader(
        target=board.name,
        runtime=RUNTIME,
        runtime_version=f"QEMU {qemu_version()}",
        precision=PRECISION,
        statistic="count",
        protocol={
            "method": str(method),
            "compiler": compiler_version(),
            "flags": " ".join(board.core.flags),
            "kernels": kernels_digest(),
        },
        device={"class": "mcu", "core": board.core.name, "board": board.name},
        space={**described[0], **({"also": described[1:]} if len(described) > 1 else {})},
        sittings={"log_error": 0.0},  # the same to the last digit each time
        origin=Origin(
            OriginKind.MEASURED_EMULATED, f"QEMU {qemu_version()} ({', '.join(sorted(machines))})", time.strftime("%F")
        ),
        notes=(f"blocks are counted layer by layer on {board.blocks_on}, which has memory for all of them",),
    )


def _table(
    header: TableHeader,
    blocks: Mapping[BlockSpec, Count],
    networks: Sequence[tuple[NetworkWork, float]],
    unit: str,
) -> LatencyTable:
    counted = unit == INSTRUCTIONS
    kind = OriginKind.MEASURED_EMULATED if counted else OriginKind.MODELLED
    if not counted:
        source = "instructions counted in QEMU, weighted by class as a Cortex-M4 without wait states takes them"
        header = replace(header, origin=Origin(kind, source=source))
    entries = {
        block: BlockEntry(count.instructions if counted else count.cycles or 0.0, count=1, origin=kind)
        for block, count in blocks.items()
    }
    whole = tuple(
        NetworkEntry(
            work.name, work.space.name, work.num_classes, work.space.to_json(work.arch), work.role, figure, count=1
        )
        for work, figure in networks
    )
    return LatencyTable(replace(header, unit=unit), entries, whole)


def _checked(
    table: LatencyTable, spaces: Sequence[tuple[SearchSpace, int]]
) -> tuple[LatencyTable, tuple[TableReport, ...]]:
    from nas_edge.latency.check import check_table

    reports = tuple(check_table(table, space, classes) for space, classes in spaces)
    errors = {report.space: report.holdout.to_json() for report in reports if report.holdout is not None}
    figures = {"holdout": next(iter(errors.values()))} if errors else {}
    return table.with_figures({**figures, **({"holdout_by_space": errors} if len(errors) > 1 else {})}), reports
