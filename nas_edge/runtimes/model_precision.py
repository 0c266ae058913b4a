"""In which precision an ONNX file computes, told from its operators without parsing it."""

from __future__ import annotations

import re

_QUANTISED = re.compile(rb"QuantizeLinear|QLinear(?:Conv|MatMul)|(?:Conv|MatMul)Integer")


def model_precision(onnx_model: bytes) -> str:
    """ "int8" for a model with quantised operators or QDQ pairs, else "fp32"."""
    return "int8" if _QUANTISED.search(onnx_model) else "fp32"
