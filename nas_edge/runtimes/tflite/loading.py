"""A `.tflite` file that is there already: what it takes, gives and computes in."""

from __future__ import annotations

from typing import Any

import numpy as np

from nas_edge.errors import ExportError, MissingExtraError
from nas_edge.runtimes.ports import Port
from nas_edge.runtimes.tflite.convert import TfliteModel
from nas_edge.runtimes.tflite.file import IDENTIFIER

_KINDS = {np.float32: "float32", np.int8: "int8", np.uint8: "uint8"}


def is_tflite(data: bytes) -> bool:
    """Whether these are the first bytes of a `.tflite` file."""
    return data[4:8] == IDENTIFIER


def read_tflite(data: bytes) -> TfliteModel:
    """A file with its inputs and outputs as they are: channels last, codes where it takes codes.

    Raises:
        ExportError: it is damaged, or takes something else than numbers of images. MissingExtraError.

    """
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise MissingExtraError("ai-edge-litert", "litert", "reading .tflite files") from error
    try:
        interpreter = Interpreter(model_content=data)
        inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
        kinds = {item["dtype"] for item in interpreter.get_tensor_details()}
    except (ValueError, RuntimeError) as error:
        raise ExportError(f"this is no .tflite file, or a damaged one: {str(error).splitlines()[0][:200]}") from error
    return TfliteModel(
        data, tuple(map(_port, inputs)), tuple(map(_port, outputs)), "int8" if np.int8 in kinds else "fp32"
    )


def _port(details: dict[str, Any]) -> Port:
    if details["dtype"] not in _KINDS:
        raise ExportError(
            f"{details['name']!r} of the .tflite file is {np.dtype(details['dtype'])}; float32 and int8 are known"
        )
    kind = _KINDS[details["dtype"]]
    shape = tuple(int(size) for size in details["shape"])
    signature = details.get("shape_signature")
    free = signature is not None and len(signature) > 0 and int(signature[0]) == -1
    return Port(details["name"], shape, free, channels_last=True, kind=kind, given=kind)
