"""What a region of a run took: instructions, their classes, and cycles of a plain pipeline."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nas_edge.errors import MeasurementError
from nas_edge.mcu.emulator.disassembly import (
    PIPELINED_LOAD_SAVES,
    TAKEN_BRANCH_CYCLES,
    UNKNOWN,
    Instruction,
    InstructionClass,
)


@dataclass(frozen=True)
class Count:
    """What was executed.

    Attributes:
        instructions: number of them; by a timer to within one tick of it.
        classes: of each class; empty where a timer counted.
        cycles: modelled, of a Cortex-M4 pipeline without wait states: its loads, stores, multiples, divisions and taken
            branches weighted; None where a timer counted. Other cores are calibrated against it.

    """

    instructions: float
    classes: Mapping[str, float] = field(default_factory=dict)
    cycles: float | None = None

    def per_run(self, runs: int, empty: Count, entries: float = 1.0) -> Count:
        """The mean of some runs, without what counting itself took at each of `entries` beginnings of a run."""
        keys = dict.fromkeys((*self.classes, *empty.classes))
        classes = {key: self.classes.get(key, 0.0) / runs - entries * empty.classes.get(key, 0.0) for key in keys}
        cycles = None
        if self.cycles is not None and empty.cycles is not None:
            cycles = max(0.0, self.cycles / runs - entries * empty.cycles)
        instructions = max(0.0, self.instructions / runs - entries * empty.instructions)
        return Count(instructions, {key: value for key, value in classes.items() if value > 0}, cycles)


def total(counts: Iterable[Count]) -> Count:
    """The sum."""
    counts = list(counts)
    classes: Counter[str] = Counter()
    for count in counts:
        classes.update(count.classes)
    known = [count.cycles for count in counts if count.cycles is not None]
    cycles = sum(known) if len(known) == len(counts) else None
    return Count(sum(count.instructions for count in counts), dict(classes), cycles)


def read_plugin_counts(path: Path, program: Mapping[int, Instruction]) -> dict[int, Count]:
    """What the counting plugin wrote, by region.

    Args:
        path: the plugin's file.
        program: instructions by address.

    Raises:
        MeasurementError: there is no such file, or it is not whole.

    """
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except OSError as error:
        raise MeasurementError(f"the counting plugin wrote nothing ({error.strerror})") from error
    if not lines or lines[-1] != "end":
        raise MeasurementError("the counting plugin was cut off while it wrote")
    instructions: Counter[int] = Counter()
    cycles: Counter[int] = Counter()
    classes: dict[int, Counter[str]] = {}
    known: dict[tuple[str, ...], tuple[int, Counter[str]]] = {}
    for line in lines[:-1]:
        first, executed_text, left_text, *addresses = line.split()
        region, executed, left = int(first), int(executed_text), int(left_text)
        block = tuple(addresses)
        if block not in known:
            known[block] = _block([program.get(int(address, 16), UNKNOWN) for address in block])
        block_cycles, kinds = known[block]
        instructions[region] += executed * len(block)
        cycles[region] += executed * block_cycles + left * TAKEN_BRANCH_CYCLES
        own = classes.setdefault(region, Counter())
        for kind, count in kinds.items():
            own[kind] += executed * count
    return {
        region: Count(
            instructions[region], {key: float(value) for key, value in classes[region].items()}, cycles[region]
        )
        for region in instructions
    }


def _block(block: Sequence[Instruction]) -> tuple[int, Counter[str]]:
    """Cycles and classes of instructions in a row: a load right after a load hides one cycle of it."""
    cycles, after_load = 0, False
    kinds: Counter[str] = Counter()
    for instruction in block:
        is_load = instruction.kind is InstructionClass.LOAD
        cycles += instruction.cycles - (PIPELINED_LOAD_SAVES if is_load and after_load else 0)
        kinds[instruction.kind.value] += 1
        after_load = is_load
    return cycles, kinds
