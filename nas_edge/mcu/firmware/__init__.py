"""Complete firmware around a network: startup, linker script, counters, transports."""

from nas_edge.mcu.firmware.building import FILES, SERIAL, Firmware, build_firmware

__all__ = ["FILES", "SERIAL", "Firmware", "build_firmware"]
