"""The linker script of a board: what lies where, within what the chip really has."""

from __future__ import annotations

from nas_edge.mcu.boards import Board

_SCRIPT = """\
/* {description}. The stack lies at the bottom of the RAM: one that overflows faults at once. */
ENTRY(Reset_Handler)

MEMORY
{{
{memory}
}}

SECTIONS
{{
    .text :
    {{
        KEEP(*(.vectors))
        *(.text*) *(.rodata*)
        . = ALIGN(4);
    }} > flash
    .ARM.exidx : {{ *(.ARM.exidx*) }} > flash
    .stack (NOLOAD) :
    {{
        __stack_limit = .;
        . += {stack_bytes};
        . = ALIGN(8);
        __stack_top = .;
    }} > sram
    .data :
    {{
        __data_start = .;
        *(.data*)
        . = ALIGN(4);
        __data_end = .;
    }} > sram AT > flash
    __data_load = LOADADDR(.data);
    .bss (NOLOAD) :
    {{
        __bss_start = .;
        *(.bss*) *(COMMON)
        . = ALIGN(8);
        __bss_end = .;
    }} > sram
    end = .;
}}
"""


def link_script(board: Board, stack_bytes: int) -> str:
    """GNU ld's script for a board.

    Args:
        board: its regions are given to the linker with their true sizes: what does not fit is a link error.
        stack_bytes: that are set aside for the stack, a multiple of 8.

    """
    memory = "\n".join(
        f"    {region.name} ({'rx' if region.kind == 'flash' else 'rwx'}) : "
        f"ORIGIN = {region.origin:#010x}, LENGTH = {region.size_bytes:#x}"
        for region in board.regions.values()
    )
    return _SCRIPT.format(description=board.description, memory=memory, stack_bytes=stack_bytes)
