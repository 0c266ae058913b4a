"""What a device is: enough to tell whether a measured figure holds for the machine at hand."""

from __future__ import annotations

import hashlib
import os
import platform
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

from nas_edge.errors import FormatError

_VENDORS = {"authenticamd": "amd", "genuineintel": "intel", "hygongenuine": "hygon", "0x41": "arm", "0x61": "apple"}
_NOISE = re.compile(r"\((r|tm)\)|@.*|\b(cpu|processor|with .*|\d+-core)\b", re.IGNORECASE)


@dataclass(frozen=True)
class DeviceFingerprint:
    """A device's identity; unknown fields are "" or 0.

    Attributes:
        cpu: model name.
        vendor, family, model, stepping: of the CPU as its maker counts them (ARM: implementer, part, variant).
        cores: logical CPUs that may be used.
        memory_bytes: main memory.
        cache_bytes: largest cache level.
        os, kernel: operating system and its kernel's release.
        board: model of the board, where the device tree has one.
        machine_id: eight hexadecimal digits that tell two machines of the same kind apart; a hash, for privacy.

    """

    cpu: str
    vendor: str = ""
    family: int = 0
    model: int = 0
    stepping: int = 0
    cores: int = 1
    memory_bytes: int = 0
    cache_bytes: int = 0
    os: str = ""
    kernel: str = ""
    board: str = ""
    machine_id: str = ""

    @property
    def slug(self) -> str:
        """Kind of CPU as a directory name: "cpu-amd-epyc-f26m2". Tables are kept by it."""
        return cpu_slug(self.vendor, self.cpu, self.family, self.model)

    @property
    def machine(self) -> str:
        """One phrase that is equal on the same machine only: the `machine` of an `Origin`.

        The kernel is left out: an update of it does not make another machine.
        """
        gigabytes = round(self.memory_bytes / 2**30)
        parts = [self.board or self.cpu, f"({self.slug})", f"{self.cores} cores", f"{gigabytes} GB", self.os]
        return " ".join(part for part in parts if part) + (f" #{self.machine_id}" if self.machine_id else "")

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> DeviceFingerprint:
        """The inverse of `to_json`. Raises FormatError for unknown keys or values of another type."""
        known = {f.name: (int if f.type == "int" else str) for f in fields(cls)}
        for key, value in data.items():
            if key not in known or not isinstance(value, known[key]):
                raise FormatError(f"device fingerprint: {key!r} = {value!r} does not fit")
        if "cpu" not in data:
            raise FormatError("device fingerprint: 'cpu' is missing")
        return cls(**data)


def cpu_slug(vendor: str, cpu: str, family: int, model: int) -> str:
    """ "AuthenticAMD", "AMD EPYC", 26, 2 -> "cpu-amd-epyc-f26m2". Long model names are cut to three words."""
    maker = _VENDORS.get(vendor.lower(), vendor.lower())
    words = [w for w in re.split(r"[^a-z0-9]+", _NOISE.sub(" ", cpu).lower()) if w and w != maker]
    name = "-".join([w for w in (maker, *words[:3]) if w]) or "unknown"
    return f"cpu-{name}-f{family}m{model}"


@cache
def local_fingerprint() -> DeviceFingerprint:
    """Of the machine at hand, read from /proc and /sys where there are such; never fails."""
    info = _cpuinfo(_read(Path("/proc/cpuinfo")))
    return DeviceFingerprint(
        cpu=info.get("model name") or _read(Path("/proc/device-tree/model")) or platform.processor() or "unknown CPU",
        vendor=info.get("vendor_id") or info.get("CPU implementer", ""),
        family=_number(info.get("cpu family") or info.get("CPU architecture", "")),
        model=_number(info.get("model") or info.get("CPU part", "")),
        stepping=_number(info.get("stepping") or info.get("CPU revision", "")),
        cores=usable_cores(),
        memory_bytes=_memory_bytes(),
        cache_bytes=_cache_bytes(),
        os=_os_name(),
        kernel=platform.release(),
        board=_read(Path("/proc/device-tree/model")),
        machine_id=_machine_id(),
    )


def usable_cores() -> int:
    """Logical CPUs that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip("\0\n ")
    except OSError:
        return ""


def _cpuinfo(text: str) -> dict[str, str]:
    """Fields of the first CPU."""
    pairs = (line.split(":", 1) for line in text.split("\n\n", maxsplit=1)[0].splitlines() if ":" in line)
    return {key.strip(): value.strip() for key, value in pairs}


def _number(text: str) -> int:
    try:
        return int(text, 0)
    except ValueError:
        return 0


def _memory_bytes() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return 0


def _cache_bytes() -> int:
    sizes = [_read(path) for path in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size")]
    return max((_number(size[:-1]) * 1024 for size in sizes if size.endswith("K")), default=0)


def _os_name() -> str:
    match = re.search(r'^PRETTY_NAME="?([^"\n]*)', _read(Path("/etc/os-release")), re.MULTILINE)
    return match[1] if match else f"{platform.system()} {platform.release()}"


def _machine_id() -> str:
    text = _read(Path("/etc/machine-id"))
    return hashlib.sha256(f"nas-edge {text}".encode()).hexdigest()[:8] if text else ""
