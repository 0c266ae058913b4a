"""How a device is at one moment: what may explain a figure that looks odd later."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from nas_edge.devices.facts import STATE_FILES, ask_power_tools, matching, read_local
from nas_edge.errors import FormatError

_THROTTLED = 0xF  # of the bits of a Raspberry Pi: under-voltage, capped, throttled, too hot, each at this moment


@dataclass(frozen=True)
class DeviceState:
    """Everything but the date may be unknown (None).

    Attributes:
        date: UTC, ISO format, seconds.
        load: processes that want a core, mean of the last minute.
        governor: of the CPU's frequency ("performance", "schedutil" ...).
        clock_mhz: of each core.
        temperature_c: of the hottest sensor.
        power_mode: of a Jetson (`nvpmodel`).
        throttled: whether a Raspberry Pi holds its clock back at this moment.
        gpu_clock_mhz: of a Jetson's GPU.
        clocks_locked: whether that is held at its greatest, as `jetson_clocks` does.

    """

    date: str
    load: float | None = None
    governor: str | None = None
    clock_mhz: tuple[float, ...] | None = None
    temperature_c: float | None = None
    power_mode: str | None = None
    throttled: bool | None = None
    gpu_clock_mhz: float | None = None
    clocks_locked: bool | None = None

    def to_json(self) -> dict[str, Any]:
        """As plain data; what only some boards have is left out elsewhere."""
        data = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}
        return {key: value for key, value in data.items() if value is not None or key not in _BOARDS_ONLY}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> DeviceState:
        """The inverse of `to_json`. Raises FormatError for unknown or missing keys."""
        try:
            clocks = data.get("clock_mhz")
            return cls(**{**data, "clock_mhz": None if clocks is None else tuple(float(c) for c in clocks)})
        except (TypeError, ValueError) as error:
            raise FormatError(f"device state: does not fit ({error})") from error


_BOARDS_ONLY = ("power_mode", "throttled", "gpu_clock_mhz", "clocks_locked")


def local_state() -> DeviceState:
    """Of the machine at hand; what cannot be read is None."""
    return build_state(read_local(STATE_FILES) | ask_power_tools())


def build_state(texts: Mapping[str, str]) -> DeviceState:
    """From the texts of `facts.STATE_FILES` and of the power tools, by path or command."""
    load = texts.get("/proc/loadavg", "").split()
    temperatures = matching(texts, "/sys/class/thermal/", "/temp")
    degrees = [int(value) / 1000 for value in temperatures if re.fullmatch(r"-?\d{1,7}", value)]
    gpu = {key: _gpu_mhz(texts, key) for key in ("cur", "min", "max")}
    return DeviceState(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        load=float(load[0]) if load and re.fullmatch(r"\d{1,6}(\.\d{1,6})?", load[0]) else None,
        governor=texts.get("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        clock_mhz=_clocks(texts),
        temperature_c=max(degrees, default=None),
        power_mode=_power_mode(texts.get("nvpmodel -q", "")),
        throttled=_throttled(texts.get("vcgencmd get_throttled", "")),
        gpu_clock_mhz=gpu["cur"],
        clocks_locked=None if gpu["min"] is None or gpu["max"] is None else gpu["min"] == gpu["max"],
    )


def _clocks(texts: Mapping[str, str]) -> tuple[float, ...] | None:
    khz = matching(texts, "/sys/devices/system/cpu/", "/scaling_cur_freq")
    if found := tuple(float(value) / 1e3 for value in khz if re.fullmatch(r"\d{1,9}", value)):
        return found
    listed = re.findall(r"^cpu MHz\s*:\s*(\d{1,6}(?:\.\d+)?)\s*$", texts.get("/proc/cpuinfo", ""), re.MULTILINE)
    return tuple(float(value) for value in listed) or None


def _gpu_mhz(texts: Mapping[str, str], which: str) -> float | None:
    found = [
        text for text in matching(texts, "/sys/class/devfreq/", f"/{which}_freq") if re.fullmatch(r"\d{1,12}", text)
    ]
    return max(map(int, found)) / 1e6 if found else None


def _power_mode(text: str) -> str | None:
    """ "NV Power Mode: MAXN" and its number on the next line."""
    found = re.search(r"NV Power Mode:\s*(\S+)", text)
    return found[1] if found else None


def _throttled(text: str) -> bool | None:
    found = re.search(r"throttled=(0x[0-9a-fA-F]+)", text)
    return bool(int(found[1], 16) & _THROTTLED) if found else None
