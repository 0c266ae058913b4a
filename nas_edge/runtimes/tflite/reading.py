"""An ONNX model as layers on quantised values: a pair of QuantizeLinear and DequantizeLinear becomes a property.

What is left computes the same, with fewer nodes; a float32 model goes through unchanged.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nas_edge.errors import ExportError
from nas_edge.spaces.onnx_quantise import OUTPUT_RANGE

if TYPE_CHECKING:
    import onnx

_LEAST_OPSET = 13  # of quantisation by axis
_MOST_BYTES = 2**31 - 2**20  # offsets of a .tflite file have 32 bits, one for the sign
_TO_CHANNELS_FIRST, _TO_CHANNELS_LAST = [0, 3, 1, 2], [0, 2, 3, 1]
_SIGNED = 128  # uint8 code - 128 = int8 code


@dataclass(frozen=True, eq=False)
class Quantisation:
    """real = scale x (code - zero), codes int8 (biases int32).

    Attributes:
        scales: float32 [1], or one a channel along the first axis.
        zero: of every channel.

    """

    scales: NDArray[np.float32]
    zero: int = 0

    def same(self, other: Quantisation) -> bool:
        """Whether codes mean the same."""
        return self.zero == other.zero and np.array_equal(self.scales, other.scales)


@dataclass(frozen=True, eq=False)
class Constant:
    """A weight: float32 values, or codes and what they mean."""

    values: NDArray[Any]
    quantisation: Quantisation | None = None

    @property
    def real(self) -> NDArray[np.float32]:
        """float32, whatever it is stored as."""
        if self.quantisation is None:
            return np.asarray(self.values, np.float32)
        scales = self.quantisation.scales.reshape(-1, *[1] * (self.values.ndim - 1))
        return ((self.values.astype(np.float64) - self.quantisation.zero) * scales).astype(np.float32)


@dataclass(frozen=True)
class Layer:
    """One node that computes.

    Attributes:
        kind: ONNX's operator.
        name: of the node.
        inputs: values and constants.
        output: the value that it gives.
        attributes: as Python data.

    """

    kind: str
    name: str
    inputs: tuple[str, ...]
    output: str
    attributes: Mapping[str, Any]


@dataclass(frozen=True)
class Edge:
    """What goes into a model, or comes out.

    Attributes:
        name: of the ONNX input or output.
        value: that it is.
        codes: "" where it is float32; "uint8" or "int8" where the ONNX model takes and gives codes.
        channels_last: of these codes.

    """

    name: str
    value: str
    codes: str = ""
    channels_last: bool = False


@dataclass
class Network:
    """A model in which only layers are left.

    Attributes:
        layers: in order.
        constants: by name.
        shapes: of every value, in ONNX's order; the batch is 1 where it is dynamic.
        quantisations: of every quantised value.
        inputs, outputs: of the model.
        dynamic_batch: whether any batch goes through.
        properties: the model's metadata.

    """

    layers: list[Layer] = field(default_factory=list)
    constants: dict[str, Constant] = field(default_factory=dict)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    quantisations: dict[str, Quantisation] = field(default_factory=dict)
    inputs: list[Edge] = field(default_factory=list)
    outputs: list[Edge] = field(default_factory=list)
    dynamic_batch: bool = False
    properties: dict[str, str] = field(default_factory=dict)

    @property
    def quantised(self) -> bool:
        """Whether it computes in int8."""
        return bool(self.quantisations)

    def users(self, value: str) -> list[Layer]:
        """Layers that take a value."""
        return [layer for layer in self.layers if value in layer.inputs]


def read_network(model: bytes) -> Network:
    """Read a serialised ONNX model.

    Raises:
        ExportError: it is none, is too large, of an old opset, or of dynamic shapes.

    """
    import onnx
    from google.protobuf.message import DecodeError

    if len(model) > _MOST_BYTES:
        raise ExportError(f"a model of {len(model)} bytes does not fit a .tflite file, which ends at 2 GB")
    try:
        parsed = onnx.load_from_string(model)
    except DecodeError as error:
        raise ExportError(f"this is no ONNX model, or a truncated one ({error})") from error
    if not parsed.graph.node or not parsed.graph.output:
        raise ExportError("this is no ONNX model: it has no nodes or no output")
    opset = next((o.version for o in parsed.opset_import if o.domain in ("", "ai.onnx")), 0)
    if opset < _LEAST_OPSET:
        raise ExportError(f"the ONNX model is of opset {opset}; export it with opset {_LEAST_OPSET} or later")
    try:
        parsed = onnx.shape_inference.infer_shapes(parsed, strict_mode=True)
    except (onnx.shape_inference.InferenceError, ValueError) as error:
        raise ExportError(f"the ONNX model contradicts itself: {str(error).splitlines()[0][:200]}") from error
    return _Reader(parsed).network


class _Reader:
    """Walks the graph once; `_means` says which value every ONNX tensor is."""

    def __init__(self, model: onnx.ModelProto) -> None:
        from onnx import numpy_helper

        graph = model.graph
        self.network = Network(properties={item.key: item.value for item in model.metadata_props})
        self._raw = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
        self._means: dict[str, str] = {}
        self._codes: dict[str, str] = {}
        self._shapes = {
            item.name: _shape(item, self.network) for item in (*graph.input, *graph.value_info, *graph.output)
        }
        self._channels_last: set[str] = set()
        types = {item.name: item.type.tensor_type.elem_type for item in (*graph.input, *graph.output)}
        for item in graph.input:
            if item.name not in self._raw:
                self._means[item.name] = item.name
                self.network.shapes[item.name] = self._shapes[item.name]
        for node in graph.node:
            self._read(node)
        for item in graph.input:
            if item.name not in self._raw:
                self.network.inputs.append(self._edge(item.name, types[item.name]))
        for item in graph.output:
            if item.name not in self._means:
                raise ExportError(f"output {item.name!r} of the ONNX model is given by no node")
            self.network.outputs.append(self._edge(item.name, types[item.name]))
        self._quantise_outputs()

    def _edge(self, name: str, kind: Any) -> Edge:
        from onnx import TensorProto

        names = {TensorProto.FLOAT: "", TensorProto.UINT8: "uint8", TensorProto.INT8: "int8"}
        if kind not in names:
            raise ExportError(
                f"{name!r} of the ONNX model is {TensorProto.DataType.Name(kind)}; float32, uint8 and int8 are known"
            )
        return Edge(name, self._means[name], names[kind], name in self._channels_last)

    def _read(self, node: onnx.NodeProto) -> None:
        from onnx import helper, numpy_helper

        kind, output = node.op_type, node.output[0]
        attributes = {item.name: helper.get_attribute_value(item) for item in node.attribute}
        if kind == "Constant" and "value" in attributes:
            self._raw[output] = numpy_helper.to_array(attributes["value"])
        elif kind == "QuantizeLinear":
            self._quantise(node)
        elif kind == "DequantizeLinear":
            self._dequantise(node, int(attributes.get("axis", 1)))
        elif kind == "Transpose":
            self._transpose(node, list(attributes.get("perm", [])))
        else:
            self.network.layers.append(
                Layer(kind, node.name or output, tuple(self._value(name) for name in node.input), output, attributes)
            )
            self._means[output] = output
            self.network.shapes[output] = self._shape(output, node)

    def _value(self, name: str) -> str:
        """A value's name; a float32 initializer becomes a constant when it is first used."""
        if name in self._raw and name not in self.network.constants:
            self.network.constants[name] = Constant(self._raw[name])
        return self._means.get(name, name)

    def _quantise(self, node: onnx.NodeProto) -> None:
        value, found = self._means.get(node.input[0]), self._quantisation(node, 0)
        if value is None:
            raise ExportError(f"node {node.name!r}: quantises a constant; keep its codes in the file")
        known = self.network.quantisations.setdefault(value, found)
        if not known.same(found):
            raise ExportError(f"node {node.name!r}: quantises {value!r} for a second time, with another scale")
        self._means[node.output[0]] = value

    def _dequantise(self, node: onnx.NodeProto, axis: int) -> None:
        source, output = node.input[0], node.output[0]
        found = self._quantisation(node, axis)
        if source in self._raw:
            if len(found.scales) > 1 and axis:
                raise ExportError(f"node {node.name!r}: scales go along output channels, axis 0, not axis {axis}")
            codes = self._raw[source]
            signed = codes.astype(np.int16) - _SIGNED if codes.dtype == np.uint8 else codes
            self.network.constants[output] = Constant(
                signed.astype(np.int8) if signed.dtype == np.int16 else signed, found
            )
            return
        value = self._means[source]
        known = self.network.quantisations.setdefault(value, found)
        if not known.same(found):
            raise ExportError(f"node {node.name!r}: takes codes for other numbers than they were made from")
        self._means[output] = value

    def _quantisation(self, node: onnx.NodeProto, axis: int) -> Quantisation:
        """Of a Q or DQ node; zero points of uint8 become those of int8."""
        scales = np.atleast_1d(self._raw[node.input[1]]).astype(np.float32)
        zeros = np.atleast_1d(self._raw[node.input[2]]) if len(node.input) > 2 else np.zeros(1, np.uint8)
        if len(scales) > 1 and zeros.any():
            raise ExportError(f"node {node.name!r}: several scales need the zero point 0")
        if zeros.dtype not in (np.uint8, np.int8, np.int32):
            raise ExportError(f"node {node.name!r}: codes of {zeros.dtype}; .tflite files are written with int8 ones")
        return Quantisation(scales, int(zeros.flat[0]) - (_SIGNED if zeros.dtype == np.uint8 else 0))

    def _transpose(self, node: onnx.NodeProto, order: list[int]) -> None:
        """Only at the edges of a block whose codes have their channels last."""
        source, output = node.input[0], node.output[0]
        value = self._means.get(source, "")
        if value == source and order == _TO_CHANNELS_FIRST:
            batch, height, width, channels = self.network.shapes[value]
            self.network.shapes[value] = (batch, channels, height, width)
            self._channels_last.add(source)
        elif value and order == _TO_CHANNELS_LAST:
            self._channels_last.add(output)
        else:
            raise ExportError(f"node {node.name!r}: operator Transpose with perm {order} cannot be written as .tflite")
        self._means[output] = self._means[source]

    def _shape(self, name: str, node: onnx.NodeProto) -> tuple[int, ...]:
        if name not in self._shapes:
            raise ExportError(f"node {node.name!r} ({node.op_type}): the shape of what it gives cannot be told")
        return self._shapes[name]

    def _quantise_outputs(self) -> None:
        """Logits that leave an int8 model as float32: their range is among the model's properties."""
        network = self.network
        if not network.quantised:
            return
        for edge in network.outputs:
            source = next((layer for layer in network.layers if layer.output == edge.value), None)
            weight = network.constants.get(source.inputs[1]) if source and len(source.inputs) > 1 else None
            if weight is None or weight.quantisation is None:
                continue  # it computes in float32 itself
            if edge.value not in network.quantisations and OUTPUT_RANGE in network.properties:
                low, high = json.loads(network.properties[OUTPUT_RANGE])
                network.quantisations[edge.value] = int8_range(float(low), float(high))


def int8_range(low: float, high: float) -> Quantisation:
    """256 codes over a range that holds 0. Raises ExportError for one that is not finite."""
    low, high = min(low, 0.0), max(high, 0.0)
    if not (math.isfinite(low) and math.isfinite(high) and high > low):
        raise ExportError(f"a range of {low} to {high} cannot be quantised")
    scale = (high - low) / 255
    return Quantisation(np.array([scale], np.float32), int(np.clip(round(-low / scale), 0, 255)) - _SIGNED)


def _shape(item: onnx.ValueInfoProto, network: Network) -> tuple[int, ...]:
    sizes = [dim.dim_value for dim in item.type.tensor_type.shape.dim]
    if sizes and not sizes[0]:
        network.dynamic_batch, sizes[0] = True, 1
    if not all(sizes):
        raise ExportError(f"{item.name!r} of the ONNX model has a dynamic shape; only the batch may be")
    return tuple(sizes)
