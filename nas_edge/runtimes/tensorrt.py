"""TensorRT through the device's own `trtexec`: engines are built, timed and run there; nothing needs installing.

A visit is one process: load the engine, warm up, run back to back in a CUDA graph. What counts is the compute time on
the GPU, without the copies, which a summary tells apart.
"""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from nas_edge.devices import CommandResult, Device
from nas_edge.errors import DeviceError, DeviceLostError, ExportError, MeasurementError
from nas_edge.files import read_text
from nas_edge.progress import Progress, silent
from nas_edge.runtimes import tensorrt_report as reports
from nas_edge.runtimes.base import check_request
from nas_edge.runtimes.layers import LayerTime
from nas_edge.runtimes.model_precision import model_precision
from nas_edge.runtimes.onnx_inputs import load_model, onnx_inputs
from nas_edge.runtimes.registry import register_runtime
from nas_edge.runtimes.tensorrt_cache import PlanKey, kept_plan, place_for
from nas_edge.runtimes.tensorrt_command import Trtexec
from nas_edge.runtimes.tensorrt_version import parse_version
from nas_edge.runtimes.visits import SeparateVisits, VisitPlan, VisitRecord
from nas_edge.units import format_duration

T = TypeVar("T")

PRECISIONS = ("fp32", "fp16", "int8")
_FIND = 'command -v trtexec && exit 0; for p in /usr/src/tensorrt/bin/trtexec /opt/tensorrt/bin/trtexec; do [ -x "$p" ] && echo "$p" && exit 0; done; exit 1'  # noqa: E501 - one line of shell
_SHORT_S, _RUN_S, _BUILD_S = 60.0, 600.0, 3600.0
_CUTS = 5
_MOST_TEXT = 512 * 2**20
_EXTRA_RUNS = 100  # trtexec may end later than it was asked to
_SAID_TOLERANCE = 0.05  # between the median it prints and the times it exports
_TIMED_BUILDS = 3


@register_runtime("tensorrt")
class TensorRtRuntime(SeparateVisits):
    """A `Runtime` and `RemoteRuntime` on a device that has `trtexec` (a Jetson has it in /usr/src/tensorrt/bin).

    A reference kernel of a CPU would say nothing of a GPU; its clocks are in the device's state instead.

    Args:
        device: where; by default this machine.
        trtexec: the program there; by default that of the PATH, else where JetPack puts it.

    """

    def __init__(self, device: Device | None = None, trtexec: str = "") -> None:
        if device is None:
            from nas_edge.devices import LocalDevice

            device = LocalDevice()
        self.device = device
        self._path = trtexec
        self._tool: Trtexec | None = None
        self._machine = ""
        self.with_copies_ms: float | None = None
        """Median latency of the latest visit with the copies to the GPU and back; None before there was one."""
        self.there: set[str] = set()
        """Plans that lie on the device; after a cut it may have been started anew, and none does."""

    @property
    def name(self) -> str:
        """Always "tensorrt"."""
        return "tensorrt"

    @property
    def precisions(self) -> tuple[str, ...]:
        """What engines are built in."""
        return PRECISIONS

    @property
    def tool(self) -> Trtexec:
        """The program there. Raises DeviceError where there is none, or of a version that is not known."""
        if self._tool is None:
            path = self._path or self._found()
            done = self.again(lambda: self.device.run([path, "--help"], _SHORT_S))
            try:
                self._tool = Trtexec(path, parse_version(done.stdout + done.stderr))
            except DeviceError as error:
                raise DeviceError(f"device {self.device.name!r}: {error}") from error
        return self._tool

    def version(self) -> str:
        """Of TensorRT there."""
        return str(self.tool.version)

    def prepare(self, onnx_model: bytes, precision: str, threads: int) -> TensorRtSession:
        """Build an engine, or take one that was built before.

        Raises:
            MeasurementError: it is no model, of another precision, or TensorRT cannot build it (operator and node are
                named where its parser names them). SpaceError: unknown precision, no threads. DeviceError: the device
                lacks what is needed.

        """
        session = TensorRtSession(self, self.checked(onnx_model, precision, threads), precision)
        session.plan()
        return session

    def checked(self, onnx_model: bytes, precision: str, threads: int = 1) -> bytes:
        """The model in the form that TensorRT reads. Raises as `prepare`."""
        from nas_edge.spaces.onnx_tensorrt import tensorrt_form

        check_request(self.name, self.precisions, precision, threads)
        model = load_model(onnx_model)
        found = model_precision(onnx_model)
        if found != precision:
            raise MeasurementError(
                f"the model computes in {found}, not {precision}; export it with --format tensorrt "
                f"--precision {precision}, or measure it as {found}"
            )
        try:
            return bytes(tensorrt_form(model).SerializeToString(deterministic=True))
        except ExportError as error:
            raise MeasurementError(str(error)) from error

    def build_ahead(self, models: Sequence[bytes], precision: str, progress: Progress = silent) -> int:
        """Build the engines of many models, those that are kept left out; says how long it will take.

        The first, the middle and the last by size are built first: they say it. Whatever was built is kept, so that
        after a reboot, or Ctrl-C, the same command goes on from there.

        Returns:
            How many were built.

        Raises:
            MeasurementError, DeviceError: as `prepare`.

        """
        import time

        sessions = [TensorRtSession(self, self.checked(model, precision), precision) for model in models]
        missing = sorted((s for s in sessions if kept_plan(s.key()) is None), key=lambda s: s.size)
        if not missing:
            return 0
        places = sorted({0, len(missing) // 2, len(missing) - 1})[:_TIMED_BUILDS]
        order = [missing[i] for i in places] + [s for i, s in enumerate(missing) if i not in places]
        spent: list[float] = []
        for number, session in enumerate(order):
            left_s = float(np.mean(spent)) * (len(order) - number) if spent else None
            told = "timing three" if left_s is None else f"about {format_duration(left_s)} left"
            progress(number, len(order), f"building {len(order)} engines, each once: {told}")
            begun = time.monotonic()
            session.plan()
            session.close()
            spent.append(time.monotonic() - begun)
        progress(len(order), len(order), f"{len(order)} engines built in {format_duration(sum(spent))}")
        return len(order)

    def export_plan(self, onnx_model: bytes, precision: str, into: Path) -> float | None:
        """Build an engine and fetch it: seconds that it took, None for one that was kept. Raises as `prepare`."""
        session = self.prepare(onnx_model, precision, 1)
        try:
            self.again(lambda: self.device.pull(session.plan(), into))
            return session.build_s
        finally:
            session.close()

    def layer_times(self, onnx_model: bytes, precision: str, threads: int, repeats: int = 50) -> tuple[LayerTime, ...]:
        """See `LayeredRuntime`."""
        session = self.prepare(onnx_model, precision, threads)
        try:
            return session.layers(repeats)
        finally:
            session.close()

    def again(self, work: Callable[[], T]) -> T:
        """Do something; again after a cut. Raises DeviceLostError when it is cut time after time."""
        for attempt in range(_CUTS):
            try:
                return work()
            except DeviceLostError:
                self.there.clear()
                if attempt == _CUTS - 1:
                    raise
        raise AssertionError("unreachable")

    def trtexec(self, argv: Sequence[str], timeout_s: float, what: str) -> str:
        """What a run prints. Raises MeasurementError with its own reason where it fails, DeviceError."""
        done: CommandResult = self.device.run(argv, timeout_s)
        output = f"{done.stdout}\n{done.stderr}"
        if done.status == 0 and "&&&& FAILED" not in output:
            return output
        if "out of memory" in output.lower() or "OutOfMemory" in output:
            raise MeasurementError(f"device {self.device.name!r} is out of memory; {what} needs more than it has")
        if "No space left on device" in output:
            raise DeviceError(
                f"device {self.device.name!r} has no space left; free some, or give the target another directory"
            )
        if done.status in (126, 127) or "Exec format error" in output:
            raise DeviceError(f"device {self.device.name!r}: {argv[0]} is no program for this device")
        raise MeasurementError(f"TensorRT {self.version()} fails at {what}: {reports.parse_failure(output)}")

    def fetched(self, remote: str) -> str:
        """Text of a file there, which is then removed. Raises DeviceError."""
        with tempfile.TemporaryDirectory(prefix="nas-edge-") as folder:
            local = Path(folder) / "answer"
            self.device.pull(remote, local)
            text = read_text(local, _MOST_TEXT)
        self.forget(remote)
        return text

    def forget(self, *remote: str) -> None:
        """Remove files there; not being able to is no failure, for the whole directory goes in the end."""
        with contextlib.suppress(DeviceError):
            self.device.run(["rm", "-f", *remote], _SHORT_S)

    def machine(self) -> str:
        """Identity of the device."""
        if not self._machine:
            self._machine = self.device.fingerprint().machine
        return self._machine

    def _found(self) -> str:
        found = self.again(lambda: self.device.run(["sh", "-c", _FIND], _SHORT_S))
        lines = found.stdout.strip().splitlines()
        if found.status != 0 or not lines:
            raise DeviceError(
                f"device {self.device.name!r}: has no trtexec, in the PATH or in /usr/src/tensorrt/bin; install it "
                "there: sudo apt install libnvinfer-bin"
            )
        return lines[0]


class TensorRtSession:
    """One model; see `VisitingSession`. Its engine is pushed anew where the device has lost it."""

    def __init__(self, runtime: TensorRtRuntime, model: bytes, precision: str) -> None:
        self._runtime, self._model, self._precision = runtime, model, precision
        self._sha256 = hashlib.sha256(model).hexdigest()
        self._inputs = onnx_inputs(load_model(model))
        self._closed = False
        self._pushed: set[str] = set()
        self.summary: reports.Summary | None = None
        """Of the latest visit: latency with copies, throughput."""
        self.build_s: float | None = None
        """How long the build took; None for an engine that was kept."""

    @property
    def inputs(self) -> Mapping[str, tuple[int, ...]]:
        """Shape of each input; a dynamic batch is 1."""
        return {item.name: item.shape for item in self._inputs}

    @property
    def size(self) -> int:
        """Of the model, bytes."""
        return len(self._model)

    def key(self, batch: int = 1) -> PlanKey:
        """What its engine holds for."""
        shapes = self._shapes(batch)
        runtime = self._runtime
        return PlanKey(
            self._sha256, runtime.version(), runtime.machine(), self._precision, tuple(sorted(shapes.items()))
        )

    def visit(self, plan: VisitPlan) -> VisitRecord:
        """Warm-up and timed runs, there. Raises MeasurementError, DeviceError."""
        if plan.evict_bytes:
            raise MeasurementError("trtexec runs back to back: the cold regime is not measured through it")
        runs = max(plan.repeats, plan.max_repeats)
        found = self._runtime.again(lambda: self._timed(runs, plan.warmup_ms))
        wall_ms = found[-1].start_ms + found[-1].compute_ms - found[0].start_ms
        return VisitRecord(tuple(run.compute_ms for run in found), wall_ms, 1.0, 1.0, 1.0)

    def time(self, repeats: int) -> NDArray[np.float64]:
        """Compute time of runs back to back, ms, float64 [repeats]."""
        found = self._runtime.again(lambda: self._timed(repeats, 0.0))
        return np.array([run.compute_ms for run in found[:repeats]], np.float64)

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Outputs by name. Raises MeasurementError for inputs that do not fit."""
        arrays = {item.name: item.fitted(inputs) for item in self._inputs}
        batches = {len(arrays[item.name]) for item in self._inputs if item.dynamic_batch}
        if len(batches) > 1:
            raise MeasurementError(f"inputs have different batches: {sorted(batches)}")
        return self._runtime.again(lambda: self._computed(arrays, batches.pop() if batches else 1))

    def layers(self, repeats: int) -> tuple[LayerTime, ...]:
        """Times of layers. Raises MeasurementError, DeviceError."""
        return self._runtime.again(lambda: self._layers(repeats))

    def plan(self, batch: int = 1) -> str:
        """The engine on the device, built or pushed if need be; its path there. Raises as `prepare`."""
        return self._runtime.again(lambda: self._plan(batch))

    def close(self) -> None:
        """Remove its engines from the device."""
        if not self._closed and self._pushed & self._runtime.there:
            self._runtime.forget(*sorted(self._pushed))
        self._runtime.there -= self._pushed
        self._closed = True

    def _plan(self, batch: int) -> str:
        if self._closed:
            raise MeasurementError("this session was closed")
        runtime, key = self._runtime, self.key(batch)
        remote = f"{key.name}.plan"
        if remote in runtime.there:
            return remote
        kept = kept_plan(key)
        if kept is not None:
            runtime.device.push(kept, remote)
        else:
            self._build(key, remote, batch)
        self._pushed.add(remote)
        runtime.there.add(remote)
        return remote

    def _build(self, key: PlanKey, remote: str, batch: int) -> None:
        runtime, source = self._runtime, f"{key.name}.onnx"
        with tempfile.TemporaryDirectory(prefix="nas-edge-") as folder:
            file = Path(folder) / "model.onnx"
            file.write_bytes(self._model)
            runtime.device.push(file, source)
        try:
            argv = runtime.tool.build(source, remote, self._precision, self._shapes(batch))
            self.build_s = reports.parse_build_s(runtime.trtexec(argv, _BUILD_S, "building"))
        except MeasurementError:
            runtime.forget(remote)
            raise
        finally:
            runtime.forget(source)
        place = place_for(key)
        if place is not None:
            runtime.device.pull(remote, place)

    def _shapes(self, batch: int) -> dict[str, tuple[int, ...]]:
        return {item.name: (batch, *item.shape[1:]) for item in self._inputs if item.dynamic_batch}

    def _timed(self, runs: int, warmup_ms: float) -> tuple[reports.TimedRun, ...]:
        runtime, file = self._runtime, f"{self._sha256[:16]}.times.json"
        argv = runtime.tool.time(self._plan(1), runs, warmup_ms, file)
        output = runtime.trtexec(argv, _RUN_S, "running")
        found = reports.parse_times(runtime.fetched(file))
        if not runs <= len(found) <= 2 * runs + _EXTRA_RUNS:
            raise self._lie(f"{len(found)} run times where {runs} were asked for")
        self.summary = reports.parse_summary(output)
        runtime.with_copies_ms = float(np.median([run.latency_ms for run in found]))
        said = self.summary.figures.get("GPU Compute Time")
        median = float(np.median([run.compute_ms for run in found]))
        if said is not None and abs(said.median - median) > max(_SAID_TOLERANCE * median, 1e-3):
            raise self._lie(f"it prints a median of {said.median:g} ms and exports times with {median:g} ms")
        return found

    def _computed(self, arrays: Mapping[str, NDArray[Any]], batch: int) -> dict[str, NDArray[Any]]:
        runtime, plan = self._runtime, self._plan(batch)
        stem, files = self._sha256[:16], {}
        with tempfile.TemporaryDirectory(prefix="nas-edge-") as folder:
            for number, (name, array) in enumerate(arrays.items()):
                local, files[name] = Path(folder) / "input", f"{stem}.input-{number}"
                local.write_bytes(array.tobytes())
                runtime.device.push(local, files[name])
        file = f"{stem}.outputs.json"
        try:
            runtime.trtexec(runtime.tool.compute(plan, files, file), _RUN_S, "running")
        finally:
            runtime.forget(*files.values())
        found: dict[str, NDArray[Any]] = dict(reports.parse_outputs(runtime.fetched(file)))
        return found

    def _layers(self, repeats: int) -> tuple[LayerTime, ...]:
        runtime, stem = self._runtime, self._sha256[:16]
        profile, layers = f"{stem}.profile.json", f"{stem}.layers.json"
        runtime.trtexec(runtime.tool.layers(self._plan(1), repeats, profile, layers), _RUN_S, "profiling its layers")
        return reports.parse_profile(runtime.fetched(profile), reports.parse_layers(runtime.fetched(layers)))

    def _lie(self, what: str) -> DeviceError:
        return DeviceError(f"device {self._runtime.device.name!r}: its trtexec answers what cannot be: {what}")
