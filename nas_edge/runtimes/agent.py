"""Any runtime on another machine, through the agent that is pushed there."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from nas_edge.devices import Device, Process
from nas_edge.devices.agent import AGENT_FILE, AGENT_VERSION
from nas_edge.errors import DeviceError, DeviceLostError, MeasurementError, SpaceError
from nas_edge.runtimes.base import check_request
from nas_edge.runtimes.model_precision import model_precision
from nas_edge.runtimes.onnx_inputs import load_model, onnx_inputs
from nas_edge.runtimes.ports import fed
from nas_edge.runtimes.registry import get_runtime
from nas_edge.runtimes.visits import VisitPlan, VisitRecord

if TYPE_CHECKING:
    from nas_edge.runtimes.tflite import TfliteModel

T = TypeVar("T")

SUFFIXES = {"onnxruntime": ".onnx", "litert": ".tflite"}
PACKAGES = {"onnxruntime": "onnxruntime", "litert": "ai-edge-litert"}
ENVIRONMENT = "~/.nas-edge"
_FIND_PYTHON = 'for p in "$HOME/.nas-edge/bin/python3" python3; do command -v "$p" && exit 0; done; exit 1'
_REMOTE_AGENT = "agent.py"
_SHORT_S, _LONG_S = 120.0, 900.0
_CUTS = 5  # of the connection during one visit, one after the other: then it is no accident
_ILLEGAL_INSTRUCTION = ("status -4", "status 132")


class AgentRuntime:
    """A `Runtime` and `RemoteRuntime` on a device. The agent is started when first needed, and again after a cut.

    Args:
        device: with python3, numpy and the runtime.
        runtime: "onnxruntime" or "litert".
        python: interpreter there; by default that of the environment `~/.nas-edge`, else python3.

    """

    def __init__(
        self,
        device: Device,
        runtime: str = "onnxruntime",
        python: str = "",
    ) -> None:
        if runtime not in SUFFIXES:
            raise SpaceError(f"runtime {runtime!r} cannot run on {device.name!r}: the agent has {', '.join(SUFFIXES)}")
        self.device, self._runtime, self._python = device, runtime, python
        self._process: Process | None = None
        self._hello: dict[str, Any] = {}
        self._threads: int | None = None
        self._number = 0
        self.generation = 0

    @property
    def name(self) -> str:
        """Of the runtime there."""
        return self._runtime

    @property
    def precisions(self) -> tuple[str, ...]:
        """As the same runtime has here."""
        return get_runtime(self._runtime).precisions

    @property
    def hello(self) -> Mapping[str, Any]:
        """What the agent said of itself: python, numpy, runtimes, architecture. Raises DeviceError."""
        if not self._hello:
            self.again(self._ready)
        return self._hello

    def reference_identity(self) -> str:
        """Of the reference kernel there."""
        return str(self.hello["reference"])

    @property
    def running(self) -> bool:
        """Whether an agent runs, as far as is known."""
        return self._process is not None

    def version(self) -> str:
        """Of the runtime there."""
        return str(self.hello["runtimes"][self._runtime])

    def reading(self) -> float:
        """A reading of the reference kernel there, ms."""
        return self.again(lambda: self._positive(self.ask("reading"), "reference_ms"))

    @contextlib.contextmanager
    def isolated(self, threads: int) -> Iterator[tuple[int, ...]]:
        """A fresh process there, pinned to its quietest cores, for as long as this lasts."""
        self.close()
        self._threads = threads
        try:
            self.again(self._ready)
            yield tuple(self._hello["cores"])
        finally:
            self._threads = None
            self.close()

    def prepare(self, onnx_model: bytes, precision: str, threads: int) -> AgentSession:
        """Load a model there.

        Raises:
            MeasurementError: it does not load, or is of another precision. SpaceError: unknown precision, no threads.
            DeviceError: the device lacks what is needed.

        """
        check_request(self.name, self.precisions, precision, threads)
        if self._runtime == "litert":
            from nas_edge.runtimes.litert import artefact

            made = artefact(onnx_model, precision)
            return AgentSession(self, made.data, threads, made)
        found = model_precision(onnx_model)
        onnx_inputs(load_model(onnx_model))
        session = AgentSession(self, onnx_model, threads)
        if found != precision:
            session.close()
            advice = "quantise it first" if precision == "int8" else "measure it as int8"
            raise MeasurementError(f"the model computes in {found}, not {precision}; {advice}")
        return session

    def close(self) -> None:
        """End the agent."""
        process, self._process = self._process, None
        if process is not None:
            process.close()

    def ask(self, what: str, timeout_s: float = _SHORT_S, **details: Any) -> dict[str, Any]:
        """One request and its answer.

        Raises:
            MeasurementError: the model, or what was asked, does not fit. DeviceLostError: cut off. DeviceError: the
            agent ended, is silent, or what it says is no answer; it is then ended.

        """
        self._ready()
        return self._ask(what, timeout_s, details)

    def _ask(self, what: str, timeout_s: float, details: Mapping[str, Any]) -> dict[str, Any]:
        assert self._process is not None
        self._number += 1
        try:
            self._process.send(json.dumps({"id": self._number, "do": what, **details}))
            line = self._process.receive(timeout_s)
            answer = self._parsed(line)
        except DeviceError:
            self.close()
            raise
        if answer["ok"]:
            return answer
        kind, text = str(answer.get("kind")), " ".join(str(answer.get("error")).split())[:300]
        if kind == "missing":
            raise _MissingFileError(text)
        if kind == "runtime":
            raise DeviceError(f"device {self.device.name!r}: {text}; {self._install()}")
        if kind == "memory":
            raise MeasurementError(f"device {self.device.name!r} is out of memory; measure a smaller network")
        raise MeasurementError(text)

    def _parsed(self, line: str) -> dict[str, Any]:
        """The answer in a line. Raises DeviceError for what is none."""
        try:
            answer = json.loads(line, parse_constant=_refuse)
            if isinstance(answer, dict) and answer.get("id") == self._number and isinstance(answer.get("ok"), bool):
                return answer
        except ValueError:
            pass
        shown = line if len(line) <= 80 else line[:77] + "..."
        raise DeviceError(f"device {self.device.name!r}: what its agent says is no answer: {shown!r}")

    def again(self, work: Callable[[], T]) -> T:
        """Do something; again after a cut, with a new agent. Raises DeviceLostError when it is cut time after time."""
        for attempt in range(_CUTS):
            try:
                return work()
            except DeviceLostError:
                self.close()
                if attempt == _CUTS - 1:
                    raise
        raise AssertionError("unreachable")

    def _ready(self) -> None:
        """Have an agent that answers. Raises DeviceError."""
        if self._process is not None:
            return
        python = self._python or self._found_python()
        self.device.push(AGENT_FILE, _REMOTE_AGENT)
        self._process = self.device.start([python, _REMOTE_AGENT])
        self.generation += 1
        try:
            self._hello = self._ask("hello", _SHORT_S, {})
        except DeviceLostError:
            raise
        except DeviceError as error:
            raise self._explained(error, python) from error
        if self._hello.get("agent") != AGENT_VERSION:
            self.close()
            raise DeviceError(f"device {self.device.name!r}: its agent speaks {self._hello.get('agent')!r}")
        have = self._hello.get("runtimes")
        if not isinstance(have, dict) or self._runtime not in have:
            self.close()
            raise DeviceError(
                f"device {self.device.name!r}: {python} there has no {PACKAGES[self._runtime]}; {self._install()}"
            )
        cores: list[int] = []
        if self._threads is not None:
            cores = self._ask("isolate", _SHORT_S, {"threads": self._threads})["cores"]
        self._hello["cores"] = cores

    def _found_python(self) -> str:
        found = self.device.run(["sh", "-c", _FIND_PYTHON], _SHORT_S)
        if found.status != 0:
            raise DeviceError(
                f"device {self.device.name!r}: has no python3; install it there: sudo apt install python3-venv, or, "
                "for a phone, get LiteRT's benchmark_model (https://ai.google.dev/edge/litert/models/measurement) and "
                "name it in the target's file: device: {..., benchmark_model: PATH}"
            )
        self._python = found.stdout.strip().splitlines()[0]
        return self._python

    def _install(self) -> str:
        return (
            f"install it there: python3 -m venv {ENVIRONMENT} && {ENVIRONMENT}/bin/pip install "
            f"{PACKAGES[self._runtime]}"
        )

    def _explained(self, error: DeviceError, python: str) -> DeviceError:
        text = str(error)
        if any(status in text for status in _ILLEGAL_INSTRUCTION):
            return DeviceError(f"{text}: a package of {python} is built for another CPU; {self._install()}")
        if "status 126" in text:
            return DeviceError(f"{text}: {python} is no program for this architecture")
        return error

    def _positive(self, answer: Mapping[str, Any], key: str) -> float:
        value = answer.get(key)
        if not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
            raise self.lie(f"{key} is {value!r}")
        return float(value)

    def lie(self, what: str) -> DeviceError:
        """An answer that cannot be: the agent is ended."""
        self.close()
        return DeviceError(f"device {self.device.name!r}: its agent answers what cannot be: {what[:120]}")


class AgentSession:
    """One model on a device; see `VisitingSession`. After a cut it is loaded anew, and the visit made again."""

    def __init__(self, runtime: AgentRuntime, model: bytes, threads: int, made: TfliteModel | None = None) -> None:
        self._runtime, self._model, self._threads, self._made = runtime, model, threads, made
        self._sha256 = hashlib.sha256(model).hexdigest()
        self._name = f"{self._sha256[:16]}-{threads}"
        self._generation = 0
        self._closed = False
        self.memory_bytes = 0
        """Most main memory that the agent has had, by the latest visit."""
        self._inputs: dict[str, tuple[int, ...]] = {}
        self._free: dict[str, tuple[bool, ...]] = {}
        runtime.again(self._load)

    @property
    def inputs(self) -> Mapping[str, tuple[int, ...]]:
        """Shape of each input; dynamic sizes are 1."""
        return {port.name: port.shape for port in self._made.inputs} if self._made else self._inputs

    def visit(self, plan: VisitPlan) -> VisitRecord:
        """A visit there. Raises MeasurementError, DeviceError."""
        answer = self._runtime.again(lambda: self._loaded("visit", **asdict(plan)))
        samples = self._times(answer, plan.repeats, max(plan.max_repeats, plan.repeats))
        share, readings = answer.get("cpu_share"), answer.get("reference_ms")
        if not isinstance(share, int | float) or not 0 <= share <= 1:
            raise self._runtime.lie(f"cpu_share is {share!r}")
        if not isinstance(readings, list) or len(readings) != 2 or not all(map(_is_time, readings)):
            raise self._runtime.lie(f"reference_ms is {readings!r}")
        if not _is_time(answer.get("wall_ms")):
            raise self._runtime.lie(f"wall_ms is {answer.get('wall_ms')!r}")
        self.memory_bytes = int(answer.get("memory_bytes") or 0)
        return VisitRecord(samples, float(answer["wall_ms"]), float(share), float(readings[0]), float(readings[1]))

    def time(self, repeats: int) -> NDArray[np.float64]:
        """Wall time of `repeats` runs back to back, ms, float64 [repeats]."""
        answer = self._runtime.again(lambda: self._loaded("time", repeats=repeats))
        return np.array(self._times(answer, repeats, repeats), np.float64)

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Outputs by name. Raises MeasurementError for inputs that do not fit."""
        if self._made is not None:
            found = self._sent(fed(self._made.inputs, inputs))
            if missing := [port.name for port in self._made.outputs if port.name not in found]:
                raise self._runtime.lie(f"outputs without {missing[0]!r}")
            return {port.name: port.outward(found[port.name]) for port in self._made.outputs}
        for name, shape in self._inputs.items():
            if name not in inputs:
                raise MeasurementError(f"input {name!r} {shape} is missing; given: {', '.join(inputs) or 'nothing'}")
            given, free = np.shape(inputs[name]), self._free[name]
            if len(given) != len(shape) or any(a != s for a, s, f in zip(given, shape, free, strict=True) if not f):
                raise MeasurementError(f"input {name!r} has shape {given}, the model takes {shape}")
        return self._sent(inputs)

    def _sent(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        with tempfile.TemporaryDirectory(prefix="nas-edge-") as folder:
            return self._runtime.again(lambda: self._run(inputs, Path(folder)))

    def close(self) -> None:
        """Forget the model there; its file stays until the device is closed."""
        runtime = self._runtime
        if not self._closed and self._generation == runtime.generation and runtime.running:
            with contextlib.suppress(DeviceError, MeasurementError):
                runtime.ask("close", name=self._name)
        self._closed = True

    def _run(self, inputs: Mapping[str, NDArray[Any]], folder: Path) -> dict[str, NDArray[Any]]:
        device = self._runtime.device
        files = {}
        for number, name in enumerate(self._inputs):
            np.save(folder / "input.npy", np.asarray(inputs[name]), allow_pickle=False)
            files[name] = f"input-{number}.npy"
            device.push(folder / "input.npy", files[name])
        self._loaded("run", inputs=files, output="outputs.npz")
        device.pull("outputs.npz", folder / "outputs.npz")
        try:
            with np.load(folder / "outputs.npz", allow_pickle=False) as found:
                return {name: found[name] for name in found.files}
        except (OSError, ValueError) as error:
            raise self._runtime.lie(f"outputs that are none ({error})") from error

    def _loaded(self, what: str, **details: Any) -> dict[str, Any]:
        if self._closed:
            raise MeasurementError("this session was closed")
        if self._generation != self._runtime.generation or not self._runtime.running:
            self._load()
        return self._runtime.ask(what, _LONG_S, name=self._name, **details)

    def _load(self) -> None:
        """Open the model there, pushing it first where it is not there yet."""
        runtime = self._runtime
        path = f"models/{self._sha256}{SUFFIXES[runtime.name]}"
        wanted = {
            "name": self._name,
            "path": path,
            "sha256": self._sha256,
            "runtime": runtime.name,
            "threads": self._threads,
        }
        try:
            answer = runtime.ask("open", _LONG_S, **wanted)
        except _MissingFileError:
            with tempfile.TemporaryDirectory(prefix="nas-edge-") as folder:
                file = Path(folder) / "model"
                file.write_bytes(self._model)
                runtime.device.push(file, path)
            answer = runtime.ask("open", _LONG_S, **wanted)
        try:
            self._inputs = {str(name): tuple(int(s) for s in shape) for name, shape in answer["inputs"].items()}
            self._free = {name: tuple(bool(f) for f in answer["free"][name]) for name in self._inputs}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise runtime.lie(f"inputs {answer.get('inputs')!r}") from error
        self._generation = runtime.generation

    def _times(self, answer: Mapping[str, Any], least: int, most: int) -> tuple[float, ...]:
        samples = answer.get("samples_ms")
        if not isinstance(samples, list) or not least <= len(samples) <= most:
            told = f"{len(samples)} run times" if isinstance(samples, list) else f"samples_ms {samples!r}"
            raise self._runtime.lie(f"{told} where {least} to {most} were asked for")
        if not all(isinstance(s, int | float) and not isinstance(s, bool) for s in samples):
            raise self._runtime.lie(f"samples_ms {samples[:3]!r}")
        return tuple(float(sample) for sample in samples)


class _MissingFileError(MeasurementError):
    """A file, or a model, is not there (any more)."""


def _is_time(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value) and value > 0


def _refuse(text: str) -> float:
    raise ValueError(f"{text} is not JSON")
