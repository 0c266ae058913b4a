"""The canonical int8 model (QuantizeLinear and DequantizeLinear pairs, `spaces.onnx_quantise`) as an `Int8Graph`.

Every layer of the model is a float operator between dequantised inputs and a quantised output. Reading it is to walk
the nodes once and to keep, for each tensor, what it stands for: codes of a layer already read, or sums that wait for an
activation and their scale.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nas_edge.errors import ExportError
from nas_edge.mcu.graph import Int8Graph, Int8Layer, Requantise, Tensor
from nas_edge.mcu.requantise import addition, folded_bias, logit_multipliers, multipliers
from nas_edge.memory.layers import IMAGE, Layer, LayerKind

if TYPE_CHECKING:
    import onnx

_REASONS = {
    "HardSwish": "h_swish has no int8 kernel",
    "HardSigmoid": "squeeze-and-excitation has no int8 kernel",
    "Mul": "squeeze-and-excitation has no int8 kernel",
}
_ADVICE = "choose a space with ReLU or ReLU6 and without squeeze-and-excitation (mcu, lite0)"
_UINT8_OFFSET = 128  # a uint8 zero point z is the int8 one z - 128
_KERNELS, _STRIDES = (3, 5, 7), (1, 2)


def read_graph(model: onnx.ModelProto) -> Int8Graph:
    """A quantised model in integers, exactly.

    Args:
        model: QDQ form, uint8 or int8 activations, int8 weights with one scale an output or one for all; NCHW. Its
            batch size is of no importance. Input and output may be codes, channels last (`quantise(inner=True)`).

    Raises:
        ExportError: a float32 model, an operator or attribute that no kernel computes; the node is named.

    """
    reader = _Reader(model)
    for node in model.graph.node:
        reader.read(node)
    return reader.finish()


@dataclass(frozen=True)
class _Codes:
    """A float tensor that stands for the codes of layer `index`."""

    index: int
    tensor: Tensor


@dataclass(frozen=True)
class _Sums:
    """A float tensor that waits for its scale: a layer without output, and the real bounds of its activation."""

    finish: Callable[[Tensor, int, int], Int8Layer]
    layer: Layer
    low: float = -np.inf
    high: float = np.inf
    logits: Callable[[], Int8Layer] | None = None


class _Reader:
    """What each tensor of the model stands for, filled node by node."""

    def __init__(self, model: onnx.ModelProto) -> None:
        from onnx import numpy_helper

        self._graph = model.graph
        self._constants = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
        self._dequantised: dict[str, tuple[NDArray[Any], NDArray[np.float64]]] = {}
        self._codes: dict[str, _Codes] = {}
        self._sums: dict[str, _Sums] = {}
        self._layers: list[Int8Layer] = []
        self._input: Tensor | None = None
        self._source = model.graph.input[0].name
        shape = [item.dim_value for item in model.graph.input[0].type.tensor_type.shape.dim]
        if len(shape) != 4:
            raise ExportError(f"input {self._source!r} is not an image [batch, channels, height, width]")
        from onnx import TensorProto

        self._takes_codes = model.graph.input[0].type.tensor_type.elem_type != TensorProto.FLOAT
        self._shape = (shape[1], shape[2], shape[3]) if self._takes_codes else (shape[2], shape[3], shape[1])

    def read(self, node: onnx.NodeProto) -> None:
        """Take up one node."""
        handlers: dict[str, Callable[[onnx.NodeProto], None]] = {
            "QuantizeLinear": self._quantise,
            "DequantizeLinear": self._dequantise,
            "Conv": self._conv,
            "Gemm": self._gemm,
            "Add": self._add,
            "GlobalAveragePool": self._pool,
            "Relu": self._cut,
            "Clip": self._cut,
            "Flatten": self._same,
            "Identity": self._same,
            "Transpose": self._same,
        }
        if node.op_type not in handlers:
            reason = _REASONS.get(node.op_type, "no int8 kernel computes it")
            raise ExportError(f"node {node.name!r}: operator {node.op_type}: {reason}; {_ADVICE}")
        handlers[node.op_type](node)

    def finish(self) -> Int8Graph:
        """The graph, once all nodes are read."""
        name = self._graph.output[0].name
        if name in self._sums:
            pending = self._sums[name]
            if pending.logits is None or np.isfinite(pending.low) or np.isfinite(pending.high):
                raise ExportError(f"output {name!r} is not quantised; only logits of a linear layer may stay float32")
            self._layers.append(pending.logits())
        elif name not in self._codes:
            raise ExportError(f"output {name!r} comes from no layer that was read")
        elif self._codes[name].index != len(self._layers) - 1:
            raise ExportError(f"output {name!r} is not what the last layer gives")
        assert self._input is not None  # a layer was read, which needs it
        return Int8Graph(self._graph.name or "net", self._input, tuple(self._layers))

    # What stands between layers.

    def _quantise(self, node: onnx.NodeProto) -> None:
        scale, zero = self._scale(node)
        source, target = node.input[0], node.output[0]
        if source in self._sums:
            pending = self._sums[source]
            layer = pending.layer
            low, high = (_bound(end, scale, zero) for end in (pending.low, pending.high))
            tensor = Tensor(layer.out_height, layer.out_width, layer.out_channels, scale, zero)
            self._layers.append(pending.finish(tensor, low, high))
            self._codes[target] = _Codes(len(self._layers) - 1, tensor)
        elif source == self._source and self._input is None:
            self._input = Tensor(*self._shape, scale, zero)
            self._codes[target] = _Codes(IMAGE, self._input)
        elif source in self._codes:  # moved, not changed: Flatten
            known = self._codes[source]
            if (known.tensor.scale, known.tensor.zero_point) != (scale, zero):
                raise ExportError(f"node {node.name!r}: a tensor is quantised again with another scale")
            self._codes[target] = known
        else:
            raise ExportError(f"node {node.name!r}: quantises {source!r}, which no layer that was read gives")

    def _dequantise(self, node: onnx.NodeProto) -> None:
        source, target = node.input[0], node.output[0]
        if source in self._constants:
            codes = self._constants[source]
            self._dequantised[target] = codes, self._constant(node, node.input[1]).astype(np.float64).reshape(-1)
            if len(node.input) > 2 and self._constant(node, node.input[2]).any():
                raise ExportError(f"node {node.name!r}: weights with a zero point; kernels take symmetric ones")
            return
        if source == self._source and self._input is None:
            self._input = Tensor(*self._shape, *self._scale(node))
            self._codes[source] = _Codes(IMAGE, self._input)
        if source not in self._codes:
            raise ExportError(f"node {node.name!r}: dequantises {source!r}, which is neither codes nor a constant")
        known = self._codes[source]
        if (known.tensor.scale, known.tensor.zero_point) != self._scale(node):
            raise ExportError(f"node {node.name!r}: a tensor is dequantised with another scale than it was quantised")
        self._codes[target] = known

    def _same(self, node: onnx.NodeProto) -> None:
        """Flatten, Identity, and Transpose between channels first and last: the codes stay what they are."""
        source, target = node.input[0], node.output[0]
        if source in self._codes:
            self._codes[target] = self._codes[source]
        elif source in self._sums:
            self._sums[target] = self._sums[source]
        elif source == self._source and self._takes_codes:
            self._source = target
        else:
            raise ExportError(f"node {node.name!r}: reads {source!r}, which no layer that was read gives")

    def _cut(self, node: onnx.NodeProto) -> None:
        if node.input[0] not in self._sums:
            raise ExportError(f"node {node.name!r}: {node.op_type} is only computed as the end of a layer")
        low, high = 0.0, np.inf
        if node.op_type == "Clip":
            ends = [self._constant(node, name).item() if name else None for name in [*node.input[1:], "", ""][:2]]
            low, high = (-np.inf if ends[0] is None else ends[0]), (np.inf if ends[1] is None else ends[1])
        pending = self._sums[node.input[0]]
        self._sums[node.output[0]] = replace(pending, low=max(low, pending.low), high=min(high, pending.high))

    # Layers.

    def _conv(self, node: onnx.NodeProto) -> None:
        given = {item.name: item for item in node.attribute}
        known = self._known(node, 0)
        weights, scales = self._weights(node, 1)
        if weights.ndim != 4 or ("auto_pad" in given and given["auto_pad"].s not in (b"", b"NOTSET")):
            raise ExportError(f"node {node.name!r}: only convolutions of images with explicit pads are computed")
        groups = given["group"].i if "group" in given else 1
        strides = tuple(given["strides"].ints) if "strides" in given else (1, 1)
        pads = tuple(given["pads"].ints) if "pads" in given else (0, 0, 0, 0)
        out, _, *kernel = weights.shape
        if set(given["dilations"].ints if "dilations" in given else ()) - {1} or strides[0] != strides[1]:
            raise ExportError(f"node {node.name!r}: dilation and unequal strides have no int8 kernel")
        depthwise = groups > 1 and groups == out == known.tensor.channels
        if groups > 1 and not depthwise:
            raise ExportError(f"node {node.name!r}: {groups} groups have no int8 kernel; one, or as many as channels")
        if depthwise and (kernel[0] != kernel[1] or kernel[0] not in _KERNELS or strides[0] not in _STRIDES):
            size = f"{kernel[0]} x {kernel[1]} of stride {strides[0]}"
            raise ExportError(f"node {node.name!r}: depthwise {size} has no int8 kernel; 3, 5, 7 and stride 1, 2 have")
        plain = kernel == [1, 1] and strides[0] == 1 and not any(pads)
        kind = LayerKind.DEPTHWISE if depthwise else LayerKind.POINTWISE if plain else LayerKind.CONV
        height, width, channels = known.tensor.shape
        moved = weights[:, 0].transpose(1, 2, 0) if depthwise else weights.transpose(0, 2, 3, 1)
        layer = Layer(
            node.name, kind, height, width, channels, out, kernel[0], kernel[1], strides[0], pads, (known.index,)
        )
        self._weighted(node, layer, known, weights, moved, scales)

    def _gemm(self, node: onnx.NodeProto) -> None:
        given = {item.name: item for item in node.attribute}
        known = self._known(node, 0)
        weights, scales = self._weights(node, 1)
        for name, usual in (("alpha", 1.0), ("beta", 1.0)):
            if name in given and given[name].f != usual:
                raise ExportError(f"node {node.name!r}: {name} {given[name].f:g} is not computed")
        if not ("transB" in given and given["transB"].i) or ("transA" in given and given["transA"].i):
            raise ExportError(f"node {node.name!r}: weights must be [out, in] (transB 1) and inputs [batch, in]")
        tensor = known.tensor
        # ONNX flattens channels first, microcontrollers keep them last.
        order = weights.reshape(-1, tensor.channels, tensor.height, tensor.width).transpose(0, 2, 3, 1)
        moved = order.reshape(weights.shape)
        layer = Layer(node.name, LayerKind.LINEAR, 1, 1, weights.shape[1], weights.shape[0], inputs=(known.index,))
        self._weighted(node, layer, known, weights, moved, scales)

    def _weighted(
        self,
        node: onnx.NodeProto,
        layer: Layer,
        known: _Codes,
        weights: NDArray[np.int8],
        moved: NDArray[np.int8],
        scales: NDArray[np.float64],
    ) -> None:
        # In float32, in ONNX Runtime's order: a scale of more digits than it has would round other codes than it does.
        products = np.broadcast_to(scales, len(weights)).astype(np.float32) * np.float32(known.tensor.scale)
        scales = products.astype(np.float64)
        bias = folded_bias(self._bias(node, scales), weights, known.tensor.zero_point)
        moved = np.ascontiguousarray(moved)

        def quantised(output: Tensor, low: int, high: int) -> Int8Layer:
            factors, left = multipliers((products / np.float32(output.scale)).astype(np.float64))
            return Int8Layer(layer, output, moved, Requantise(bias, factors, left, output.zero_point, low, high))

        def logits() -> Int8Layer:
            factors, left, common = logit_multipliers(scales, bias, moved)
            output = Tensor(1, 1, layer.out_channels, common, 0, "int32")
            return Int8Layer(layer, output, moved, Requantise(bias, factors, left, 0))

        self._sums[node.output[0]] = _Sums(quantised, layer, logits=logits if layer.kind is LayerKind.LINEAR else None)

    def _add(self, node: onnx.NodeProto) -> None:
        a, b = self._known(node, 0), self._known(node, 1)
        if a.tensor.shape != b.tensor.shape:
            raise ExportError(f"node {node.name!r}: only tensors of one shape are added")
        height, width, channels = a.tensor.shape
        layer = Layer(node.name, LayerKind.ADD, height, width, channels, channels, inputs=(a.index, b.index))
        ends = [(known.tensor.scale, known.tensor.zero_point) for known in (a, b)]

        def quantised(output: Tensor, low: int, high: int) -> Int8Layer:
            how = addition(ends[0], ends[1], (output.scale, output.zero_point), low, high)
            return Int8Layer(layer, output, addition=how)

        self._sums[node.output[0]] = _Sums(quantised, layer)

    def _pool(self, node: onnx.NodeProto) -> None:
        known = self._known(node, 0)
        height, width, channels = known.tensor.shape
        layer = Layer(node.name, LayerKind.POOL, height, width, channels, channels, inputs=(known.index,))
        bias = np.array([-known.tensor.zero_point * height * width], np.int32)

        def quantised(output: Tensor, low: int, high: int) -> Int8Layer:
            factors, left = multipliers(np.array([known.tensor.scale / (output.scale * height * width)]))
            return Int8Layer(layer, output, None, Requantise(bias, factors, left, output.zero_point, low, high))

        self._sums[node.output[0]] = _Sums(quantised, layer)

    # Constants.

    def _known(self, node: onnx.NodeProto, place: int) -> _Codes:
        if node.input[place] not in self._codes:
            raise ExportError(
                f"node {node.name!r}: input {node.input[place]!r} is not quantised; an int8 model is needed "
                "(nas-edge export --precision int8)"
            )
        return self._codes[node.input[place]]

    def _weights(self, node: onnx.NodeProto, place: int) -> tuple[NDArray[np.int8], NDArray[np.float64]]:
        name = node.input[place]
        if name not in self._dequantised or self._dequantised[name][0].dtype != np.int8:
            raise ExportError(f"node {node.name!r}: weights {name!r} are not int8 constants")
        codes, scales = self._dequantised[name]
        return codes, scales

    def _bias(self, node: onnx.NodeProto, scales: NDArray[np.float64]) -> NDArray[np.int64]:
        """Codes of the bias, of scale input scale x weight scale."""
        if len(node.input) < 3 or not node.input[2]:
            return np.zeros(len(scales), np.int64)
        name = node.input[2]
        if name in self._dequantised:
            codes, own = self._dequantised[name]
            if np.allclose(own, scales, rtol=1e-5, atol=0.0):
                return codes.astype(np.int64)
            real = codes.astype(np.float64) * own
        else:
            real = self._constant(node, name).astype(np.float64)
        return np.rint(np.clip(real / scales, -(2.0**31), 2.0**31)).astype(np.int64)

    def _constant(self, node: onnx.NodeProto, name: str) -> NDArray[Any]:
        if name not in self._constants:
            raise ExportError(f"node {node.name!r}: {name!r} is not a constant")
        return self._constants[name]

    def _scale(self, node: onnx.NodeProto) -> tuple[float, int]:
        """Scale and int8 zero point of an activation's quantisation."""
        scale = self._constant(node, node.input[1])
        zero = self._constant(node, node.input[2]) if len(node.input) > 2 else np.uint8(0)
        if scale.size != 1 or zero.dtype not in (np.uint8, np.int8):
            raise ExportError(f"node {node.name!r}: activations have one scale and 8 bits")
        return float(scale.item()), int(zero.item()) - (_UINT8_OFFSET if zero.dtype == np.uint8 else 0)


def _bound(real: float, scale: float, zero: int) -> int:
    """The code of an activation's bound, within int8."""
    return int(np.clip(np.rint(real / scale) + zero, -128, 127))
