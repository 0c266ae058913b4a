"""What TensorRT 8 to 11 read alike, of any model that nas-edge writes: float32, float16 or canonical int8.

- Quantised activations are symmetric, signed, of zero point 0: TensorRT refuses others. The ranges, and with them the
  new scales, follow from the canonical scales and zero points; codes of weights stay, biases become float32 again.
- What is between the layers of a network in int8, and lies channels last for ONNX Runtime, is float32 here.
- HardSwish, which parsers before version 8.6 do not know, is written as x * HardSigmoid(x), which is what it is.
- Opset 13, where the model uses nothing newer: the parsers of JetPack 4 end there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nas_edge.errors import ExportError

if TYPE_CHECKING:
    import onnx

OPSET = 13
_IR_VERSION = 7
_UNCHANGED_SINCE_13 = (
    "Conv", "Gemm", "Relu", "Clip", "HardSigmoid", "Mul", "Add", "GlobalAveragePool", "Flatten", "Identity", "Cast",
    "Transpose", "QuantizeLinear", "DequantizeLinear",
)  # fmt: skip
_LEAST_SCALE = 1e-9


def tensorrt_form(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same network for TensorRT; a model that is in this form already stays as it is.

    Raises:
        ExportError: quantised with zero points that TensorRT refuses, in a way that nas-edge does not write (the node
            is named).

    """
    import onnx

    result = onnx.ModelProto()
    result.CopyFrom(model)
    _float_edges(result.graph)
    _symmetric(result.graph)
    _spelled_out(result.graph)
    if all(node.op_type in _UNCHANGED_SINCE_13 and not node.domain for node in result.graph.node):
        for entry in result.opset_import:
            if entry.domain in ("", "ai.onnx"):
                entry.version = min(entry.version, OPSET)
        result.ir_version = min(result.ir_version, _IR_VERSION)
    return result


def _symmetric(graph: onnx.GraphProto) -> None:
    """Scales and zero points of activations, and biases, in place."""
    from onnx import numpy_helper

    arrays = {item.name: item for item in graph.initializer}
    done: set[str] = set()
    dropped: list[Any] = []
    for node in list(graph.node):
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
            continue
        scale, zero = _parameters(node, arrays)
        if node.op_type == "DequantizeLinear" and node.input[0] in arrays:
            codes = numpy_helper.to_array(arrays[node.input[0]])
            if codes.dtype == np.int32:  # a bias: its scale holds for the canonical scale of activations
                _float_constant(graph, node, codes * np.asarray(scale, np.float64))
                dropped.append(node)
            elif zero.any():
                raise ExportError(f"node {node.name!r}: TensorRT takes weights of zero point 0, not {zero.ravel()[0]}")
            continue
        if zero.dtype == np.int8 and not zero.any():
            continue
        if zero.size != 1 or zero.dtype not in (np.int8, np.uint8) or len(node.input) < 3:
            raise ExportError(f"node {node.name!r}: TensorRT takes a zero point of 0, not of {zero.ravel()[:1]}")
        if node.input[1] in done:
            continue
        done |= {node.input[1], node.input[2]}
        limits = np.iinfo(zero.dtype)
        ends = (float(scale) * (limit - int(zero)) for limit in (limits.min, limits.max))
        new = np.float32(max(max(abs(end) for end in ends) / 127, _LEAST_SCALE))
        arrays[node.input[1]].CopyFrom(numpy_helper.from_array(np.asarray(new), node.input[1]))
        arrays[node.input[2]].CopyFrom(numpy_helper.from_array(np.asarray(np.int8(0)), node.input[2]))
    for node in dropped:
        graph.node.remove(node)
    _forget_unused(graph)


def _parameters(node: onnx.NodeProto, arrays: dict[str, Any]) -> tuple[Any, Any]:
    """Scale and zero point of Q or DQ. Raises ExportError where they are no constants."""
    from onnx import numpy_helper

    if any(name not in arrays for name in node.input[1:]):
        raise ExportError(f"node {node.name!r}: TensorRT needs scale and zero point as constants")
    scale = numpy_helper.to_array(arrays[node.input[1]])
    zero = numpy_helper.to_array(arrays[node.input[2]]) if len(node.input) > 2 else np.zeros(1, np.uint8)
    return scale, zero


def _float_constant(graph: onnx.GraphProto, node: onnx.NodeProto, values: Any) -> None:
    from onnx import numpy_helper

    graph.initializer.append(numpy_helper.from_array(values.astype(np.float32), node.output[0]))


def _float_edges(graph: onnx.GraphProto) -> None:
    """Codes at the edges of a part of a network (`quantise(inner=True)`) become float32, channels first."""
    from onnx import TensorProto, helper

    source, target = graph.input[0], graph.output[0]
    integers = (TensorProto.UINT8, TensorProto.INT8)
    if source.type.tensor_type.elem_type in integers and graph.node[0].op_type == "Transpose":
        first, dequantise = graph.node[0], graph.node[1]
        shape = [source.type.tensor_type.shape.dim[i] for i in first.attribute[0].ints]
        sizes = [d.dim_param or d.dim_value for d in shape]
        graph.input[0].CopyFrom(helper.make_tensor_value_info(source.name, TensorProto.FLOAT, sizes))
        graph.node.remove(first)
        parameters = list(dequantise.input[1:])
        graph.node.insert(
            0,
            helper.make_node("QuantizeLinear", [source.name, *parameters], [dequantise.input[0]], name="edge.quantise"),
        )
    if target.type.tensor_type.elem_type in integers and graph.node[-1].op_type == "Transpose":
        last = graph.node[-1]
        quantise = next(node for node in graph.node if last.input[0] in node.output)
        shape = [target.type.tensor_type.shape.dim[i] for i in np.argsort(last.attribute[0].ints)]
        sizes = [d.dim_param or d.dim_value for d in shape]
        graph.output[0].CopyFrom(helper.make_tensor_value_info(target.name, TensorProto.FLOAT, sizes))
        graph.node.remove(last)
        graph.node.append(
            helper.make_node(
                "DequantizeLinear", [quantise.output[0], *quantise.input[1:]], [target.name], name="edge.dequantise"
            )
        )


def _spelled_out(graph: onnx.GraphProto) -> None:
    """HardSwish as the product that it is."""
    from onnx import helper

    nodes = []
    for node in graph.node:
        if node.op_type != "HardSwish":
            nodes.append(node)
            continue
        gate = f"{node.output[0]}.gate"
        nodes.append(
            helper.make_node("HardSigmoid", [node.input[0]], [gate], name=f"{node.name}.gate", alpha=1 / 6, beta=0.5)
        )
        nodes.append(helper.make_node("Mul", [node.input[0], gate], [node.output[0]], name=node.name))
    del graph.node[:]
    graph.node.extend(nodes)


def _forget_unused(graph: onnx.GraphProto) -> None:
    used = {name for node in graph.node for name in node.input}
    kept = [item for item in graph.initializer if item.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
