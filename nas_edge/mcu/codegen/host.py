"""The generated C on this machine: compiled by its C compiler, fed with images, bit by bit what the chip computes."""

from __future__ import annotations

import subprocess  # commands are lists, never a shell's text
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nas_edge.errors import DataError, ExportError, MeasurementError
from nas_edge.mcu.codegen.library import PROFILE, write_library
from nas_edge.mcu.graph import Tensor
from nas_edge.mcu.toolchain import HOST_GCC, run_tool

WARNINGS = ("-std=c99", "-Wall", "-Wextra", "-Werror")
SANITIZERS = ("-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
_PROGRAM = "host"
_TIMEOUT_S = 600.0


@dataclass(frozen=True)
class HostBuild:
    """A compiled network.

    Attributes:
        program: reads codes from stdin, writes outputs to stdout.
        taken, given: the network's input and output.

    """

    program: Path
    taken: Tensor
    given: Tensor

    def run(self, codes: NDArray[np.int8]) -> NDArray[np.int8] | NDArray[np.int32]:
        """Outputs, int8 or int32 [n, height, width, channels], of input codes int8 [n, height, width, channels].

        Raises:
            DataError: images of another shape. MeasurementError: the program fails or hangs.

        """
        if codes.dtype != np.int8 or codes.shape[1:] != self.taken.shape:
            raise DataError(f"images {codes.dtype} {codes.shape[1:]} do not fit the input int8 {self.taken.shape}")
        try:
            done = subprocess.run(  # noqa: S603 - a program that was just built here
                [self.program], input=codes.tobytes(), capture_output=True, timeout=_TIMEOUT_S, check=False
            )
        except subprocess.TimeoutExpired:
            raise MeasurementError(f"{self.program} did not end within {_TIMEOUT_S:.0f} s") from None
        if done.returncode or len(done.stdout) != len(codes) * self.given.bytes:
            said = done.stderr.decode(errors="replace").strip().splitlines()
            raise MeasurementError(f"{self.program} failed (status {done.returncode}): {' / '.join(said[:3])}")
        shape = (len(codes), *self.given.shape)
        return np.frombuffer(done.stdout, np.dtype(self.given.dtype).newbyteorder("<")).reshape(shape)

    def classify(self, codes: NDArray[np.int8]) -> NDArray[np.int64]:
        """The class of each image, int64 [n]. Raises as `run`."""
        classes: NDArray[np.int64] = self.run(codes).reshape(len(codes), -1).argmax(axis=1)
        return classes


def build_for_host(
    files: Mapping[str, str],
    taken: Tensor,
    given: Tensor,
    folder: Path | None = None,
    *,
    compiler: str = HOST_GCC,
    flags: Sequence[str] = ("-O3",),
) -> HostBuild:
    """Compile generated files, all warnings as errors.

    Args:
        files: of `generate`.
        taken: input of their graph.
        given: its output.
        folder: where to build; None for a temporary one that stays until the system cleans up.
        compiler: gcc or clang.
        flags: beside the warnings; `SANITIZERS` for a build that stops at undefined behaviour.

    Raises:
        DeviceError: no compiler (with the line that installs it). ExportError: it refuses the code.

    """
    folder = Path(tempfile.mkdtemp(prefix="nas-edge-host-")) if folder is None else folder
    write_library(folder, files)
    sources = sorted(name for name in files if name.endswith(".c") and not name.startswith(PROFILE))
    done = run_tool(compiler, [*WARNINGS, *flags, *sources, "-o", _PROGRAM], folder)
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if "error" in line] or done.stderr.splitlines()
        raise ExportError(f"{compiler} refuses the generated code: {errors[0] if errors else 'no reason given'}")
    return HostBuild(folder / _PROGRAM, taken, given)
