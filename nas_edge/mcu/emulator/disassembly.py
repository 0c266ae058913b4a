"""What each address of a program holds: the class of its instruction, and what it costs on a plain pipeline."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from nas_edge.errors import MeasurementError
from nas_edge.mcu.toolchain import run_tool


class InstructionClass(StrEnum):
    """What an instruction does, as far as its time depends on it."""

    ALU = "alu"
    MULTIPLY = "multiply"
    LOAD = "load"
    STORE = "store"
    MULTIPLE = "load/store multiple"
    BRANCH = "branch"
    DIVIDE = "divide"
    VECTOR = "vector"


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction.

    Attributes:
        kind: its class.
        cycles: on a Cortex-M4 without wait states, not following another load, not taken.

    """

    kind: InstructionClass
    cycles: int


UNKNOWN = Instruction(InstructionClass.ALU, 1)
PIPELINED_LOAD_SAVES = 1
TAKEN_BRANCH_CYCLES = 2
_LINE = re.compile(r"\s*([0-9a-f]+):\t[0-9a-f ]+\t(\S+)\s*(.*)")
_RANGE = re.compile(r"[a-z](\d+)-[a-z](\d+)")
_NOT_BRANCHES = ("bic", "bfi", "bfc", "bkpt")
_MULTIPLIES = ("smla", "smul", "mla", "mul", "smmul", "smmla", "mls", "smlal", "umull", "smull", "umlal", "smu", "sml")
_LDM = ("ldm", "stm", "pop", "push", "vldm", "vstm", "vpop", "vpush")


def disassemble(elf: Path) -> dict[int, Instruction]:
    """Every instruction of a program by its address. Raises DeviceError, MeasurementError where objdump fails."""
    done = run_tool("arm-none-eabi-objdump", ["-d", elf])
    if done.returncode:
        raise MeasurementError(f"{elf.name} cannot be disassembled: {done.stderr.strip()[:200]}")
    found = (_LINE.match(line) for line in done.stdout.splitlines())
    return {int(match[1], 16): classify(match[2], match[3]) for match in found if match}


def classify(mnemonic: str, operands: str) -> Instruction:
    """Class and cycles of one instruction: Arm's Cortex-M4 Technical Reference Manual, section 3.3.1.

    Args:
        mnemonic: as objdump prints it, "ldr.w".
        operands: likewise.

    """
    name = mnemonic.partition(".")[0]
    if name.startswith(_LDM):
        registers = _registers_of(operands)
        return Instruction(InstructionClass.MULTIPLE, 1 + registers)
    if name.startswith("v"):
        return Instruction(InstructionClass.VECTOR, 1)
    if name.startswith("ldr"):
        return Instruction(InstructionClass.LOAD, 3 if name == "ldrd" else 2)
    if name.startswith("str"):
        return Instruction(InstructionClass.STORE, 2 if name == "strd" else 1)
    if name.startswith(("sdiv", "udiv")):
        return Instruction(InstructionClass.DIVIDE, 7)
    if name.startswith(_MULTIPLIES):
        return Instruction(InstructionClass.MULTIPLY, 1)
    if name.startswith(("b", "cb", "tb", "le", "wls", "dls")) and not name.startswith(_NOT_BRANCHES):
        return Instruction(InstructionClass.BRANCH, 1)
    return UNKNOWN


def _registers_of(operands: str) -> int:
    """How many registers a list like "{r4, r5-r7, lr}" names."""
    inside = operands[operands.find("{") + 1 : operands.find("}")]
    ranges = (_RANGE.fullmatch(part.strip()) for part in inside.split(","))
    return sum(int(found[2]) - int(found[1]) + 1 if found else 1 for found in ranges)
