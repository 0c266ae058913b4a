"""Milliseconds on real chips, modelled from counted instructions and published figures."""

from nas_edge.mcu.timing.model import CoreTiming, Published, core_timing, published

__all__ = ["CoreTiming", "Published", "core_timing", "published"]
