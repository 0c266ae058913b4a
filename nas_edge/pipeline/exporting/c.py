"""Export as C: the generated library beside labels and card, proved on this machine before it is handed out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nas_edge.errors import ExportError, ParityError, UnknownNameError
from nas_edge.memory import layers_of, plan_memory
from nas_edge.memory.firmware import FirmwareSize
from nas_edge.memory.regions import regions_for
from nas_edge.pipeline.devices.microcontrollers import firmware_of, memory_limits
from nas_edge.pipeline.devices.targets import Target, load_target
from nas_edge.units import format_bytes

if TYPE_CHECKING:
    from nas_edge.data import Preprocess
    from nas_edge.export.deploy import Figure
    from nas_edge.mcu.graph import Int8Graph
    from nas_edge.spaces import BlockSpec

SOURCE = "net.c"
_COMPARED = 64  # images on which every bit is compared with the reference


class HostBuilt:
    """The generated C of an int8 ONNX file, compiled for this machine, as `export.parity` asks for answers.

    The first images are computed by the numpy reference as well, and must agree in every bit.

    Raises:
        DeviceError: no C compiler. ExportError: the file has layers that no kernel computes.

    """

    def __init__(self, model: bytes) -> None:
        from nas_edge.mcu.codegen import build_for_host, generate

        self.graph = graph_of(model)
        self._build = build_for_host(generate(self.graph), self.graph.input, self.graph.output)
        self._left = _COMPARED
        self.runtime = "generated C on this machine"

    def logits(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32 [n, classes] of normalised images float32 [n, 3, side, side]. Raises ParityError."""
        taken, given = self.graph.input, self.graph.output
        codes = np.rint(batch.transpose(0, 2, 3, 1) / np.float32(taken.scale)) + taken.zero_point
        codes = np.ascontiguousarray(np.clip(codes, -128, 127).astype(np.int8))
        found = self._build.run(codes)
        if self._left > 0:
            from nas_edge.mcu import reference

            part = codes[: self._left]
            if not np.array_equal(found[: len(part)], reference.run(self.graph, part)):
                raise ParityError("the generated C does not compute what the int8 graph computes; please report this")
            self._left -= len(part)
        real = (found.reshape(len(found), -1).astype(np.float32) - given.zero_point) * np.float32(given.scale)
        logits: NDArray[np.float32] = real.astype(np.float32)
        return logits


@dataclass(frozen=True)
class Chip:
    """The microcontroller that C is written for.

    Attributes:
        target: its name.
        firmware: what comes on top of the network there.
        sram_bytes, flash_bytes: that firmware may take.
        regions: bytes of each memory by name, as the target has them.

    """

    target: str
    firmware: FirmwareSize
    sram_bytes: int
    flash_bytes: int
    regions: Mapping[str, int]

    @classmethod
    def of(cls, name: str) -> Chip | None:
        """The target of a name; None where it is no microcontroller, or is known no more."""
        try:
            target: Target = load_target(name)
        except UnknownNameError:
            return None
        firmware, limits = firmware_of(target), memory_limits(target)
        if firmware is None:
            return None
        regions = {**target.memory, **limits}
        return cls(target.name, firmware, limits["sram"], limits["flash"], regions)

    def homes(self, arena_bytes: int, num_classes: int) -> tuple[str, ...]:
        """Regions of RAM that can hold an arena, in the target's order."""
        others = self.firmware.sram_bytes(0, num_classes)
        return regions_for(arena_bytes, others, self.regions)

    def refuse_too_large(self, blocks: Sequence[BlockSpec]) -> None:
        """Raise ExportError where a network does not fit: by how many bytes, and for which layer."""
        layers = layers_of(blocks)
        plan = plan_memory(layers)
        sram = self.firmware.sram_bytes(plan.arena_bytes, blocks[-1].out_channels)
        flash = self.firmware.flash_bytes(layers)
        # Another region may hold the arena: NET_ARENA_SECTION of the generated code chooses it.
        if not self.homes(plan.arena_bytes, blocks[-1].out_channels):
            raise ExportError(
                f"the network needs {format_bytes(sram)} of SRAM, {sram - self.sram_bytes:,} bytes more than the "
                f"{format_bytes(self.sram_bytes)} of {self.target}: {plan.describe_peak()}; search with "
                f"--sram {self.sram_bytes}B, or at fewer pixels"
            )
        if flash > self.flash_bytes:
            widest = max(layers, key=lambda layer: self.firmware.flash_bytes([layer]))
            raise ExportError(
                f"the network needs {format_bytes(flash)} of flash, {flash - self.flash_bytes:,} bytes more than the "
                f"{format_bytes(self.flash_bytes)} of {self.target}; most is taken by layer {widest.name}; search with "
                f"--flash {self.flash_bytes}B"
            )


def graph_of(model: bytes, name: str = "") -> Int8Graph:
    """The int8 graph of a serialised ONNX file. Raises ExportError as `read_graph`."""
    import onnx

    from nas_edge.mcu.from_onnx import read_graph

    graph = read_graph(onnx.load_from_string(model))
    return replace(graph, name=name) if name else graph


def write_c(
    directory: Path, model: bytes, title: str, classes: Sequence[str], preprocess: Preprocess, chip: Chip | None
) -> tuple[tuple[Figure, ...], tuple[str, ...]]:
    """Write the library of an int8 ONNX file into a folder.

    Args:
        directory: that labels and card are written to as well.
        model: serialised.
        title: of the network, for its README.
        classes: names.
        preprocess: how pixels become real values.
        chip: that it is for, None where nobody has said.

    Returns:
        Figures for the card, and notes for whoever exports.

    Raises:
        ExportError: a layer that no kernel computes. ConfigError, StorageError: not writable, disk full.

    """
    from nas_edge.export.deploy import Figure
    from nas_edge.mcu.codegen import Pixels, generate, plan_graph, write_library
    from nas_edge.memory import parameter_bytes

    graph = graph_of(model, title)
    plan = plan_graph(graph)
    layers = [item.layer for item in graph.layers]
    parameters = sum(parameter_bytes(layer) for layer in layers)
    figures = [
        Figure("arena (RAM)", f"{plan.arena_bytes:,} bytes", "as the generated code has it"),
        Figure("weights (flash)", f"{parameters:,} bytes", "as the generated code has it"),
    ]
    facts, notes = [], [f"arena {format_bytes(plan.arena_bytes)}, weights {format_bytes(parameters)}"]
    if chip is not None:
        sram = chip.firmware.sram_bytes(plan.arena_bytes, len(classes))
        flash = chip.firmware.flash_bytes(layers)
        core = chip.firmware.core
        figures.append(Figure("SRAM", f"{sram:,} bytes", f"modelled upper limit: arena, stack, variables on {core}"))
        figures.append(Figure("flash", f"{flash:,} bytes", f"modelled upper limit: weights and code on {core}"))
        facts.append(f"| RAM with stack and variables, {core}: at most | {sram:,} bytes |")
        homes = ", ".join(f"`{name}`" for name in chip.homes(plan.arena_bytes, len(classes)))
        facts.append(f"| memories of {chip.target} that hold the arena | {homes} |")
        facts.append(f"| flash with code, {core}: at most | {flash:,} bytes |")
        notes.append(
            f"on {chip.target} at most {format_bytes(sram)} of {format_bytes(chip.sram_bytes)} SRAM (stack up to "
            f"{format_bytes(chip.firmware.stack_bytes)}) and {format_bytes(flash)} of {format_bytes(chip.flash_bytes)} "
            "flash"
        )
    pixels = Pixels(tuple(map(float, preprocess.mean)), tuple(map(float, preprocess.std)))
    write_library(directory, generate(graph, pixels=pixels, labels=classes, facts=facts))
    notes.append(f"{_COMPARED} images agree with the numpy reference in every bit; {SOURCE} and README.md say the rest")
    return tuple(figures), tuple(notes)
