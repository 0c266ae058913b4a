"""Compiled kernels, kept: they are the same for every network on a core, and take most of the time to compile."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from nas_edge import resources
from nas_edge.errors import ExportError
from nas_edge.files import make_directory, write_atomic
from nas_edge.mcu.toolchain import ARM_GCC, run_tool

_PREFIX = "nas_"  # of the kernels' files, beside which a network has its own


def kernel_objects(network: Path, flags: Sequence[str], compiler: str) -> list[Path]:
    """Objects of the kernels that lie in a network's directory, from the user's cache or compiled into it.

    Args:
        network: directory with the kernels' sources and headers.
        flags: of the compiler, all that change its output.
        compiler: name and version.

    Raises:
        ExportError: they do not compile. DeviceError: the compiler is missing. ConfigError, StorageError: no cache.

    """
    headers = b"".join(path.read_bytes() for path in sorted(network.glob(f"{_PREFIX}*.h")))
    cache = resources.cache_directory() / "mcu-objects"
    objects = []
    for source in sorted(network.glob(f"{_PREFIX}*.c")):
        key = hashlib.sha256("\0".join([compiler, *flags, source.name]).encode())
        key.update(headers)
        key.update(source.read_bytes())
        compiled = cache / f"{source.stem}-{key.hexdigest()[:24]}.o"
        if not compiled.is_file():
            make_directory(cache)
            write_atomic(compiled, lambda to, source=source: _compile(source, to, flags))  # type: ignore[misc]
        objects.append(compiled)
    return objects


def is_kernel(path: Path) -> bool:
    """Whether a C file of a network's directory is a kernel's."""
    return path.name.startswith(_PREFIX)


def _compile(source: Path, to: Path, flags: Sequence[str]) -> None:
    done = run_tool(ARM_GCC, [*flags, "-c", source.name, "-o", to], source.parent)
    if done.returncode:
        told = [line for line in done.stderr.splitlines() if "error" in line] or [done.stderr.strip() or "no message"]
        raise ExportError(f"{source.name} does not compile: {told[0].strip()[:300]}")
