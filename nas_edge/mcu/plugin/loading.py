"""The counting plugin compiled for the QEMU at hand, where that can load it."""

from __future__ import annotations

import hashlib
from pathlib import Path

from nas_edge import resources
from nas_edge.errors import MeasurementError
from nas_edge.files import make_directory, write_atomic
from nas_edge.mcu.toolchain import HOST_GCC, missing_tools, run_tool

SOURCE = Path(__file__).parent / "nas_count.c"
PLUGIN_QEMU = ("7", "2")
"""The series of QEMU whose plugin interface the source declares. Others count by a timer."""

_FLAGS = ("-std=gnu11", "-O2", "-fvisibility=hidden", "-shared", "-fPIC")


def plugin_library(qemu_version: str) -> Path | None:
    """The compiled plugin, kept in the user's cache; None where this QEMU or this machine cannot have it.

    Args:
        qemu_version: "7.2.22".

    Raises:
        MeasurementError: the compiler is there and fails.

    """
    if tuple(qemu_version.split(".")[:2]) != PLUGIN_QEMU or missing_tools(HOST_GCC):
        return None
    digest = hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:16]
    library = resources.cache_directory() / "qemu-plugins" / f"nas_count-{digest}.so"
    if not library.is_file():
        make_directory(library.parent)
        write_atomic(library, _compile)
    return library


def _compile(to: Path) -> None:
    done = run_tool(HOST_GCC, [*_FLAGS, SOURCE, "-o", to])
    if done.returncode:
        first = (done.stderr.strip().splitlines() or ["no message"])[0]
        raise MeasurementError(f"the counting plugin does not compile: {first}")
