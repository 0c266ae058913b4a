"""ONNX Runtime on CPUs."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas_edge.errors import MeasurementError
from nas_edge.runtimes.base import check_request
from nas_edge.runtimes.diagnosis import why_not
from nas_edge.runtimes.layers import LayerTime
from nas_edge.runtimes.model_precision import model_precision
from nas_edge.runtimes.registry import register_runtime

_ORT_WARNINGS_OFF = 3  # errors only: an optimiser's remarks belong on nobody's terminal
_INPUT_SEED = 0
_WARMUPS = 5


@register_runtime("onnxruntime")
class OnnxRuntime:
    """The CPU provider, sequential, all graph optimisations."""

    @property
    def name(self) -> str:
        """Always "onnxruntime"."""
        return "onnxruntime"

    @property
    def precisions(self) -> tuple[str, ...]:
        """What the models may be in."""
        return ("fp32", "int8")

    def version(self) -> str:
        """Of the installed package."""
        version: str = _onnxruntime().__version__
        return version

    def prepare(self, onnx_model: bytes, precision: str, threads: int) -> OnnxSession:
        """Load a model; int8 is a model with quantised operators or QDQ pairs.

        Raises:
            MeasurementError: ONNX Runtime refuses it, or it is of another precision.
            SpaceError: unknown precision, threads below 1.

        """
        check_request(self.name, self.precisions, precision, threads)
        session = OnnxSession(onnx_model, threads)
        found = model_precision(onnx_model)
        if found != precision:
            session.close()
            advice = "quantise it first" if precision == "int8" else "measure it as int8"
            raise MeasurementError(f"the model computes in {found}, not {precision}; {advice}")
        return session

    def layer_times(self, onnx_model: bytes, precision: str, threads: int, repeats: int = 50) -> tuple[LayerTime, ...]:
        """See `LayeredRuntime`; by ONNX Runtime's own profiler, in whole microseconds, averaged over the runs."""
        self.prepare(onnx_model, precision, threads).close()
        with tempfile.TemporaryDirectory(prefix="nas-edge-") as folder:
            session = OnnxSession(onnx_model, threads, f"{folder}/trace")
            session.time(_WARMUPS)
            session.time(repeats)
            trace = json.loads(Path(session.end_profile()).read_bytes())
            session.close()
        return _layers_of(trace, _WARMUPS + repeats)


class OnnxSession:
    """One loaded model; see `Session`. With `trace`, a path's beginning, its profiler writes from the start."""

    def __init__(self, onnx_model: bytes, threads: int, trace: str = "") -> None:
        ort = _onnxruntime()
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.log_severity_level = _ORT_WARNINGS_OFF
        # Idle workers that spin keep a core busy after every run: fair while one network runs back to back on
        # several threads, which is what hot means; with one thread there are no workers.
        options.add_session_config_entry("session.intra_op.allow_spinning", "1" if threads > 1 else "0")
        if trace:
            options.enable_profiling, options.profile_file_prefix = True, trace
        try:
            self._session = ort.InferenceSession(onnx_model, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its exceptions have no common base but this
            raise MeasurementError(
                f"ONNX Runtime does not load the model: {why_not(onnx_model, str(error))}"
            ) from error
        for item in self._session.get_inputs():
            if any(not isinstance(size, int) for size in item.shape[1:]):
                shown = " x ".join(str(size or "?") for size in item.shape)
                raise MeasurementError(f"input {item.name!r} is {shown}: fix the sizes other than the batch first")
        self._inputs = {
            item.name: tuple(size if isinstance(size, int) else 1 for size in item.shape)
            for item in self._session.get_inputs()
        }
        self._dynamic = {
            item.name: tuple(not isinstance(size, int) for size in item.shape) for item in self._session.get_inputs()
        }
        self._types = {item.name: _numpy_type(item.type) for item in self._session.get_inputs()}
        self._outputs = [item.name for item in self._session.get_outputs()]
        self._binding: Any = None

    @property
    def inputs(self) -> Mapping[str, tuple[int, ...]]:
        """Shape of each input; a dynamic batch is 1."""
        return self._inputs

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Outputs by name; inputs are cast to what the model takes. Raises MeasurementError where they do not fit."""
        session = self._open()
        feeds = {}
        for name, shape in self._inputs.items():
            if name not in inputs:
                raise MeasurementError(f"input {name!r} {shape} is missing; given: {', '.join(inputs) or 'nothing'}")
            array = np.ascontiguousarray(inputs[name], dtype=self._types[name])
            free = self._dynamic[name]
            if array.ndim != len(shape) or any(
                a != s for a, s, f in zip(array.shape, shape, free, strict=True) if not f
            ):
                raise MeasurementError(f"input {name!r} has shape {array.shape}, the model takes {shape}")
            feeds[name] = array
        return dict(zip(self._outputs, session.run(self._outputs, feeds), strict=True))

    def time(self, repeats: int) -> NDArray[np.float64]:
        """Wall time of `repeats` runs back to back, ms, float64 [repeats]."""
        session, binding = self._open(), self._bound()
        run, clock = session.run_with_iobinding, time.perf_counter_ns
        spans = [0] * repeats
        for i in range(repeats):
            start = clock()
            run(binding)
            spans[i] = clock() - start
        return np.array(spans, np.float64) / 1e6

    def end_profile(self) -> str:
        """End its profiler: the file that it wrote."""
        path: str = self._open().end_profiling()
        return path

    def close(self) -> None:
        """Free the model."""
        self._binding = self._session = None

    def _open(self) -> Any:
        if self._session is None:
            raise MeasurementError("this session was closed")
        return self._session

    def _bound(self) -> Any:
        """Inputs and outputs bound once: the timed span holds no copies and no allocation."""
        if self._binding is None:
            ort = _onnxruntime()
            rng = np.random.default_rng(_INPUT_SEED)
            binding = self._session.io_binding()
            for name, shape in self._inputs.items():
                binding.bind_ortvalue_input(
                    name, ort.OrtValue.ortvalue_from_numpy(_seeded(rng, shape, self._types[name]))
                )
            for name in self._outputs:
                binding.bind_output(name)
            self._binding = binding
        return self._binding


def _layers_of(trace: Any, runs: int) -> tuple[LayerTime, ...]:
    """Kernels of the trace, first warm-ups included: the mean of the later runs."""
    spent: dict[str, list[float]] = {}
    kinds: dict[str, str] = {}
    for event in trace:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            name = event["name"].removesuffix("_kernel_time")
            spent.setdefault(name, []).append(event["dur"] / 1e3)
            kinds[name] = str(event.get("args", {}).get("op_name", ""))
    if not spent or any(len(times) != runs for times in spent.values()):
        raise MeasurementError("ONNX Runtime's profiler did not see every run; are there loops in the model?")
    return tuple(LayerTime(name, kinds[name], float(np.mean(times[_WARMUPS:]))) for name, times in spent.items())


def _onnxruntime() -> Any:
    """The package, its telemetry (on by default in the Linux wheels) switched off."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    return onnxruntime


def _numpy_type(name: str) -> type[np.generic]:
    """ "tensor(uint8)" -> np.uint8. Raises MeasurementError for what a network does not take."""
    known: dict[str, type[np.generic]] = {
        "tensor(float)": np.float32, "tensor(uint8)": np.uint8, "tensor(int8)": np.int8,
    }  # fmt: skip
    if name not in known:
        raise MeasurementError(f"the model takes {name}; images are {', '.join(known)}")
    return known[name]


def _seeded(rng: np.random.Generator, shape: tuple[int, ...], kind: type[np.generic]) -> NDArray[Any]:
    """Inputs to be timed on: normal numbers, or all codes alike."""
    if kind is np.float32:
        return rng.standard_normal(shape, np.float32)
    limits = np.iinfo(np.dtype(kind))
    return rng.integers(limits.min, limits.max, shape, dtype=kind, endpoint=True)
