"""What is read from a Linux machine to know it: files of /proc and /sys, and what some tools print.

Local and remote devices differ in how these texts are got alone, not in what is made of them.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

_CPUS = "/sys/devices/system/cpu"
FINGERPRINT_FILES = (
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/self/status",
    "/proc/device-tree/model",
    "/etc/os-release",
    "/etc/machine-id",
    "/proc/sys/kernel/osrelease",
    f"{_CPUS}/present",
    f"{_CPUS}/cpu0/cache/index*/size",
)
STATE_FILES = (
    "/proc/loadavg",
    "/proc/cpuinfo",
    f"{_CPUS}/cpu0/cpufreq/scaling_governor",
    f"{_CPUS}/cpu[0-9]*/cpufreq/scaling_cur_freq",
    "/sys/class/thermal/thermal_zone*/temp",
    "/sys/class/devfreq/*.g*/cur_freq",  # of a Jetson's GPU: 57000000.gpu, 17000000.gp10b, .gv11b, .ga10b
    "/sys/class/devfreq/*.g*/min_freq",
    "/sys/class/devfreq/*.g*/max_freq",
)
POWER_TOOLS = {"nvpmodel -q": ("nvpmodel", "-q"), "vcgencmd get_throttled": ("vcgencmd", "get_throttled")}
_HEADING = re.compile(r"^==> (.+)$", re.MULTILINE)


def read_local(patterns: Sequence[str]) -> dict[str, str]:
    """Texts of the files at hand by path; what cannot be read is left out."""
    found = {}
    for pattern in patterns:
        for path in sorted(Path("/").glob(pattern.lstrip("/"))):
            try:
                found[str(path)] = path.read_text(encoding="utf-8", errors="replace").strip("\0\n ")
            except OSError:
                continue
    return found


def ask_power_tools() -> dict[str, str]:
    """What the boards' own tools say of power mode and throttling; nothing on machines without them."""
    found = {}
    for name, argv in POWER_TOOLS.items():
        try:
            done = subprocess.run(argv, capture_output=True, text=True, timeout=5, check=False)  # noqa: S603 - constants
        except (OSError, subprocess.TimeoutExpired):
            continue
        found[name] = done.stdout.strip()
    return found


def parse_sections(text: str) -> dict[str, str]:
    """What `scripts.SECTIONS` prints: text by path or tool."""
    pieces = _HEADING.split(text)
    return {name.strip(): body.strip("\0\n ") for name, body in zip(pieces[1::2], pieces[2::2], strict=True)}


def matching(texts: Mapping[str, str], beginning: str, end: str) -> list[str]:
    """Texts of the paths that begin and end so, in the order of the numbers in them."""
    paths = [path for path in texts if path.startswith(beginning) and path.endswith(end)]
    return [texts[path] for path in sorted(paths, key=lambda path: [int(n) for n in re.findall(r"\d+", path)])]
