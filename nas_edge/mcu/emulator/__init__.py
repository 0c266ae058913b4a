"""Firmware in QEMU: run headless, every instruction counted."""

from nas_edge.mcu.emulator.counting import EmulatedRun, Method, best_method, count_firmware
from nas_edge.mcu.emulator.counts import Count

__all__ = ["Count", "EmulatedRun", "Method", "best_method", "count_firmware"]
