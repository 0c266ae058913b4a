"""Does int8 arithmetic overflow on this CPU? Asked of the runtime itself, with the largest products there are.

x86 CPUs without VNNI multiply unsigned by signed bytes with `pmaddubsw`, which adds two products up in 16 signed bits:
2 x 255 x 127 does not fit, and is cut off without a word. Weights of 7 bits (2 x 255 x 63) do fit.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray

from nas_edge.errors import MeasurementError
from nas_edge.runtimes.base import Runtime
from nas_edge.runtimes.onnx_runtime import OnnxRuntime
from nas_edge.spaces import BlockSpec, Kind
from nas_edge.spaces.onnx_blocks import build_onnx
from nas_edge.spaces.onnx_quantise import QdqForm, quantise

_CHANNELS = 64
_TOLERANCE = 0.02  # of the result; an overflow loses half of it
_POINTWISE = BlockSpec(Kind.HEAD, 8, 8, _CHANNELS, _CHANNELS, _CHANNELS, norm=False)
_LINEAR = BlockSpec(Kind.LINEAR, 1, 1, _CHANNELS, _CHANNELS, _CHANNELS)

Run = Callable[[bytes, NDArray[np.float32]], NDArray[np.float32]]


def saturates(run: Run) -> bool:
    """Whether a runtime's int8 convolutions or linear layers overflow.

    Args:
        run: runs an int8 model on its input, float32 in and out.

    """
    return any(_overflows(block, run) for block in (_POINTWISE, _LINEAR))


@cache
def weight_bits() -> int:
    """How many bits weights may have for ONNX Runtime on this machine: 8, or 7 where it overflows."""
    return weight_bits_of(OnnxRuntime())


def weight_bits_of(runtime: Runtime) -> int:
    """The same for a runtime wherever it runs: another CPU may overflow where this one does not."""
    return 7 if saturates(_runs_in(runtime)) else 8


def local_form() -> QdqForm:
    """The form of int8 models for ONNX Runtime on this machine."""
    return QdqForm(weight_bits=weight_bits())


def _runs_in(runtime: Runtime) -> Run:
    def run(model: bytes, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        session = runtime.prepare(model, "int8", 1)
        try:
            found: NDArray[np.float32] = next(iter(session.run({"input": inputs}).values()))
        finally:
            session.close()
        return found

    return run


def _overflows(block: BlockSpec, run: Run) -> bool:
    """Greatest inputs times greatest weights: each sum is channels x 1 x 1, if nothing is lost."""
    names = {"conv.weight": (_CHANNELS, _CHANNELS, 1, 1), "linear.weight": (_CHANNELS, _CHANNELS)}
    layer = "linear" if block.kind is Kind.LINEAR else "conv"
    weights = {f"b00.{layer}.weight": np.ones(names[f"{layer}.weight"], np.float32)}
    if block.kind is Kind.LINEAR:
        weights["b00.linear.bias"] = np.zeros(_CHANNELS, np.float32)
    model = build_onnx((block,), weights)
    high = 1.5 * _CHANNELS
    ranges = {"input": (0.0, 1.0), model.graph.output[0].name: (0.0, high)}
    ranges |= {node.output[0]: (0.0, 1.0 if node.op_type == "Flatten" else high) for node in model.graph.node}
    quantised = quantise(model, ranges).SerializeToString()
    found = run(quantised, np.ones((1, _CHANNELS, block.height, block.width), np.float32))
    if not found.size or not np.isfinite(found).all():
        raise MeasurementError("the int8 self-test gave no finite result; the runtime cannot be used in int8")
    return bool((np.abs(found / _CHANNELS - 1) > _TOLERANCE).any())
