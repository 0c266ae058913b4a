"""LiteRT's own `benchmark_model` on a device without Python: a phone as it is. The user gives the program.

It is one static binary (https://ai.google.dev/edge/litert/models/measurement has builds for Android and Linux on ARM).
It tells what its runs took together, not each: a visit is one figure, the median where it prints one, else the mean.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas_edge.devices import Device
from nas_edge.errors import DeviceError, DeviceLostError, MeasurementError
from nas_edge.runtimes.litert import LiteRtFiles
from nas_edge.runtimes.ports import fed
from nas_edge.runtimes.tflite import TfliteModel
from nas_edge.runtimes.visits import SeparateVisits, VisitPlan, VisitRecord

_TOOL = "benchmark_model"
_SHORT_S, _RUN_S = 60.0, 600.0
_CUTS = 5
_STATISTICS = re.compile(r"count=(\d+)((?: \S+=[0-9.eE+-]+)+)")
_PAIR = re.compile(r"(\S+)=([0-9.eE+-]+)")
_INFERENCE = re.compile(r"Inference \(avg\): ([0-9.eE+-]+)")


@dataclass(frozen=True)
class BenchmarkRuns:
    """Runs of one call.

    Attributes:
        count: how many.
        mean_ms: of them.
        median_ms: None where this version does not print it.
        least_ms, greatest_ms: of them.

    """

    count: int
    mean_ms: float
    median_ms: float | None
    least_ms: float
    greatest_ms: float

    @property
    def ms(self) -> float:
        """The median, or the mean where that is all there is."""
        return self.mean_ms if self.median_ms is None else self.median_ms


def parse_benchmark(output: str) -> BenchmarkRuns:
    """The last block of statistics, which is about the timed runs (one about warming up comes before it), and the line
    "Inference timings in us: Init: 2017, First inference: 4211, Warmup (avg): 4029.5, Inference (avg): 3990.1".

    Raises:
        DeviceError: there are none, or they cannot be.

    """
    blocks = _STATISTICS.findall(output)
    if not blocks:
        said = (output.strip().splitlines() or ["nothing"])[-1][:160]
        raise DeviceError(f"benchmark_model tells no run times; it said: {said}")
    count, rest = int(blocks[-1][0]), {key: float(value) for key, value in _PAIR.findall(blocks[-1][1])}
    try:
        mean, least, greatest = (rest[key] / 1e3 for key in ("avg", "min", "max"))
    except KeyError as error:
        raise DeviceError(f"benchmark_model tells no {error.args[0]} of its run times") from error
    median = rest.get("median", rest.get("p50"))
    stated = _INFERENCE.search(output)
    found = BenchmarkRuns(count, mean, None if median is None else median / 1e3, least, greatest)
    wrong = not all(np.isfinite([mean, least, greatest, found.ms])) or not 0 < least <= found.ms <= greatest
    if count < 1 or wrong or (stated and abs(float(stated[1]) / 1e3 - mean) > 0.02 * mean + 1e-3):
        raise DeviceError(f"benchmark_model tells run times that cannot be: {blocks[-1][0]} runs{blocks[-1][1]}")
    return found


class BenchmarkModelRuntime(LiteRtFiles, SeparateVisits):
    """A `Runtime` and `RemoteRuntime` called "litert": the same files, the same kernels as through the agent.

    Args:
        device: without Python.
        binary: the program, on this machine.

    """

    def __init__(self, device: Device, binary: Path) -> None:
        if not binary.is_file():
            raise DeviceError(f"device {device.name!r}: there is no program {binary} to measure with; give its path")
        self.device, self._binary, self._ready = device, binary, False

    def version(self) -> str:
        """It does not say: the beginning of its hash, after a nought."""
        return "0+" + hashlib.sha256(self._binary.read_bytes()).hexdigest()[:8]

    def prepare(self, onnx_model: bytes, precision: str, threads: int) -> BenchmarkSession:
        """Convert a model, and run it once there.

        Raises:
            MeasurementError: it cannot be converted, is of another precision, or does not run. SpaceError: unknown
                precision, no threads. DeviceError: the program does not run there.

        """
        session = BenchmarkSession(self, self.made(onnx_model, precision, threads), threads)
        session.time(1)
        return session

    def benchmark(self, *options: str) -> str:
        """What the program prints. Raises DeviceError, MeasurementError."""
        device = self.device
        if not self._ready:
            device.push(self._binary, _TOOL)
            device.run(["chmod", "700", _TOOL], _SHORT_S)
            self._ready = True
        done = device.run([f"./{_TOOL}", *options], _RUN_S)
        said = " ".join((done.stderr.strip() or done.stdout.strip()).splitlines()[-1:])[:200]
        if done.status in (126, 127) or "Exec format" in said or "not executable" in said:
            raise DeviceError(f"device {device.name!r}: {self._binary.name} is built for another architecture ({said})")
        if done.status != 0:
            raise MeasurementError(f"benchmark_model fails on {device.name!r}: {said or f'status {done.status}'}")
        return f"{done.stdout}\n{done.stderr}"

    def lost(self) -> None:
        """The connection was cut: the program may have to be pushed anew."""
        self._ready = False


class BenchmarkSession:
    """One file; see `VisitingSession`."""

    def __init__(self, runtime: BenchmarkModelRuntime, made: TfliteModel, threads: int) -> None:
        self._runtime, self._made, self._threads = runtime, made, threads
        self._file = f"{hashlib.sha256(made.data).hexdigest()[:16]}.tflite"
        self._closed = self._there = False

    @property
    def inputs(self) -> Mapping[str, tuple[int, ...]]:
        """Shape of each input, as in the ONNX model; a dynamic batch is 1."""
        return {port.name: port.shape for port in self._made.inputs}

    def visit(self, plan: VisitPlan) -> VisitRecord:
        """One call, one figure. Raises MeasurementError, DeviceError."""
        if plan.evict_bytes:
            raise MeasurementError("benchmark_model runs back to back: the cold regime is not measured through it")
        found = self._runs(max(plan.repeats, plan.max_repeats), max(plan.warmups, 1), plan.warmup_ms / 1e3)
        return VisitRecord((found.ms,), found.mean_ms * found.count + found.ms, 1.0, 1.0, 1.0)

    def time(self, repeats: int) -> NDArray[np.float64]:
        """As many times the one figure that there is of so many runs, ms, float64 [repeats]."""
        return np.full(repeats, self._runs(repeats, 1, 0.0).ms)

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Not to be had: raises MeasurementError, after looking whether the inputs fit."""
        self._open()
        fed(self._made.inputs, inputs)
        raise MeasurementError("benchmark_model gives no outputs: what is computed there cannot be compared")

    def close(self) -> None:
        """Remove the file from the device."""
        if self._there:
            with contextlib.suppress(DeviceError):
                self._runtime.device.run(["rm", "-f", self._file], _SHORT_S)
        self._closed, self._there = True, False

    def _open(self) -> None:
        if self._closed:
            raise MeasurementError("this session was closed")

    def _runs(self, runs: int, warmups: int, warmup_s: float) -> BenchmarkRuns:
        self._open()
        for attempt in range(_CUTS):
            try:
                return self._once(runs, warmups, warmup_s)
            except DeviceLostError:
                self._runtime.lost()
                self._there = False
                if attempt == _CUTS - 1:
                    raise
        raise AssertionError("unreachable")

    def _once(self, runs: int, warmups: int, warmup_s: float) -> BenchmarkRuns:
        device = self._runtime.device
        if not self._there:
            with tempfile.TemporaryDirectory(prefix="nas-edge-") as folder:
                local = Path(folder) / "model.tflite"
                local.write_bytes(self._made.data)
                device.push(local, self._file)
            self._there = True
        output = self._runtime.benchmark(
            f"--graph={self._file}", f"--num_threads={self._threads}", f"--num_runs={runs}", "--min_secs=0",
            f"--warmup_runs={warmups}", f"--warmup_min_secs={warmup_s:g}", "--use_xnnpack=true",
        )  # fmt: skip
        try:
            found = parse_benchmark(output)
        except DeviceError as error:
            raise DeviceError(f"device {device.name!r}: {error}") from error
        if found.count < runs:
            raise DeviceError(f"device {device.name!r}: benchmark_model made {found.count} runs of {runs}")
        return found
