"""Models in ONNX Runtime for what they answer, not for how fast: opened in one way wherever answers are compared.

On x86 CPUs without VNNI its quickest int8 kernels overflow with weights of 8 bits (see `runtimes.saturation`). Here it
takes those that do not: a file for a device that does not overflow answers on this machine as it does there, and one
for a device that does has weights of 7 bits, with which neither overflow.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from nas_edge.errors import ExportError

if TYPE_CHECKING:
    import onnxruntime

_ERRORS_ONLY = 3  # an optimiser's remarks belong on nobody's terminal
_WITHOUT_OVERFLOW = ("session.x64quantprecision", "1")


def answering_session(model: bytes, threads: int = 1) -> onnxruntime.InferenceSession:
    """A serialised model on the CPU, ready to be asked. Raises ExportError: ONNX Runtime does not load it."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # on by default in its Linux wheels
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = _ERRORS_ONLY
    options.add_session_config_entry(*_WITHOUT_OVERFLOW)
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions have no common base but this
        raise ExportError(f"ONNX Runtime does not load the model: {str(error).splitlines()[0]}") from error
