"""What a found network takes of a microcontroller's memory, part by part."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from nas_edge.units import format_bytes

if TYPE_CHECKING:
    from nas_edge.pipeline.searching.task import SearchTask
    from nas_edge.spaces import Population


@dataclass(frozen=True)
class MemoryFigure:
    """Bytes of the firmware that would be generated; arena and parameters exact, the others upper limits.

    Attributes:
        arena_bytes: RAM for activations and scratch.
        stack_bytes, variables_bytes: RAM besides.
        parameter_bytes: flash for weights, biases and multipliers.
        code_bytes: flash for the rest.
        peak: the layer that the arena is as large as it is for, in words.

    """

    arena_bytes: int
    stack_bytes: int
    variables_bytes: int
    parameter_bytes: int
    code_bytes: int
    peak: str

    @property
    def sram_bytes(self) -> int:
        """All RAM."""
        return self.arena_bytes + self.stack_bytes + self.variables_bytes

    @property
    def flash_bytes(self) -> int:
        """All flash."""
        return self.parameter_bytes + self.code_bytes

    def to_json(self) -> dict[str, Any]:
        """Plain data, with the sums."""
        return {"sram_bytes": self.sram_bytes, "flash_bytes": self.flash_bytes, **asdict(self)}

    def lines(self) -> list[str]:
        """For a person."""
        arena, stack, variables, parameters, code = map(
            format_bytes,
            (self.arena_bytes, self.stack_bytes, self.variables_bytes, self.parameter_bytes, self.code_bytes),
        )
        return [
            f"sram       {format_bytes(self.sram_bytes)}: arena {arena}, stack up to {stack}, variables {variables}",
            f"flash      {format_bytes(self.flash_bytes)}: parameters {parameters}, code up to {code}",
            f"peak       {self.peak}",
        ]


def memory_figure(task: SearchTask, arch: Population) -> MemoryFigure | None:
    """The memory of one architecture, int8 [genes]; None where no target is a microcontroller."""
    from nas_edge.pipeline.devices.microcontrollers import firmware_of

    firmware = next((found for aim in task.aims if (found := firmware_of(aim.target)) is not None), None)
    if firmware is None:
        return None
    from nas_edge.memory import layers_of, plan_memory
    from nas_edge.memory.population import PopulationMemory
    from nas_edge.spaces import Precision

    source, base = task.source, task.source.space.base
    row = task.source.space.of_base(arch[None])
    memory = PopulationMemory.of(base, source.num_classes, firmware)
    plan = plan_memory(layers_of(base.lower(row[0], source.num_classes, Precision.INT8)))
    parameters = int(memory.parameter_bytes(row)[0])
    return MemoryFigure(
        arena_bytes=plan.arena_bytes,
        stack_bytes=firmware.stack_bytes,
        variables_bytes=firmware.variable_bytes(source.num_classes),
        parameter_bytes=parameters,
        code_bytes=int(memory.flash_bytes(row)[0]) - parameters,
        peak=plan.describe_peak(),
    )
