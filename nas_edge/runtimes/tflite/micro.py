"""TensorFlow Lite Micro, as its Python wheel has it: what a file computes there, and the arena that it needs.

It runs in a process of its own: it tells its allocations on the standard error of the whole process, and a file that it
cannot run may end that process.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas_edge.errors import MeasurementError, MissingExtraError

_ALLOCATION = re.compile(r"Arena allocation (total|head|tail) (\d+) bytes")
_TIMEOUT_S = 300.0
_PROCESS = """
import sys
import numpy as np
from tflite_micro.python.tflite_micro import runtime

data, images = open(sys.argv[1], "rb").read(), np.load(sys.argv[2], allow_pickle=False)
size = 2**18
while True:
    try:
        network = runtime.Interpreter.from_bytes(data, arena_size=size)
        break
    except RuntimeError:
        if size >= 2**28:
            raise
        size *= 4
found = []
for image in images:
    network.set_input(image[None], 0)
    network.invoke()
    found.append(network.get_output(0))
np.save(sys.argv[3], np.concatenate(found))
network.print_allocations()
"""


@dataclass(frozen=True)
class MicroRun:
    """What TensorFlow Lite Micro made of a file.

    Attributes:
        outputs: one row an image, as the file gives them.
        arena_bytes: all of the arena.
        head_bytes: activations and scratch, planned to overlap: as on a microcontroller.
        tail_bytes: structures that stay, whose pointers have 64 bits here and 32 there: more than on one.

    """

    outputs: NDArray[Any]
    arena_bytes: int
    head_bytes: int
    tail_bytes: int


def run_micro(file: bytes, images: NDArray[Any]) -> MicroRun:
    """Run a `.tflite` file on images, one at a time.

    Args:
        file: with one input and one output.
        images: [n, height, width, channels], of the type that the file takes.

    Raises:
        MeasurementError: it cannot be run there; what TensorFlow Lite Micro says of it. MissingExtraError.

    """
    if find_spec("tflite_micro") is None:
        raise MissingExtraError("tflite-micro", "mcu", "running a file in TensorFlow Lite Micro")
    with tempfile.TemporaryDirectory(prefix="nas-edge-") as folder:
        model, taken, given = (Path(folder) / name for name in ("model.tflite", "in.npy", "out.npy"))
        model.write_bytes(file)
        np.save(taken, images, allow_pickle=False)
        command = [sys.executable, "-c", _PROCESS, str(model), str(taken), str(given)]
        try:
            done = subprocess.run(  # noqa: S603 - this interpreter, on files of its own
                command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise MeasurementError(f"TensorFlow Lite Micro has not ended after {_TIMEOUT_S:.0f} s") from error
        sizes = {kind: int(size) for kind, size in _ALLOCATION.findall(done.stderr)}
        if done.returncode or not {"total", "head", "tail"} <= sizes.keys():
            raise MeasurementError(f"TensorFlow Lite Micro does not run the file: {_reason(done.stderr)}")
        outputs = np.load(given, allow_pickle=False)
    return MicroRun(outputs, sizes["total"], sizes["head"], sizes["tail"])


def _reason(text: str) -> str:
    """Its own complaint, which comes before Python's."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    told = [line for line in lines if not line.startswith(("Traceback", "File", "INFO", "WARNING"))]
    return (told or ["it ended without a word"])[0][:300]
