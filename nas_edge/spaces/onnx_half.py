"""Half precision: a float32 model of `onnx_blocks` with every weight and every sum in float16, which its types say.

Runtimes that follow a graph's types (TensorRT from version 11, and before it with a flag) then compute in float16 and
in nothing else. Weights are rounded to the nearest float16; what float16 cannot hold is an error, not infinity.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nas_edge.errors import ExportError

if TYPE_CHECKING:
    import onnx

_KNOWN = (
    "Conv", "Gemm", "Relu", "Clip", "HardSwish", "HardSigmoid", "Mul", "Add", "GlobalAveragePool", "Flatten",
    "Identity",
)  # fmt: skip
_GREATEST = 65504.0


def half(model: onnx.ModelProto, *, inner: bool = False) -> onnx.ModelProto:
    """The float16 form of a float32 model.

    Args:
        model: from `build_onnx`.
        inner: the model is a part of a network, whose inputs and outputs are float16 as well. Otherwise images and
            logits stay float32: one Cast at either end.

    Raises:
        ExportError: an operator that `onnx_blocks` does not write (operator and node are named), or a weight that
            float16 cannot hold.

    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    for node in graph.node:
        if node.op_type not in _KNOWN:
            raise ExportError(f"node {node.name!r}: operator {node.op_type} has no form in half precision here")
    for item in graph.initializer:
        if item.data_type != TensorProto.FLOAT:
            raise ExportError(f"tensor {item.name!r} is not float32; half precision is made of float32 models")
        array = numpy_helper.to_array(item)
        if not (np.abs(array) <= _GREATEST).all():
            raise ExportError(f"weight {item.name!r} reaches {np.abs(array).max():.3g}: float16 ends at {_GREATEST:g}")
        item.CopyFrom(numpy_helper.from_array(array.astype(np.float16), item.name))
    source, target = graph.input[0], graph.output[0]
    if inner and source.name != "image":
        source.type.tensor_type.elem_type = TensorProto.FLOAT16
    else:
        _rename(graph, source.name, f"{source.name}.half", inputs=True)
        cast = helper.make_node(
            "Cast", [source.name], [f"{source.name}.half"], name=f"{source.name}.to_half", to=TensorProto.FLOAT16
        )
        graph.node.insert(0, cast)
    if inner and target.name != "logits":
        target.type.tensor_type.elem_type = TensorProto.FLOAT16
    else:
        _rename(graph, target.name, f"{target.name}.half", inputs=False)
        graph.node.append(
            helper.make_node(
                "Cast", [f"{target.name}.half"], [target.name], name=f"{target.name}.to_float", to=TensorProto.FLOAT
            )
        )
    helper.set_model_props(result, {item.key: item.value for item in model.metadata_props} | {"precision": "fp16"})
    return result


def _rename(graph: Any, old: str, new: str, *, inputs: bool) -> None:
    """A tensor where nodes read it, or where they write (and read) it."""
    for node in graph.node:
        node.input[:] = [new if name == old else name for name in node.input]
        if not inputs:
            node.output[:] = [new if name == old else name for name in node.output]
