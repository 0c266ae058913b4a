"""nas-edge's agent: runs and times networks on the machine that it was copied to.

One request a line on standard input, one answer a line on standard output, JSON both. It ends with its input.
It needs Python 3.8, numpy, and one of onnxruntime, ai-edge-litert, tflite-runtime; nothing of nas-edge. The reference
kernel is a copy of `nas_edge/profiling/reference.py`, which says why it is as it is; a test keeps the two equal.
"""
# Python 3.8 is what older boards have.
# ruff: noqa: UP006, UP035, UP045, B905

from __future__ import annotations

import gc
import glob
import hashlib
import importlib
import json
import math
import os
import platform
import re
import sys
import time
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional, Sequence, Tuple

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # numpy's own threads would disturb what is measured
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
os.environ.setdefault("PYTHONDONTWRITEBYTECODE", "1")

try:
    import numpy as np
except ImportError:  # said in the first answer
    np = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from numpy.typing import NDArray

AGENT_VERSION = 1

NAME = "sha256 and 2 MB"
VERSION = 2
_HASHED = bytes(16 * 1024)
_HASHES = 8
_READ_BYTES = 2 * 2**20
_PAGE = 4096
_READINGS = 5
_PASSES = 3
_FORGOTTEN = 1

_INPUT_SEED = 0
_ORT_ERRORS_ONLY = 3
ORT_TYPES = {"tensor(float)": "float32", "tensor(uint8)": "uint8", "tensor(int8)": "int8"}
_LEAST_EVICTED_BYTES = 64 * 2**20
_LOOK_S = 0.2


class Trouble(Exception):
    """What is answered instead of a result: its kind tells the other side what to do.

    Kinds: "missing" (a file), "model" (it does not load), "runtime" (a package is missing), "input" (it does not fit),
    "memory".
    """

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


def reference_identity() -> str:
    """What a reading is of: kernel, version, and the software that it is made of."""
    return f"{NAME}, version {VERSION}, Python {platform.python_version()}, numpy {np.__version__}"


class ReferenceKernel:
    """Callable: one reading in ms, of about half a millisecond's work."""

    identity = reference_identity() if np is not None else ""

    def __init__(self) -> None:
        self._array = _page_aligned(_READ_BYTES)
        for _ in range(20):
            self()

    def __call__(self) -> float:
        """Median of a few short runs of each part, summed: single interruptions do not count, lasting ones do."""
        reading = float(np.median([self._read_ns() for _ in range(_FORGOTTEN + _PASSES)][_FORGOTTEN:]))
        return (reading + float(np.median([self._hash_ns() for _ in range(_READINGS)]))) / 1e6

    def _hash_ns(self) -> int:
        start = time.perf_counter_ns()
        for _ in range(_HASHES):
            hashlib.sha256(_HASHED).digest()
        return time.perf_counter_ns() - start

    def _read_ns(self) -> int:
        start = time.perf_counter_ns()
        np.bitwise_or.reduce(self._array)
        return time.perf_counter_ns() - start


def _page_aligned(size: int) -> NDArray[np.int64]:
    """Ones (pages of zeros would be one and the same), int64 [size / 8]."""
    raw = np.ones(size + _PAGE, np.uint8)
    start = -raw.ctypes.data % _PAGE
    return raw[start : start + size].view(np.int64)


class OrtNetwork:
    """A model in ONNX Runtime, set up as nas_edge/runtimes/onnx_runtime.py does."""

    def __init__(self, path: str, threads: int) -> None:
        ort = self._ort = _package("onnxruntime")
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.log_severity_level = _ORT_ERRORS_ONLY
        options.add_session_config_entry("session.intra_op.allow_spinning", "1" if threads > 1 else "0")
        try:
            self._session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its exceptions have no common base but this
            raise Trouble("model", "ONNX Runtime does not load the model: " + _line(error)) from error
        self.inputs: Dict[str, Tuple[int, ...]] = {}
        self.free: Dict[str, Tuple[bool, ...]] = {}
        self.types: Dict[str, str] = {}
        for item in self._session.get_inputs():
            if item.type not in ORT_TYPES:
                raise Trouble("model", "the model takes {}; images are {}".format(item.type, ", ".join(ORT_TYPES)))
            self.inputs[item.name] = tuple(size if isinstance(size, int) else 1 for size in item.shape)
            self.free[item.name] = tuple(not isinstance(size, int) for size in item.shape)
            self.types[item.name] = ORT_TYPES[item.type]
        self._outputs = [item.name for item in self._session.get_outputs()]
        self._binding: Any = None

    def runner(self) -> Callable[[], object]:
        """One run on fixed inputs, without arguments; inputs and outputs are bound once."""
        if self._binding is None:
            rng = np.random.default_rng(_INPUT_SEED)
            binding = self._session.io_binding()
            for name, shape in self.inputs.items():
                value = self._ort.OrtValue.ortvalue_from_numpy(_seeded(rng, shape, self.types[name]))
                binding.bind_ortvalue_input(name, value)
            for name in self._outputs:
                binding.bind_output(name)
            self._binding = binding
        run, binding = self._session.run_with_iobinding, self._binding
        return lambda: run(binding)

    def run(self, feeds: Dict[str, Any]) -> Dict[str, Any]:
        """Outputs by name."""
        return dict(zip(self._outputs, self._session.run(self._outputs, feeds)))


class TfliteNetwork:
    """A .tflite model in LiteRT or its predecessor."""

    def __init__(self, path: str, threads: int) -> None:
        try:
            self._interpreter = _tflite_interpreter()(model_path=path, num_threads=threads)
            self._interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            raise Trouble("model", "LiteRT does not load the model: " + _line(error)) from error
        details = self._interpreter.get_input_details()
        self._indices = {item["name"]: item["index"] for item in details}
        self._shapes = self.inputs = {item["name"]: tuple(int(size) for size in item["shape"]) for item in details}
        self.free = {item["name"]: tuple(int(size) == -1 for size in item["shape_signature"]) for item in details}
        self.types = {item["name"]: np.dtype(item["dtype"]).name for item in details}

    def runner(self) -> Callable[[], object]:
        """One run on fixed inputs, without arguments."""
        rng = np.random.default_rng(_INPUT_SEED)
        self._set({name: _seeded(rng, self.inputs[name], self.types[name]) for name in self.inputs})
        return self._interpreter.invoke  # type: ignore[no-any-return]

    def run(self, feeds: Dict[str, Any]) -> Dict[str, Any]:
        """Outputs by name."""
        self._set(feeds)
        self._interpreter.invoke()
        return {d["name"]: self._interpreter.get_tensor(d["index"]) for d in self._interpreter.get_output_details()}

    def _set(self, feeds: Dict[str, Any]) -> None:
        """Fill the inputs; of another batch than last time, everything is laid out anew."""
        shapes = {name: value.shape for name, value in feeds.items()}
        if shapes != self._shapes:
            for name in feeds:
                self._interpreter.resize_tensor_input(self._indices[name], shapes[name])
            self._interpreter.allocate_tensors()
            self._shapes = shapes
        for name, value in feeds.items():
            self._interpreter.set_tensor(self._indices[name], value)


LITERT = ("ai_edge_litert", "tflite_runtime")
NETWORKS: Dict[str, Any] = {"onnxruntime": OrtNetwork, "litert": TfliteNetwork}


def runtimes() -> Dict[str, str]:
    """Version of each runtime that is there."""
    found = {}
    for name, packages in (("onnxruntime", ("onnxruntime",)), ("litert", LITERT)):
        for package in packages:
            try:
                found[name] = str(getattr(_package(package), "__version__", "unknown"))
                break
            except Trouble:
                continue
    return found


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except Exception as error:  # one that is there but broken, or built for another numpy, is missing as well
        raise Trouble("runtime", f"{name} cannot be imported ({_line(error)})") from error


def _tflite_interpreter() -> Any:
    for package in LITERT:
        try:
            return importlib.import_module(package + ".interpreter").Interpreter
        except ImportError:
            continue
    raise Trouble("runtime", "neither ai_edge_litert nor tflite_runtime can be imported")


def _seeded(rng: Any, shape: Sequence[int], kind: str) -> Any:
    """Inputs to be timed on: normal numbers, or all codes alike."""
    if kind == "float32":
        return rng.standard_normal(shape, np.float32)
    return rng.integers(np.iinfo(kind).min, np.iinfo(kind).max, shape, dtype=np.dtype(kind), endpoint=True)


COMMANDS = ("hello", "isolate", "reading", "open", "visit", "time", "run", "close")


class Agent:
    """What it remembers from one request to the next."""

    def __init__(self) -> None:
        self._networks: Dict[str, Any] = {}
        self._kernel: Optional[ReferenceKernel] = None
        self._threads = 1
        self._evicted: Any = None

    def answer(self, request: Dict[str, Any]) -> Dict[str, Any]:
        """The answer to one request. Raises Trouble."""
        if request.get("do") not in COMMANDS:
            raise Trouble("input", f"cannot do {request.get('do')!r}")
        return getattr(self, request["do"])(request)  # type: ignore[no-any-return]

    def hello(self, _: Dict[str, Any]) -> Dict[str, Any]:
        """Who answers."""
        if np is None:
            raise Trouble("runtime", f"numpy cannot be imported by {sys.executable}")
        return {
            "agent": AGENT_VERSION,
            "python": platform.python_version(),
            "executable": sys.executable,
            "architecture": platform.machine(),
            "numpy": np.__version__,
            "runtimes": runtimes(),
            "reference": reference_identity(),
        }

    def isolate(self, request: Dict[str, Any]) -> Dict[str, Any]:
        """Pin this process to its quietest cores, without garbage collection, until it ends."""
        self._threads = int(request["threads"])
        cores: Tuple[int, ...] = ()
        if hasattr(os, "sched_setaffinity"):
            usable = os.sched_getaffinity(0)
            if self._threads > len(usable):
                raise Trouble("input", f"{self._threads} threads need as many cores, there are {len(usable)}")
            cores = quietest_cores(self._threads, usable)
            os.sched_setaffinity(0, cores)
        gc.collect()
        gc.disable()
        return {"cores": cores}

    def reading(self, _: Dict[str, Any]) -> Dict[str, Any]:
        """One reading of the reference kernel."""
        return {"reference_ms": self._reference()}

    def open(self, request: Dict[str, Any]) -> Dict[str, Any]:
        """Load a model; a name that is taken is replaced."""
        path = request["path"]
        try:
            with open(path, "rb") as handle:
                digest = hashlib.sha256(handle.read()).hexdigest()
        except OSError as error:
            raise Trouble("missing", f"{path} cannot be read ({error.strerror})") from error
        if digest != request["sha256"]:
            raise Trouble("missing", f"{path} is another file than was sent")
        self._networks.pop(request["name"], None)
        network = NETWORKS[request["runtime"]](path, int(request["threads"]))
        self._networks[request["name"]] = network
        shapes = {name: list(shape) for name, shape in network.inputs.items()}
        return {"inputs": shapes, "free": {name: list(free) for name, free in network.free.items()}}

    def close(self, request: Dict[str, Any]) -> Dict[str, Any]:
        """Forget a model."""
        self._networks.pop(request["name"], None)
        return {}

    def time(self, request: Dict[str, Any]) -> Dict[str, Any]:
        """Runs back to back."""
        return {"samples_ms": _timed(self._network(request).runner(), int(request["repeats"]))}

    def run(self, request: Dict[str, Any]) -> Dict[str, Any]:
        """Outputs for inputs in files: .npy in, one .npz out."""
        network = self._network(request)
        feeds = {}
        for name, path in request["inputs"].items():
            feeds[name] = np.ascontiguousarray(np.load(path, allow_pickle=False), dtype=network.types[name])
        np.savez(request["output"], **network.run(feeds))
        return {}

    def visit(self, request: Dict[str, Any]) -> Dict[str, Any]:
        """Reference kernel, warm-up, runs back to back, reference kernel."""
        run = self._network(request).runner()
        before_ms = self._reference()
        spent, runs, one = 0.0, 0, 0.0
        while runs < request["warmups"] or (runs < request["max_warmups"] and spent < request["warmup_ms"]):
            one = _timed(run, 1)[0]
            spent, runs = spent + one, runs + 1
        wanted = math.ceil(request["visit_ms"] / one) if one > 0 else request["repeats"]
        repeats = min(max(wanted, request["repeats"]), request["max_repeats"])
        wall, cpu = time.perf_counter_ns(), time.thread_time_ns()
        if request["evict_bytes"]:
            samples = []
            for _ in range(request["repeats"]):
                self._evict(request["evict_bytes"])
                samples += _timed(run, 1)
        else:
            samples = _timed(run, repeats)
        cpu_ns, wall_ns = time.thread_time_ns() - cpu, time.perf_counter_ns() - wall
        return {
            "samples_ms": samples,
            "wall_ms": wall_ns / 1e6,
            "cpu_share": min(1.0, cpu_ns / max(wall_ns, 1)) if self._threads == 1 else 1.0,
            "reference_ms": [before_ms, self._reference()],
            "memory_bytes": memory_high_water(),
            "state": state(),
        }

    def _network(self, request: Dict[str, Any]) -> Any:
        if request["name"] not in self._networks:
            raise Trouble("missing", "no model {!r} was opened".format(request["name"]))
        return self._networks[request["name"]]

    def _reference(self) -> float:
        if self._kernel is None:
            self._kernel = ReferenceKernel()
        return self._kernel()

    def _evict(self, size: int) -> None:
        if self._evicted is None or self._evicted.size != max(size, _LEAST_EVICTED_BYTES):
            self._evicted = np.zeros(max(size, _LEAST_EVICTED_BYTES), np.uint8)
        self._evicted += 1


def _timed(run: Callable[[], object], repeats: int) -> List[float]:
    clock = time.perf_counter_ns
    spans = [0] * repeats
    for i in range(repeats):
        start = clock()
        run()
        spans[i] = clock() - start
    return [span / 1e6 for span in spans]


def quietest_cores(count: int, usable: Any) -> Tuple[int, ...]:
    """The least busy cores; of equal ones the last, for the first serve interrupts."""
    before = _busy_ticks()
    if before:
        time.sleep(_LOOK_S)
    after = _busy_ticks()
    ranked = sorted(usable, key=lambda core: (after.get(core, 0) - before.get(core, 0), -_speed(core), -core))
    return tuple(sorted(ranked[:count]))


def _speed(core: int) -> int:
    """Greatest clock: the big cores of a phone come first."""
    text = _read(f"/sys/devices/system/cpu/cpu{core}/cpufreq/cpuinfo_max_freq")
    return int(text) if text.isdigit() else 0


def _busy_ticks() -> Dict[int, int]:
    ticks = {}
    for line in _read("/proc/stat").splitlines():
        name, *values = line.split()
        if name.startswith("cpu") and name != "cpu":
            numbers = [int(value) for value in values]
            ticks[int(name[3:])] = sum(numbers) - numbers[3] - (numbers[4] if len(numbers) > 4 else 0)
    return ticks


def memory_high_water() -> int:
    """Most main memory that this process has had, bytes."""
    found = re.search(r"^VmHWM:\s*(\d+) kB", _read("/proc/self/status"), re.MULTILINE)
    return int(found.group(1)) * 1024 if found else 0


def state() -> Dict[str, Any]:
    """Temperature of the hottest sensor, clock of the first core in use, governor: None where nothing tells."""
    core = min(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
    zones = [_read(path) for path in glob.glob("/sys/class/thermal/thermal_zone*/temp")]
    clock = _read(f"/sys/devices/system/cpu/cpu{core}/cpufreq/scaling_cur_freq")
    return {
        "temperature_c": max((int(zone) / 1e3 for zone in zones if re.match(r"-?\d+$", zone)), default=None),
        "clock_mhz": int(clock) / 1e3 if clock.isdigit() else None,
        "governor": _read(f"/sys/devices/system/cpu/cpu{core}/cpufreq/scaling_governor") or None,
    }


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as handle:
            return handle.read().strip("\0\n ")
    except OSError:
        return ""


def main() -> int:
    """Answer until the input ends."""
    # Libraries print what they like: to standard error, then. Answers have a way of their own.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    agent = Agent()
    for line in sys.stdin:
        try:
            request = json.loads(line)
            answer = {"id": request["id"], "ok": True, **agent.answer(request)}
        except Trouble as error:
            answer = {"id": request["id"], "ok": False, "kind": error.kind, "error": _line(error)}
        except MemoryError:
            answer = {"id": request["id"], "ok": False, "kind": "memory", "error": "out of memory"}
        except Exception as error:  # whatever it was is told on the other side, in one line
            number = request.get("id") if isinstance(request, dict) else None
            text = f"{type(error).__name__}: {_line(error)}"
            answer = {"id": number, "ok": False, "kind": "input", "error": text}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
    return 0


def _line(error: object) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


if __name__ == "__main__":
    sys.exit(main())
