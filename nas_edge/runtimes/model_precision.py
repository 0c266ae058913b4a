"""In which precision an ONNX file computes, told from its operators and types, as far as possible without parsing."""

from __future__ import annotations

import re

_QUANTISED = re.compile(rb"QuantizeLinear|QLinear(?:Conv|MatMul)|(?:Conv|MatMul)Integer")
_HALF_TENSOR = b"\x10\x0a"  # of a TensorProto: data_type is FLOAT16; as bytes it may be anything else, too
_STATED_HALF = b"\x0a\tprecision\x12\x04fp16"  # of the metadata, as nas-edge writes them
_LAYERS = ("Conv", "Gemm", "MatMul")


def model_precision(onnx_model: bytes) -> str:
    """ "int8" for a model with quantised operators or QDQ pairs, "fp16" for one with layers of float16, else "fp32"."""
    if _QUANTISED.search(onnx_model):
        return "int8"
    if _HALF_TENSOR not in onnx_model:
        return "fp32"
    return "fp16" if _STATED_HALF in onnx_model or _half_layers(onnx_model) else "fp32"


def _half_layers(onnx_model: bytes) -> bool:
    """Whether a layer's weight is float16; what is no ONNX file has none."""
    import onnx

    try:
        graph = onnx.load_from_string(onnx_model).graph
    except Exception:  # protobuf's own, which has no name in onnx: whoever loads the file says so
        return False
    halves = {item.name for item in graph.initializer if item.data_type == onnx.TensorProto.FLOAT16}
    return any(node.op_type in _LAYERS and not halves.isdisjoint(node.input) for node in graph.node)
