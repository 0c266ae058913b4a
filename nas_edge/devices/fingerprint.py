"""What a device is: enough to tell whether a measured figure holds for the machine at hand."""

from __future__ import annotations

import hashlib
import os
import platform
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import cache
from typing import Any

from nas_edge.devices.facts import FINGERPRINT_FILES, matching, read_local
from nas_edge.errors import FormatError

# ARM: implementer codes of the Main ID register.
_VENDORS = {
    "authenticamd": "amd", "genuineintel": "intel", "hygongenuine": "hygon", "0x41": "arm", "0x42": "broadcom",
    "0x43": "cavium", "0x46": "fujitsu", "0x48": "hisilicon", "0x4e": "nvidia", "0x51": "qualcomm", "0x53": "samsung",
    "0x61": "apple", "0xc0": "ampere",
}  # fmt: skip
_X86 = ("authenticamd", "genuineintel", "hygongenuine")
_NOISE = re.compile(r"\((r|tm)\)|@.*|\b(cpu|processor|with .*|\d+-core)\b", re.IGNORECASE)


@dataclass(frozen=True)
class DeviceFingerprint:
    """A device's identity; unknown fields are "" or 0.

    Attributes:
        cpu: model name.
        vendor, family, model, stepping: of the CPU as its maker counts them (ARM: implementer, part, variant).
        cores: logical CPUs, whether this process may use them or not.
        memory_bytes: main memory.
        cache_bytes: largest cache level.
        os, kernel: operating system and its kernel's release.
        board: model of the board, where the device tree has one.
        machine_id: eight hexadecimal digits that tell two machines of the same kind apart; a hash, for privacy.
        emulator: what only pretends to be this CPU ("qemu"), "" for a real one: its times are measured-emulated.

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
    emulator: str = ""

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
        """As plain data; `emulator` only where there is one."""
        return {key: value for key, value in asdict(self).items() if value or key != "emulator"}

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
    texts = {"uname -srm": f"{platform.system()} {platform.release()} {platform.machine()}"}
    found = build_fingerprint(texts | read_local(FINGERPRINT_FILES))
    count = os.cpu_count() or 1
    return found if found.cores >= count else replace(found, cores=count)  # systems without /proc


def build_fingerprint(texts: Mapping[str, str]) -> DeviceFingerprint:
    """From the texts of `facts.FINGERPRINT_FILES` and of tools, by path or command; what is missing stays unknown."""
    system, release, architecture = [*texts.get("uname -srm", "").split(), "", "", ""][:3]
    listed = texts.get("/proc/cpuinfo", "")
    info = _cpuinfo(listed)
    board = texts.get("/proc/device-tree/model", "") or texts.get("getprop ro.product.model", "")
    named = info.get("model name") or texts.get("getprop ro.soc.model") or board or info.get("Hardware")
    vendor = info.get("vendor_id") or info.get("CPU implementer", "")
    return DeviceFingerprint(
        cpu=named or platform_name(architecture),
        vendor=vendor,
        family=_number(info.get("cpu family") or info.get("CPU architecture", "")),
        model=_number(info.get("model") or info.get("CPU part", "")),
        stepping=_number(info.get("stepping") or info.get("CPU revision", "")),
        cores=_cores(texts, listed),
        memory_bytes=_memory_bytes(texts.get("/proc/meminfo", "")),
        cache_bytes=_cache_bytes(matching(texts, "/sys/devices/system/cpu/cpu0/cache/", "/size")),
        os=_os_name(texts) or f"{system} {release}".strip(),
        kernel=release or texts.get("/proc/sys/kernel/osrelease", ""),
        board=board,
        machine_id=_machine_id(texts.get("/etc/machine-id", "") or texts.get("getprop ro.serialno", "")),
        emulator=_emulator(architecture, vendor, listed, board),
    )


def platform_name(architecture: str) -> str:
    """A name for a CPU that tells nothing but its architecture."""
    return f"{architecture} CPU" if architecture else "unknown CPU"


def _cpuinfo(text: str) -> dict[str, str]:
    """Fields of the first CPU; on ARM of the last, since little cores come first, and the big ones are measured."""
    blocks = [
        {
            key.strip(): value.strip()
            for key, value in (line.split(":", 1) for line in block.splitlines() if ":" in line)
        }
        for block in re.split(r"\n\s*\n", text)
    ]
    arm = [block for block in blocks if "CPU part" in block]
    common = {key: value for block in blocks if "processor" not in block for key, value in block.items()}
    return common | (arm[-1] if arm else blocks[0])


def _number(text: str) -> int:
    try:
        return int(text, 0)
    except ValueError:
        return 0


def _cores(texts: Mapping[str, str], cpuinfo: str) -> int:
    """All CPUs of the machine: each source may show some of them only (a mask of taskset, big cores that sleep)."""
    allowed = re.search(r"^Cpus_allowed_list:\s*([\d,-]+)", texts.get("/proc/self/status", ""), re.MULTILINE)
    lists = [allowed[1] if allowed else "", texts.get("/sys/devices/system/cpu/present", "")]
    return max(1, len(re.findall(r"^processor\s*:", cpuinfo, re.MULTILINE)), *(_listed(text) for text in lists))


def _listed(cpus: str) -> int:
    """ "0-3,6,7" -> 6; 0 for what is no such list."""
    if not re.fullmatch(r"\d+(-\d+)?(,\d+(-\d+)?)*", cpus):
        return 0
    ends = [part.partition("-") for part in cpus.split(",")]
    return sum(int(last or first) - int(first) + 1 for first, _, last in ends)


def _memory_bytes(meminfo: str) -> int:
    found = re.search(r"^MemTotal:\s*(\d+) kB", meminfo, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def _cache_bytes(sizes: list[str]) -> int:
    return max((_number(size[:-1]) * 1024 for size in sizes if size.endswith("K")), default=0)


def _os_name(texts: Mapping[str, str]) -> str:
    if android := texts.get("getprop ro.build.version.release"):
        return f"Android {android}"
    match = re.search(r'^PRETTY_NAME="?([^"\n]*)', texts.get("/etc/os-release", ""), re.MULTILINE)
    return match[1] if match else ""


def _machine_id(text: str) -> str:
    return hashlib.sha256(f"nas-edge {text}".encode()).hexdigest()[:8] if text else ""


def _emulator(architecture: str, vendor: str, cpuinfo: str, board: str) -> str:
    """Emulators in user mode show the host's CPU beside another architecture; of whole machines, their board."""
    is_x86 = architecture in ("x86_64", "i386", "i486", "i586", "i686", "AMD64")
    if architecture and vendor.lower() in _X86 and not is_x86:
        return "qemu"
    # A virtual machine at native speed has a real CPU's part number; TCG's own "max" CPU has implementer 0.
    emulated = vendor == "0x00" or "QEMU TCG" in cpuinfo or "QEMU Virtual CPU" in cpuinfo
    return "qemu" if emulated or "ranchu" in board or "sdk_gphone" in board else ""
