"""Engines that were built are kept on this side: building takes long, and nothing is left on a device.

An engine holds for one model, version of TensorRT and machine. After a reboot, of either side, the next measurement
pushes what is kept and goes on.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas_edge.errors import NasEdgeError
from nas_edge.files import make_directory
from nas_edge.resources import cache_directory

PLANS = "tensorrt_plans"
MOST_BYTES = 4 * 2**30  # of all plans; the least recently used go first


@dataclass(frozen=True)
class PlanKey:
    """What an engine holds for.

    Attributes:
        model_sha256: of the ONNX that was built.
        version: of TensorRT.
        machine: identity of the device.
        precision: that was asked for.
        shapes: of inputs with a dynamic batch.

    """

    model_sha256: str
    version: str
    machine: str
    precision: str
    shapes: tuple[tuple[str, tuple[int, ...]], ...] = ()

    @property
    def name(self) -> str:
        """A file's name: 40 hexadecimal digits."""
        parts: Mapping[str, Any] = {**self.__dict__, "shapes": [[n, list(s)] for n, s in self.shapes]}
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:40]


def plan_file(key: PlanKey) -> Path:
    """Where a plan is kept, or would be."""
    return cache_directory() / PLANS / f"{key.name}.plan"


def kept_plan(key: PlanKey) -> Path | None:
    """A plan that was built before; it counts as used just now."""
    path = plan_file(key)
    if not path.is_file():
        return None
    with contextlib.suppress(OSError):
        path.touch()
    return path


def place_for(key: PlanKey) -> Path | None:
    """Where to put a new plan; makes room. None where the cache cannot be written: plans are then built each time."""
    path = plan_file(key)
    try:
        make_directory(path.parent)
    except NasEdgeError:
        return None
    with contextlib.suppress(OSError):
        files = sorted((f.stat().st_mtime, f.stat().st_size, f) for f in path.parent.glob("*.plan"))
        excess = sum(size for _, size, _ in files) - MOST_BYTES
        for _, size, file in files:
            if excess <= 0:
                break
            file.unlink(missing_ok=True)
            excess -= size
    return path
