"""Static int8: QuantizeLinear and DequantizeLinear pairs (QDQ) in a float32 model of `onnx_blocks`, from known ranges.

Weights are symmetric int8, one scale an output channel; biases int32 of scale (input x weight); activations one scale a
tensor. Batch norms are folded already, and an activation that only cuts off (ReLU, ReLU6) stays with its convolution:
what lies between two is never quantised. Scheme and notation follow Jacob et al. (CVPR 2018).

The same ranges and weights give every form that runtimes want: a `QdqForm` says which.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nas_edge.errors import ExportError

if TYPE_CHECKING:
    import onnx

Ranges = Mapping[str, tuple[float, float]]
"""Least and greatest value of each tensor that `observed_tensors` names."""

_CUTTING = ("Relu", "Clip")  # fused into the convolution before them by every runtime
_SAME_NUMBERS = ("Flatten", "Identity")  # hand on what they are given, scale included
_LAYERS = ("Conv", "Gemm")
_OTHERS = ("HardSwish", "HardSigmoid", "Mul", "Add", "GlobalAveragePool")
_LEAST_SCALE = 1e-9
_INT32 = 2**31 - 1


@dataclass(frozen=True)
class QdqForm:
    """How a quantised model is laid out for a runtime.

    Attributes:
        signed: activations are int8, else uint8.
        symmetric: their zero point is 0 (implies signed).
        weight_bits: 8; 7 where the runtime adds products up in 16 bits, which overflow (see `runtimes.saturation`).
        integer_biases: int32 with a scale of their own; else float32, which the runtime quantises.
        float_output: logits leave the last layer as float32, which costs nothing; else they are quantised as well.

    """

    signed: bool = False
    symmetric: bool = False
    weight_bits: int = 8
    integer_biases: bool = True
    float_output: bool = True

    def __post_init__(self) -> None:
        if self.symmetric and not self.signed:
            raise ExportError("a symmetric form has signed activations")
        if self.weight_bits not in (7, 8):
            raise ExportError(f"weights have 7 or 8 bits, not {self.weight_bits}")


OUTPUT_RANGE = "output_range"
"""Metadata of a quantised model: range of its output as JSON, for forms in which that is quantised as well."""

CANONICAL = QdqForm()
"""Unsigned activations: ONNX Runtime on x86 leaves convolutions of signed ones in float32."""
TFLITE = QdqForm(signed=True, float_output=False)
TENSORRT = QdqForm(signed=True, symmetric=True, integer_biases=False)


def observed_tensors(model: onnx.ModelProto) -> tuple[str, ...]:
    """Tensors whose ranges `quantise` needs, the input first.

    Raises:
        ExportError: an operator that `onnx_blocks` does not write (operator and node are named).

    """
    graph = model.graph
    users = _users(graph)
    names = [graph.input[0].name]
    for node in graph.node:
        if node.op_type not in (*_LAYERS, *_OTHERS, *_CUTTING, *_SAME_NUMBERS):
            raise ExportError(f"node {node.name!r}: operator {node.op_type} cannot be quantised")
        if node.op_type not in _SAME_NUMBERS and not _cut_by_next(node, users):
            names.append(node.output[0])
    return tuple(names)


def quantisable_layers(model: onnx.ModelProto) -> tuple[str, ...]:
    """Names of the layers with weights, in graph order: what can be kept in float one by one."""
    return tuple(node.name for node in model.graph.node if node.op_type in _LAYERS)


def quantise(
    model: onnx.ModelProto,
    ranges: Ranges,
    form: QdqForm = CANONICAL,
    *,
    inner: bool = False,
    keep_float: Collection[str] = (),
) -> onnx.ModelProto:
    """The int8 form of a float32 model.

    Args:
        model: from `build_onnx`.
        ranges: of `observed_tensors(model)`.
        form: what the runtime wants.
        inner: the model is a part of a network: what it takes and gives is quantised, channels last, as it is between
            the layers of a whole network. Images stay float32, and so do logits of a form with float output.
        keep_float: names of nodes that compute in float32; a layer takes the activation behind it along. What lies
            between two of them is not quantised either.

    Raises:
        ExportError: an operator that cannot be quantised, a range missing or not finite, no node of such a name.

    """
    from onnx import helper

    if missing := [name for name in observed_tensors(model) if name not in ranges]:
        raise ExportError(f"the range of {len(missing)} tensors is not known, the first is {missing[0]!r}")
    if unknown := set(keep_float) - {node.name for node in model.graph.node}:
        raise ExportError(f"there is no node {min(unknown)!r} to be kept in float")
    writer = _Writer(model.graph, ranges, form, inner, set(keep_float))
    for node in model.graph.node:
        writer.add(node)
    graph = helper.make_graph(
        writer.nodes, model.graph.name, [writer.source], [writer.target], list(writer.initializers.values())
    )
    result: onnx.ModelProto = helper.make_model(
        graph, opset_imports=model.opset_import, ir_version=model.ir_version, producer_name=model.producer_name
    )
    properties = {item.key: item.value for item in model.metadata_props} | {"precision": "int8"}
    if (last := model.graph.output[0].name) in ranges:
        properties[OUTPUT_RANGE] = json.dumps([float(end) for end in ranges[last]])
    helper.set_model_props(result, properties)
    return result


def quantised_weights(weight: NDArray[Any], bits: int = 8) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """A weight [out, ...] as int8 of the same shape and float32 scales [out]; the least code is not used."""
    limit = 2 ** (bits - 1) - 1
    rows = np.abs(weight.reshape(len(weight), -1)).max(axis=1)
    # A filter of zeros may have a bias, which is counted in steps of this scale: next to nothing would overflow it.
    scale = np.where(rows > 0, np.maximum(rows / limit, _LEAST_SCALE), 1 / limit).astype(np.float32)
    codes = np.rint(weight / scale.reshape(-1, *[1] * (weight.ndim - 1)))
    return np.clip(codes, -limit, limit).astype(np.int8), scale


@dataclass(frozen=True)
class _Scale:
    """Scale and zero point of an activation: real = scale x (code - zero)."""

    scale: np.float32
    zero: np.int8 | np.uint8

    @classmethod
    def of(cls, name: str, low: float, high: float, form: QdqForm) -> _Scale:
        if not (np.isfinite(low) and np.isfinite(high)):
            raise ExportError(f"tensor {name!r}: a range of {low} to {high} cannot be quantised")
        low, high = min(low, 0.0), max(high, 0.0)  # zero must be exact: it is what padding holds
        if low == high:
            high = 1.0  # always zero: any scale is exact, and runtimes refuse one that is next to nothing
        if form.symmetric:
            return cls(np.float32(max(max(-low, high) / 127, _LEAST_SCALE)), np.int8(0))
        scale = max((high - low) / 255, _LEAST_SCALE)
        zero = int(np.clip(np.rint(-low / scale), 0, 255))
        return cls(np.float32(scale), np.int8(zero - 128) if form.signed else np.uint8(zero))


class _Writer:
    """Nodes and initializers of the quantised graph, node by node."""

    def __init__(
        self, graph: onnx.GraphProto, ranges: Ranges, form: QdqForm, inner: bool, keep_float: set[str]
    ) -> None:
        from onnx import TensorProto, helper

        self.form, self.inner, self._ranges = form, inner, ranges
        self.nodes: list[Any] = []
        self.initializers: dict[str, Any] = {}
        self._codes = TensorProto.INT8 if form.signed else TensorProto.UINT8
        self._given = {item.name: item for item in graph.initializer}
        self._users = _users(graph)
        self._float = _with_activations(graph, self._users, keep_float)
        self._plain = _between_floats(graph, self._users, self._float)
        self._real: dict[str, str] = {}  # the float32 name of each tensor, behind its DequantizeLinear
        self._scales: dict[str, _Scale] = {}
        source, self._output = graph.input[0], graph.output[0]
        self._shapes = {item.name: _shape(item) for item in (source, self._output)}
        self.source, self.target = source, self._output
        shape = self._shapes[source.name]
        if inner and source.name != "image":
            self.source = helper.make_tensor_value_info(source.name, self._codes, _channels_last(shape))
            self._scale(source.name)
            self._node("Transpose", f"{source.name}.first", [source.name], f"{source.name}.code", perm=[0, 3, 1, 2])
            self._dequantise(source.name)
        elif source.name not in self._plain:
            self._quantise(source.name, source.name)

    def add(self, node: onnx.NodeProto) -> None:
        """Append a node on dequantised inputs, and quantise its result where that is due."""
        import onnx

        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        del copy.input[:]
        copy.input.extend(self._real.get(name, name) for name in node.input)
        if node.op_type in _LAYERS and node.name not in self._float:
            copy.input[1:] = self._parameters(node)
        for name in copy.input:
            if name in self._given:
                self.initializers[name] = self._given[name]
        self.nodes.append(copy)
        name = node.output[0]
        if _cut_by_next(node, self._users):
            return
        last = name == self._output.name
        if (last and self.form.float_output and len(self._shapes[name]) == 2) or name in self._plain:
            return
        copy.output[0] = f"{name}.real"
        if node.op_type in _SAME_NUMBERS:
            given = node.input[0]  # kept in float it has no scale of its own yet
            self._scales[name] = self._scales.get(given) or _Scale.of(given, *self._ranges[given], self.form)
        self._quantise(name, f"{name}.real", last)

    def _quantise(self, name: str, real: str, last: bool = False) -> None:
        """Q and DQ of a tensor whose float32 values are called `real`."""
        from onnx import helper

        self._scale(name)
        parameters = [f"{name}.scale", f"{name}.zero"]
        self._node("QuantizeLinear", f"{name}.quantise", [real, *parameters], f"{name}.code")
        if last and self.inner and len(shape := self._shapes[name]) == 4:
            self._node("Transpose", f"{name}.last", [f"{name}.code"], name, perm=[0, 2, 3, 1])
            self.target = helper.make_tensor_value_info(name, self._codes, _channels_last(shape))
        else:
            self._dequantise(name, name if last else "")

    def _dequantise(self, name: str, output: str = "") -> None:
        inputs = [f"{name}.code", f"{name}.scale", f"{name}.zero"]
        self._node("DequantizeLinear", f"{name}.dequantise", inputs, output or f"{name}.value")
        self._real[name] = output or f"{name}.value"

    def _scale(self, name: str) -> None:
        if name not in self._scales:
            self._scales[name] = _Scale.of(name, *self._ranges[name], self.form)
        found = self._scales[name]
        self._keep(f"{name}.scale", np.asarray(found.scale))
        self._keep(f"{name}.zero", np.asarray(found.zero))

    def _parameters(self, node: onnx.NodeProto) -> list[str]:
        """Weight and bias of a layer as codes behind DequantizeLinear; the names of their float32 values."""
        from onnx import numpy_helper

        names = list(node.input[1:])
        codes, scale = quantised_weights(numpy_helper.to_array(self._given[names[0]]), self.form.weight_bits)
        results = [self._constant(names[0], codes, scale)]
        if len(names) > 1 and not self.form.integer_biases:
            results.append(names[1])
        elif len(names) > 1:
            scale = scale * self._scales[node.input[0]].scale
            bias = np.rint(numpy_helper.to_array(self._given[names[1]]).astype(np.float64) / scale)
            results.append(self._constant(names[1], np.clip(bias, -_INT32, _INT32).astype(np.int32), scale))
        return results

    def _constant(self, name: str, codes: NDArray[Any], scale: NDArray[np.float32]) -> str:
        self._keep(f"{name}.code", codes)
        self._keep(f"{name}.scale", scale)
        self._keep(f"{name}.zero", np.zeros(len(scale), codes.dtype))
        inputs = [f"{name}.code", f"{name}.scale", f"{name}.zero"]
        self._node("DequantizeLinear", f"{name}.dequantise", inputs, f"{name}.value", axis=0)
        return f"{name}.value"

    def _keep(self, name: str, array: NDArray[Any]) -> None:
        from onnx import numpy_helper

        self.initializers[name] = numpy_helper.from_array(array, name)

    def _node(self, kind: str, name: str, inputs: list[str], output: str, **attributes: Any) -> None:
        from onnx import helper

        self.nodes.append(helper.make_node(kind, inputs, [output], name=name, **attributes))


def _users(graph: onnx.GraphProto) -> dict[str, list[Any]]:
    users: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    return users


def _with_activations(graph: onnx.GraphProto, users: Mapping[str, list[Any]], names: set[str]) -> set[str]:
    """The named nodes, and the activation that is a layer's only user."""
    found = set(names)
    for node in graph.node:
        after = users.get(node.output[0], [])
        if node.name in names and node.op_type in _LAYERS and len(after) == 1:
            found |= {user.name for user in after if user.op_type in (*_CUTTING, "HardSwish")}
    return found


def _between_floats(graph: onnx.GraphProto, users: Mapping[str, list[Any]], floats: set[str]) -> set[str]:
    """Tensors that nodes kept in float alone write and read; the input is written by nobody."""
    written = {node.output[0] for node in graph.node if node.name in floats} | {graph.input[0].name}
    return {name for name in written if floats and all(user.name in floats for user in users.get(name, []))} - {
        name for name in written if not users.get(name)
    }


def _cut_by_next(node: onnx.NodeProto, users: Mapping[str, list[Any]]) -> bool:
    """Whether a layer's only user is an activation that becomes part of it."""
    after = users.get(node.output[0], [])
    return node.op_type in _LAYERS and len(after) == 1 and after[0].op_type in _CUTTING


def _shape(value: onnx.ValueInfoProto) -> list[int | str]:
    return [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]


def _channels_last(shape: list[int | str]) -> list[int | str]:
    return [shape[0], shape[2], shape[3], shape[1]]
