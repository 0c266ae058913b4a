"""What a profile of a microcontroller says: instructions counted, memory taken, milliseconds modelled."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas_edge.origin import Origin
from nas_edge.pipeline.report import Success
from nas_edge.units import format_bytes, format_count, format_ms

if TYPE_CHECKING:
    from nas_edge.mcu.counted import CountedNetwork
    from nas_edge.mcu.timing import CoreTiming

_SHOWN_LAYERS = 12


@dataclass(frozen=True)
class CountedReport(Success):
    """One network counted in the emulator.

    Attributes:
        subject: the run or the file.
        target: that was asked for.
        counted: what the emulator told.
        predicted: instructions by the target's table; None for a file of which nothing is known.
        timing: how cycles become milliseconds on the core.
        agreement: images on which ONNX Runtime's answer is the firmware's, and images in all.
        artefact: what was run, in words.
        origin: of the counts.

    """

    subject: Path
    target: str
    counted: CountedNetwork
    predicted: float | None
    timing: CoreTiming
    agreement: tuple[int, int]
    artefact: str
    origin: Origin

    @property
    def error_percent(self) -> float | None:
        """Predicted against counted, positive where the prediction was too high."""
        return None if self.predicted is None else 100 * (self.predicted / self.counted.instructions - 1)

    @property
    def modelled_ms(self) -> tuple[float, float, float] | None:
        """Point, low and high at the chip's greatest clock; None where a timer counted, which sees no classes."""
        cycles, clock_hz = self.counted.run.total.cycles, self.counted.board.clock_hz
        if cycles is None:
            return None
        return (self.timing.ms(cycles, clock_hz), *self.timing.bounds(cycles, clock_hz))

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        counted, modelled = self.counted, self.modelled_ms
        board, run = counted.board, counted.run
        return {
            "subject": str(self.subject),
            "target": self.target,
            "artefact": self.artefact,
            "instructions": {
                "counted": counted.instructions,
                "predicted": self.predicted,
                "error_percent": self.error_percent,
                "per_mac": counted.instructions / counted.graph.macs,
                "unit": "instructions",
            },
            "layers": [
                {
                    "name": name,
                    "kind": kind,
                    "macs": macs,
                    "instructions": count.instructions,
                    "classes": dict(count.classes),
                }
                for name, kind, macs, count in counted.layers()
            ],
            "classes": dict(run.total.classes),
            "memory": {
                "arena_bytes": counted.plan.arena_bytes,
                "stack_bytes": run.stack_bytes,
                "static_ram_bytes": run.firmware.static_ram_bytes,
                "sram_bytes": board.sram.size_bytes,
                "flash_bytes": run.firmware.flash_bytes,
                "flash_limit_bytes": board.flash.size_bytes,
                "peak": counted.plan.describe_peak(),
            },
            "latency_ms": None
            if modelled is None
            else {
                **dict(zip(("modelled", "low", "high"), modelled, strict=True)),
                "clock_hz": board.clock_hz,
                "cycles": run.total.cycles,
                "interval": self.timing.describe(),
                "origin": "modelled",
            },
            "outputs": {
                "bit_identical_to_reference": counted.equal,
                "images": self.agreement[1],
                "same_class_as_onnxruntime": self.agreement[0],
            },
            "method": str(run.method),
            "emulator": run.emulator,
            "silicon_measured": False,
            "origin": self.origin.to_json(),
        }

    def lines(self) -> list[str]:
        """For a person."""
        counted, run = self.counted, self.counted.run
        board = counted.board
        stand_in = "" if board.emulated else f", in place of {board.name}: the same core"
        each = counted.instructions / counted.graph.macs
        lines = [
            f"COUNTED    {counted.instructions:,.0f} instructions, {each:.2f} for each of"
            f" {format_count(counted.graph.macs)} MACs (in {run.emulator}, by its {run.method}{stand_in})"
        ]
        if self.predicted is not None and self.error_percent is not None:
            side = "above" if self.error_percent > 0 else "below"
            lines.append(
                f"predicted  {self.predicted:,.0f} instructions: {abs(self.error_percent):.2f} % {side} what was "
                "counted"
            )
        lines.append(self._modelled_line())
        arena, static = counted.plan.arena_bytes, run.firmware.static_ram_bytes
        lines += [
            f"SRAM       {format_bytes(static + run.stack_bytes)} of {format_bytes(board.sram.size_bytes)}: arena "
            f"{arena:,} bytes, other variables {static - arena:,}, stack {run.stack_bytes:,} (painted)",
            f"flash      {format_bytes(run.firmware.flash_bytes)} of {format_bytes(board.flash.size_bytes)}: "
            f"{run.firmware.flash_bytes:,} bytes",
            f"outputs    bit-identical to the reference; the class is ONNX Runtime's on {self.agreement[0]} of "
            f"{self.agreement[1]} images",
            *self._layer_lines(),
            f"with       {self.artefact}",
            f"origin     {self.origin.describe()}; no silicon was measured",
        ]
        return lines

    def _modelled_line(self) -> str:
        board = self.counted.board
        if self.modelled_ms is None:
            return "modelled   no milliseconds: a timer counted, which sees no classes of instructions"
        point, low, high = self.modelled_ms
        return (
            f"modelled   {format_ms(point)} at {board.clock_hz / 1e6:g} MHz ({format_ms(low)} to {format_ms(high)}: "
            f"{self.timing.describe()})"
        )

    def _layer_lines(self) -> list[str]:
        """The layers that take most, in the order they run."""
        layers = self.counted.layers()
        shown = sorted(layers, key=lambda one: -one[3].instructions)[:_SHOWN_LAYERS]
        whole = self.counted.instructions
        lines = [
            f"layer      {name:16} {kind:10} {count.instructions:>12,.0f} {count.instructions / whole:6.1%}"
            + (f"  {count.instructions / macs:.2f} a MAC" if macs else "")
            for name, kind, macs, count in layers
            if any(name == other for other, *_ in shown)
        ]
        left = len(layers) - len(shown)
        return lines + ([f"layer      and {left} smaller ones (--json lists all)"] if left else [])
