"""LiteRT (TensorFlow Lite) on CPUs: ONNX becomes a `.tflite` file, which XNNPACK runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas_edge.errors import ExportError, MeasurementError, MissingExtraError
from nas_edge.runtimes.base import check_request
from nas_edge.runtimes.model_precision import model_precision
from nas_edge.runtimes.ports import Port, fed
from nas_edge.runtimes.registry import register_runtime
from nas_edge.runtimes.tflite import TfliteModel, convert
from nas_edge.runtimes.tflite.interpreter import load_interpreter
from nas_edge.runtimes.tflite.loading import is_tflite, read_tflite

_INPUT_SEED = 0


class LiteRtFiles:
    """What a runtime called "litert" runs, by whatever program and wherever: `.tflite` files."""

    @property
    def name(self) -> str:
        """Always "litert"."""
        return "litert"

    @property
    def precisions(self) -> tuple[str, ...]:
        """What the models may be in."""
        return ("fp32", "int8")

    def made(self, onnx_model: bytes, precision: str, threads: int) -> TfliteModel:
        """The file of a model. Raises MeasurementError as `artefact`; SpaceError: unknown precision, no threads."""
        check_request(self.name, self.precisions, precision, threads)
        return artefact(onnx_model, precision)


@register_runtime("litert")
class LiteRt(LiteRtFiles):
    """The interpreter of ai-edge-litert with its default delegate."""

    def version(self) -> str:
        """Of the installed package."""
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("ai-edge-litert")
        except PackageNotFoundError as error:
            raise MissingExtraError("ai-edge-litert", "litert", "running .tflite files") from error

    def prepare(self, onnx_model: bytes, precision: str, threads: int) -> LiteRtSession:
        """Load a model: ONNX, which is converted, or a `.tflite` file, which is taken as it is.

        Raises:
            MeasurementError: it cannot be converted, LiteRT refuses it, or it is of another precision.
            SpaceError: unknown precision, threads below 1. MissingExtraError: LiteRT is not installed.

        """
        return LiteRtSession(self.made(onnx_model, precision, threads), threads)


def artefact(model: bytes, precision: str) -> TfliteModel:
    """The `.tflite` file that stands for a model, ONNX or already one.

    Raises:
        MeasurementError: it cannot be converted, is none, or is of another precision.

    """
    try:
        made = read_tflite(model) if is_tflite(model) else None
        found = made.precision if made else model_precision(model)
        if found != precision:
            advice = "quantise it first" if precision == "int8" else f"measure it as {found}"
            raise MeasurementError(f"the model computes in {found}, not {precision}; {advice}")
        return made or convert(model)
    except ExportError as error:
        raise MeasurementError(str(error)) from error


class LiteRtSession:
    """One loaded file; see `Session`. Inputs and outputs are those of the ONNX model, channels first.

    Args:
        model: the file.
        threads: of the delegate.
        reference: run TensorFlow Lite's reference kernels instead, whose sums TensorFlow Lite Micro repeats to the bit.

    """

    def __init__(self, model: TfliteModel, threads: int, *, reference: bool = False) -> None:
        self._interpreter: Any
        try:
            self._interpreter = load_interpreter(model.data, threads, reference=reference)
        except (ValueError, RuntimeError) as error:
            raise MeasurementError(f"LiteRT does not load the model: {_line(error)}") from error
        self._ports = model.inputs
        self._model = model
        self._sources = [item["index"] for item in self._interpreter.get_input_details()]
        self._targets = [item["index"] for item in self._interpreter.get_output_details()]
        self._timed: Callable[[], object] | None = None  # while the inputs are those to be timed on

    @property
    def inputs(self) -> Mapping[str, tuple[int, ...]]:
        """Shape of each input, as in the ONNX model; a dynamic batch is 1."""
        return {port.name: port.shape for port in self._ports}

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Outputs by name, dequantised where the ONNX model gives float32. Raises MeasurementError."""
        interpreter = self._open()
        feeds = fed(self._ports, inputs)
        self._timed = None
        self._resize([value.shape for value in feeds.values()])
        for number, value in zip(self._sources, feeds.values(), strict=True):
            interpreter.set_tensor(number, value)
        interpreter.invoke()
        found = [interpreter.get_tensor(number) for number in self._targets]
        return {port.name: port.outward(value) for port, value in zip(self._model.outputs, found, strict=True)}

    def time(self, repeats: int) -> NDArray[np.float64]:
        """Wall time of `repeats` runs back to back, ms, float64 [repeats]."""
        run, clock = self._ready_to_time(), time.perf_counter_ns
        spans = [0] * repeats
        for i in range(repeats):
            start = clock()
            run()
            spans[i] = clock() - start
        return np.array(spans, np.float64) / 1e6

    def close(self) -> None:
        """Free the model."""
        self._interpreter = self._timed = None

    def _ready_to_time(self) -> Callable[[], object]:
        """The bare run, on fixed inputs of one image; they are filled in once."""
        interpreter = self._open()
        if self._timed is not None:
            return self._timed
        rng = np.random.default_rng(_INPUT_SEED)
        values = [_seeded(rng, port) for port in self._ports]
        self._resize([value.shape for value in values])
        for number, value in zip(self._sources, values, strict=True):
            interpreter.set_tensor(number, value)
        run: Callable[[], object] = interpreter.invoke
        self._timed = run
        return run

    def _resize(self, shapes: list[tuple[int, ...]]) -> None:
        """Of another batch, everything is laid out anew."""
        have = [tuple(int(size) for size in item["shape"]) for item in self._interpreter.get_input_details()]
        if have != shapes:
            for number, shape in zip(self._sources, shapes, strict=True):
                self._interpreter.resize_tensor_input(number, shape)
            self._interpreter.allocate_tensors()

    def _open(self) -> Any:
        if self._interpreter is None:
            raise MeasurementError("this session was closed")
        return self._interpreter


def _seeded(rng: np.random.Generator, port: Port) -> NDArray[Any]:
    """Inputs to be timed on, in the file's layout: normal numbers, or all codes alike."""
    value: NDArray[Any]
    if port.kind == "float32":
        value = rng.standard_normal(port.shape, np.float32)
    else:
        value = rng.integers(-128, 127, port.shape, np.int8, endpoint=True)
    return value if port.channels_last else np.ascontiguousarray(value.transpose(0, 2, 3, 1))


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
