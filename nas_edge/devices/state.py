"""How a device is at one moment: what may explain a figure that looks odd later."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nas_edge.errors import FormatError


@dataclass(frozen=True)
class DeviceState:
    """Everything but the date may be unknown (None).

    Attributes:
        date: UTC, ISO format, seconds.
        load: processes that want a core, mean of the last minute.
        governor: of the CPU's frequency ("performance", "schedutil" ...).
        clock_mhz: of each core.
        temperature_c: of the hottest sensor.

    """

    date: str
    load: float | None = None
    governor: str | None = None
    clock_mhz: tuple[float, ...] | None = None
    temperature_c: float | None = None

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> DeviceState:
        """The inverse of `to_json`. Raises FormatError for unknown or missing keys."""
        try:
            clocks = data.get("clock_mhz")
            return cls(**{**data, "clock_mhz": None if clocks is None else tuple(float(c) for c in clocks)})
        except (TypeError, ValueError) as error:
            raise FormatError(f"device state: does not fit ({error})") from error


def local_state() -> DeviceState:
    """Of the machine at hand; what cannot be read is None."""
    cpus = Path("/sys/devices/system/cpu")
    return DeviceState(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        load=round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        governor=_text(cpus / "cpu0/cpufreq/scaling_governor"),
        clock_mhz=_clocks(cpus),
        temperature_c=_hottest(Path("/sys/class/thermal")),
    )


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


def _clocks(cpus: Path) -> tuple[float, ...] | None:
    khz = [_text(path) for path in sorted(cpus.glob("cpu[0-9]*/cpufreq/scaling_cur_freq"))]
    if found := tuple(float(value) / 1e3 for value in khz if value and value.isdigit()):
        return found
    listed = re.findall(r"^cpu MHz\s*:\s*([\d.]+)", _text(Path("/proc/cpuinfo")) or "", re.MULTILINE)
    return tuple(float(value) for value in listed) or None


def _hottest(zones: Path) -> float | None:
    values = [_text(path) for path in zones.glob("thermal_zone*/temp")]
    degrees = [int(value) / 1000 for value in values if value and value.lstrip("-").isdigit()]
    return max(degrees, default=None)
