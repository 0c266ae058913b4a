"""An ONNX graph as layers: convolutions with their activations, poolings, additions, gates; everything else by name.

Exporters write one thing in many ways: h-swish as one node, as x * HardSigmoid(x), or as x * Clip(x + 3, 0, 6) / 6;
a mean over two axes for a global pooling; quantisers put two nodes around every tensor. All that is undone here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from nas_edge.errors import ArchitectureError, FormatError, MissingExtraError
from nas_edge.spaces import Activation

MAX_FILE_BYTES = 512 * 2**20
MAX_NODES = 20_000
Shape = tuple[int, ...]

_PASS = frozenset({
    "Identity", "Dropout", "Cast", "Flatten", "Reshape", "Squeeze", "Unsqueeze", "QuantizeLinear", "DequantizeLinear",
    "BatchNormalization", "Transpose",
})  # fmt: skip
_CONVOLUTIONS = {"Conv": (0, 1, 2), "ConvInteger": (0, 1, 9), "QLinearConv": (0, 3, 8)}  # input, weight, bias
_UNARY = frozenset({"HardSigmoid", "Sigmoid", "Clip", "Relu", "Add", "Mul", "Div", "Sub"})


class Op(StrEnum):
    """What a layer does."""

    CONV = "conv"
    LINEAR = "linear"
    POOL = "pool"  # global average
    ADD = "add"
    GATE = "gate"  # a tensor times one figure a channel
    OTHER = "other"


@dataclass
class Layer:
    """One layer.

    Attributes:
        op: what it does. kind: of its ONNX node.
        name: of its node, for messages.
        inputs: layers (or -1 for the network's input) whose results it takes.
        in_shape, out_shape: of its first input and its output, batch included; () where unknown.
        kernel, stride, groups: of a convolution. pads: top, left, bottom, right; None for an automatic SAME.
        activation: applied to its result.
        bias: whether it has a bias or a batch norm.

    """

    op: Op
    kind: str
    name: str
    inputs: list[int]
    in_shape: Shape
    out_shape: Shape
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    groups: int = 1
    pads: tuple[int, int, int, int] | None = (0, 0, 0, 0)
    activation: Activation = Activation.NONE
    bias: bool = False


@dataclass
class _Reading:
    """State of one pass over the nodes."""

    where: str
    shapes: Mapping[str, Shape]
    constants: dict[str, Any]
    layers: list[Layer] = field(default_factory=list)
    made_by: dict[str, int] = field(default_factory=dict)  # tensor -> layer
    roots: dict[str, str] = field(default_factory=dict)  # tensor of an elementwise chain -> where the chain begins
    padding: dict[str, tuple[int, int, int, int]] = field(default_factory=dict)

    def source(self, tensor: str) -> int:
        """The layer that a tensor comes from, -1 for the network's input."""
        return self.made_by.get(self.roots.get(tensor, tensor), -1)


def read_layers(path: Path, resolution: int | None = None) -> tuple[list[Layer], bool]:
    """Layers of an ONNX file in order, and whether it is quantised.

    Args:
        path: of the file; weights in other files beside it are not needed.
        resolution: side in pixels of an input whose size the file leaves open.

    Raises:
        FormatError: no ONNX, damaged, too large.
        ArchitectureError: more or other inputs than one image, a size that is open or another one.
        MissingExtraError: the package onnx is not installed.

    """
    model = _load(path)
    graph = model.graph
    if len(graph.node) > MAX_NODES:
        raise FormatError(f"{path}: {len(graph.node)} nodes are more than the {MAX_NODES} that are read")
    _fix_input(path, graph, resolution)
    shapes = _shapes(path, model)
    constants = {one.name: one for one in graph.initializer}
    reading = _Reading(str(path), shapes, dict(constants))
    for node in graph.node:
        _read_node(reading, node)
    quantised = any(node.op_type in ("QuantizeLinear", "QLinearConv", "ConvInteger") for node in graph.node)
    return reading.layers, quantised


def _load(path: Path) -> Any:
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ImportError as error:
        raise MissingExtraError("onnx", "onnx", "reading an ONNX file") from error
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise FormatError(f"{path}: {size} bytes is more than the {MAX_FILE_BYTES} that are read")
        model = onnx.load_model(str(path), load_external_data=False)
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error.strerror})") from error
    except (DecodeError, ValueError, TypeError) as error:
        raise FormatError(f"{path}: is not an ONNX file, or a damaged one") from error
    if not model.graph.node:
        raise FormatError(f"{path}: is not an ONNX file, or one without a graph")
    return model


def _fix_input(path: Path, graph: Any, resolution: int | None) -> None:
    """Give the image a batch of one and a size."""
    weights = {one.name for one in graph.initializer}
    images = [one for one in graph.input if one.name not in weights]
    if len(images) != 1 or len(images[0].type.tensor_type.shape.dim) != 4:
        raise ArchitectureError(f"{path}: takes {len(images)} inputs; only networks of one image [n, c, h, w] are read")
    dims = images[0].type.tensor_type.shape.dim
    if dims[0].dim_value > 1:
        raise ArchitectureError(f"{path}: is fixed at a batch of {dims[0].dim_value}; export it at a batch of 1")
    dims[0].dim_value = 1
    for dim in dims[2:]:
        if not dim.dim_value and resolution is None:
            raise ArchitectureError(f"{path}: leaves its input size open; add --resolution PIXELS")
        if dim.dim_value and resolution not in (None, dim.dim_value):
            raise ArchitectureError(f"{path}: is fixed at {dim.dim_value} pixels; export it at {resolution}")
        dim.dim_value = dim.dim_value or resolution
    if not dims[1].dim_value:
        dims[1].dim_value = 3


def _shapes(path: Path, model: Any) -> dict[str, Shape]:
    import onnx

    del model.graph.value_info[:]
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")  # an exporter's symbolic sizes contradict the size given
    try:
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    except (onnx.shape_inference.InferenceError, ValueError, RuntimeError) as error:
        raise FormatError(f"{path}: its shapes do not fit together ({str(error).splitlines()[0]})") from error
    shapes = {one.name: tuple(one.dims) for one in model.graph.initializer}
    for one in (*inferred.value_info, *inferred.input, *inferred.output):
        dims = [dim.dim_value for dim in one.type.tensor_type.shape.dim]
        if dims and all(value > 0 for value in dims):
            shapes[one.name] = tuple(dims)
    return shapes


def _read_node(reading: _Reading, node: Any) -> None:
    kind, constants = node.op_type, reading.constants
    if kind == "Constant" or (node.input and all(name in constants or not name for name in node.input)):
        # What is made of constants alone is one: quantised weights, folded figures.
        for output in node.output:
            constants[output] = node
            if node.input and kind in _PASS:
                constants[output] = constants[node.input[0]]
        return
    data = [name for name in node.input if name and name not in constants]
    if not data:
        return
    if kind in _CONVOLUTIONS:
        _convolution(reading, node)
    elif kind in ("Gemm", "MatMul", "MatMulInteger", "QLinearMatMul") and len(data) == 1:
        bias = kind == "Gemm" and len(node.input) > 2
        _append(reading, Op.LINEAR, node, data, bias=bias)
    elif kind == "Pad":
        _pad(reading, node, data[0])
    elif kind in _PASS:
        _follow(reading, node, data[0])
        if kind == "BatchNormalization" and reading.source(data[0]) >= 0:
            reading.layers[reading.source(data[0])].bias = True
    elif _is_global_pool(reading, node, data[0]):
        source = reading.source(data[0])
        if source >= 0 and reading.layers[source].op is Op.POOL:
            _follow(reading, node, data[0])  # one axis after the other
        else:
            _append(reading, Op.POOL, node, data)
    elif kind == "HardSwish":
        _activate(reading, node, data[0], Activation.H_SWISH)
    elif len(data) == 1 and kind in _UNARY:
        _elementwise(reading, node, data[0])
    elif kind == "Mul" and len(data) == 2:
        _product(reading, node, data)
    elif kind == "Add" and len(data) == 2:
        _append(reading, Op.ADD, node, data)
    else:
        _append(reading, Op.OTHER, node, data)


def _append(reading: _Reading, op: Op, node: Any, data: Sequence[str], **details: Any) -> None:
    shapes = reading.shapes
    layer = Layer(
        op, node.op_type, node.name or node.output[0], [reading.source(name) for name in data],
        shapes.get(data[0], ()), shapes.get(node.output[0], ()), **details,
    )  # fmt: skip
    reading.layers.append(layer)
    for output in node.output:
        reading.made_by[output] = len(reading.layers) - 1


def _convolution(reading: _Reading, node: Any) -> None:
    source, weight, bias = _CONVOLUTIONS[node.op_type]
    attributes = _attributes(node)
    shape = reading.shapes.get(node.input[weight], ()) or _dims(reading.constants.get(node.input[weight]))
    kernel = tuple(attributes.get("kernel_shape") or shape[2:])
    if len(kernel) != 2:
        raise ArchitectureError(f"{reading.where}: {node.name or node.output[0]}: is no 2-D convolution")
    pads = tuple(attributes.get("pads") or (0, 0, 0, 0))
    extra = reading.padding.get(node.input[source], (0, 0, 0, 0))
    automatic = str(attributes.get("auto_pad", "NOTSET")).startswith("SAME")
    _append(
        reading, Op.CONV, node, [node.input[source]], kernel=(int(kernel[0]), int(kernel[1])),
        stride=tuple(attributes.get("strides") or (1, 1)), groups=int(attributes.get("group", 1)),
        pads=None if automatic else tuple(a + b for a, b in zip(pads, extra, strict=True)),
        bias=len(node.input) > bias,
    )  # fmt: skip
    layer = reading.layers[-1]
    if len(layer.in_shape) == 4 and len(shape) == 4 and shape[1] * layer.groups != layer.in_shape[1]:
        raise ArchitectureError(
            f"{reading.where}: {layer.name}: takes {shape[1] * layer.groups} channels, but {layer.in_shape[1]} come in"
        )
    if node.input[source] in reading.padding:  # the convolution's own input is what was padded
        unpadded = reading.layers[-1].in_shape
        if len(unpadded) == 4:
            top, left, bottom, right = extra
            reading.layers[-1].in_shape = (*unpadded[:2], unpadded[2] - top - bottom, unpadded[3] - left - right)


def _pad(reading: _Reading, node: Any, tensor: str) -> None:
    """Padding before a convolution belongs to it."""
    given, own = reading.shapes.get(tensor, ()), reading.shapes.get(node.output[0], ())
    pads = _attributes(node).get("pads") or (
        _figures(reading.constants.get(node.input[1])) if len(node.input) > 1 else ()
    )
    _follow(reading, node, tensor)
    if len(given) == len(own) == 4 and len(pads) == 8:
        reading.padding[node.output[0]] = (int(pads[2]), int(pads[3]), int(pads[6]), int(pads[7]))


def _elementwise(reading: _Reading, node: Any, tensor: str) -> None:
    """A figure's function of one tensor: an activation, or a step of one."""
    root = reading.roots.get(tensor, tensor)
    direct = root == tensor or reading.source(tensor) == reading.made_by.get(tensor, -2)
    if node.op_type == "Relu" and direct:
        _activate(reading, node, tensor, Activation.RELU)
    elif node.op_type == "Clip" and direct and _clip_limits(reading, node) == (0.0, 6.0):
        _activate(reading, node, tensor, Activation.RELU6)
    else:
        layer = reading.source(tensor)
        if node.op_type == "Add" and layer >= 0 and reading.layers[layer].op is Op.LINEAR:
            reading.layers[layer].bias = True
        reading.roots[node.output[0]] = root


def _product(reading: _Reading, node: Any, data: list[str]) -> None:
    """X * f(x) is an activation; x * (one figure a channel) a gate."""
    for x, other in ((data[0], data[1]), (data[1], data[0])):
        if other in reading.roots and reading.roots[other] == reading.roots.get(x, x):
            _activate(reading, node, x, Activation.H_SWISH)
            return
    shapes = [reading.shapes.get(name, ()) for name in data]
    for tensor, gate in ((0, 1), (1, 0)):
        if len(shapes[tensor]) == 4 and math.prod(shapes[gate]) == shapes[tensor][1]:
            _append(reading, Op.GATE, node, [data[tensor], data[gate]])
            return
    _append(reading, Op.OTHER, node, data)


def _activate(reading: _Reading, node: Any, tensor: str, activation: Activation) -> None:
    layer = reading.source(tensor)
    plain = layer >= 0 and reading.layers[layer].activation is Activation.NONE
    if plain and reading.layers[layer].op in (Op.CONV, Op.LINEAR):
        reading.layers[layer].activation = activation
        reading.made_by[node.output[0]] = layer
        return
    _append(reading, Op.OTHER, node, [tensor])


def _follow(reading: _Reading, node: Any, tensor: str) -> None:
    """The node's result stands for its input."""
    layer = reading.source(tensor)
    if tensor in reading.roots:
        reading.roots[node.output[0]] = reading.roots[tensor]
    elif layer >= 0:
        reading.made_by[node.output[0]] = layer
    if tensor in reading.padding:
        reading.padding[node.output[0]] = reading.padding[tensor]


def _is_global_pool(reading: _Reading, node: Any, tensor: str) -> bool:
    shape = reading.shapes.get(tensor, ())
    if node.op_type in ("GlobalAveragePool", "QLinearGlobalAveragePool"):
        return True
    if len(shape) != 4:
        return False
    attributes = _attributes(node)
    if node.op_type == "ReduceMean":
        axes = attributes.get("axes") or (_figures(reading.constants.get(node.input[1])) if len(node.input) > 1 else ())
        return {int(axis) % 4 for axis in axes} in ({2, 3}, {2}, {3})
    return node.op_type == "AveragePool" and tuple(attributes.get("kernel_shape", ())) == shape[2:]


def _clip_limits(reading: _Reading, node: Any) -> tuple[float, float]:
    attributes = _attributes(node)
    limits = [attributes.get("min", -math.inf), attributes.get("max", math.inf)]
    for i, name in enumerate(node.input[1:3]):
        figures = _figures(reading.constants.get(name))
        if figures:
            limits[i] = figures[0]
    return float(limits[0]), float(limits[1])


def _attributes(node: Any) -> dict[str, Any]:
    import onnx

    found = {}
    for attribute in node.attribute:
        value = onnx.helper.get_attribute_value(attribute)
        found[attribute.name] = value.decode() if isinstance(value, bytes) else value
    return found


def _figures(constant: Any) -> tuple[float, ...]:
    """A small constant's figures; () where it is none, or kept in another file."""
    import onnx

    if constant is None:
        return ()
    if isinstance(constant, onnx.NodeProto):
        attributes = _attributes(constant)
        constant = attributes.get("value", attributes.get("value_float", attributes.get("value_ints")))
        if isinstance(constant, float | int):
            return (float(constant),)
        if not isinstance(constant, onnx.TensorProto):
            return tuple(float(value) for value in constant or ())
    if math.prod(constant.dims) > 64 or constant.data_location == onnx.TensorProto.EXTERNAL:
        return ()
    return tuple(float(value) for value in onnx.numpy_helper.to_array(constant).reshape(-1))


def _dims(constant: Any) -> Shape:
    import onnx

    if isinstance(constant, onnx.TensorProto):
        return tuple(constant.dims)
    if isinstance(constant, onnx.NodeProto):
        value = _attributes(constant).get("value")
        return tuple(value.dims) if isinstance(value, onnx.TensorProto) else ()
    return ()
