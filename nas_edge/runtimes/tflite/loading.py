"""A `.tflite` file that is there already: what it takes, gives and computes in."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from nas_edge.errors import ExportError
from nas_edge.runtimes.ports import Port
from nas_edge.runtimes.tflite.convert import WRITER, TfliteModel
from nas_edge.runtimes.tflite.file import IDENTIFIER, schema
from nas_edge.runtimes.tflite.interpreter import load_interpreter

_KINDS = {np.float32: "float32", np.int8: "int8", np.uint8: "uint8"}


def is_tflite(data: bytes) -> bool:
    """Whether these are the first bytes of a `.tflite` file."""
    return data[4:8] == IDENTIFIER


def read_tflite(data: bytes) -> TfliteModel:
    """A file with its inputs and outputs.

    One that nas-edge wrote takes and gives what the ONNX model it came from does: float32, channels first. Any other
    takes what it takes: channels last, and codes where it computes in int8.

    Raises:
        ExportError: it is damaged, or takes something else than numbers of images. MissingExtraError.

    """
    try:
        interpreter = load_interpreter(data)
        inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
        kinds = {item["dtype"] for item in interpreter.get_tensor_details()}
    except (ValueError, RuntimeError) as error:
        raise ExportError(f"this is no .tflite file, or a damaged one: {str(error).splitlines()[0][:200]}") from error
    port = _own_port if schema().Model.GetRootAs(data, 0).Description() == WRITER else _port
    return TfliteModel(
        data, tuple(map(port, inputs)), tuple(map(port, outputs)), "int8" if np.int8 in kinds else "fp32"
    )


def _port(details: dict[str, Any]) -> Port:
    if details["dtype"] not in _KINDS:
        found = np.dtype(details["dtype"])
        raise ExportError(f"{details['name']!r} of the .tflite file is {found}; float32, int8 and uint8 are known")
    kind = _KINDS[details["dtype"]]
    shape = tuple(int(size) for size in details["shape"])
    free = len(details["shape_signature"]) > 0 and int(details["shape_signature"][0]) == -1
    return Port(details["name"], shape, free, channels_last=True, kind=kind, given=kind)


def _own_port(details: dict[str, Any]) -> Port:
    port = _port(details)
    scale, zero = details["quantization"] if port.kind == "int8" else (1.0, 0)
    if pixels := len(port.shape) == 4:
        batch, height, width, channels = port.shape
        port = replace(port, shape=(batch, channels, height, width))
    return replace(port, channels_last=not pixels, given="float32", scale=float(scale), zero=int(zero))
