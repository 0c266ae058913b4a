"""ONNX layers said in TFLite's operators: values channels last, weights in its orders, padding as SAME or VALID.

Versions are the least that have what is used, so that runtimes of 2023 (tflite-runtime 2.14) and TensorFlow Lite Micro
load the files.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas_edge.errors import ExportError
from nas_edge.runtimes.tflite.file import FileWriter
from nas_edge.runtimes.tflite.reading import Constant, Layer, Network, Quantisation
from nas_edge.runtimes.tflite.values import Values, channels_last
from nas_edge.spaces.blocks import same_padding

_SAME, _VALID = 0, 1  # schema: Padding
_NO_ACTIVATION, _RELU, _RELU6 = 0, 1, 3  # schema: ActivationFunctionType
_WEIGHTED = ("Conv", "Gemm")
_FUSING = (*_WEIGHTED, "Add")
_INT8_LIMIT = 127
_HEIGHT_WIDTH = np.array([1, 2], np.int32)
_FLOAT, _INT8 = 0, 1  # index of a pair of versions


class Translator:
    """Appends the operators of a network's layers to a file."""

    def __init__(self, network: Network, writer: FileWriter) -> None:
        self._network, self._file, self.values = network, writer, Values(network, writer)
        self._int8 = False  # of the layer at hand
        self._fused: set[str] = set()
        self._pixels: set[str] = set()  # flat values whose tensors are [n, 1, 1, channels]
        self._users = {name: network.users(name) for name in network.shapes}
        self._given = {edge.value for edge in network.outputs}
        self._known: dict[str, Callable[[Layer], None]] = {
            "Conv": self._conv,
            "Gemm": self._gemm,
            "Add": self._add,
            "Mul": self._mul,
            "Relu": self._cut,
            "Clip": self._cut,
            "HardSwish": self._hard_swish,
            "HardSigmoid": self._hard_sigmoid,
            "GlobalAveragePool": self._pool,
            "Flatten": self._flatten,
            "Identity": self._identity,
        }

    def add(self, layer: Layer) -> None:
        """Append one layer. Raises ExportError, with operator and node, for what cannot be said."""
        if layer.kind not in self._known:
            raise ExportError(
                f"node {layer.name!r}: operator {layer.kind} cannot be written as .tflite; known: "
                f"{', '.join(sorted(self._known))}"
            )
        if layer.name not in self._fused:
            self._int8 = self._in_int8(layer)
            self._known[layer.kind](layer)

    def _in_int8(self, layer: Layer) -> bool:
        """Whether a layer computes in int8: all that it takes and gives is quantised, its weights are codes."""
        network = self._network
        values = [*(name for name in layer.inputs if name in network.shapes), self._after(layer)]
        whole = all(name in network.quantisations for name in values)
        if layer.kind not in _WEIGHTED:
            return whole
        if (codes := self._constant(layer, 1).quantisation is not None) and not whole:
            raise ExportError(
                f"node {layer.name!r}: operator {layer.kind} of int8 weights takes or gives float32; quantise that, too"
            )
        return codes

    @property
    def _kind(self) -> type[np.generic]:
        return np.int8 if self._int8 else np.float32

    def _value(self, name: str) -> int:
        """The tensor of a value as the layer at hand takes or gives it."""
        return self.values.given(name, self._int8)

    def _conv(self, layer: Layer) -> None:
        weight, source = self._constant(layer, 1), layer.inputs[0]
        if "auto_pad" in layer.attributes and layer.attributes["auto_pad"] not in (b"NOTSET", b"VALID"):
            raise self._cannot(layer, f"auto_pad {layer.attributes['auto_pad'].decode()}")
        if any(step != 1 for step in layer.attributes.get("dilations", [])):
            raise self._cannot(layer, "dilations")
        out, per_group, *kernel = weight.values.shape
        groups, channels = int(layer.attributes.get("group", 1)), per_group * int(layer.attributes.get("group", 1))
        depthwise = groups == channels > 1
        if groups > 1 and not depthwise:
            raise self._cannot(layer, f"{groups} groups of {per_group} channels")
        stride = [int(s) for s in layer.attributes.get("strides", [1, 1])]
        tensor, padding = self._padded(layer, source, kernel, stride)
        order = (1, 2, 3, 0) if depthwise else (0, 2, 3, 1)
        output, activation = self._with_activation(layer)
        weights = self._weights(f"{layer.name}.weight", weight, order, 3 if depthwise else 0)
        inputs = [tensor, weights, self._bias(layer, weight, out)]
        settings = _steps(padding, stride, activation)
        if depthwise:
            settings["depthMultiplier"] = out // groups
            self._operator("DEPTHWISE_CONV_2D", (1, 3), inputs, output, "DepthwiseConv2DOptions", settings)
        else:
            self._operator("CONV_2D", (1, 3), inputs, output, "Conv2DOptions", settings)

    def _padded(self, layer: Layer, source: str, kernel: Sequence[int], stride: Sequence[int]) -> tuple[int, int]:
        """The input and how it is padded: by an operator of its own only where neither SAME nor VALID says it."""
        top, left, bottom, right = (int(p) for p in layer.attributes.get("pads", [0, 0, 0, 0]))
        batch, channels, height, width = self._network.shapes[source]
        if (top, left, bottom, right) == (0, 0, 0, 0):
            return self._value(source), _VALID
        same = [same_padding(n, k, s) for n, k, s in zip((height, width), kernel, stride, strict=True)]
        if [(top, bottom), (left, right)] == same:
            return self._value(source), _SAME
        pads = np.array([[0, 0], [top, bottom], [left, right], [0, 0]], np.int32)
        shape = (batch, height + top + bottom, width + left + right, channels)
        amounts = self._file.tensor(f"{layer.name}.pads", pads.shape, np.int32, values=pads)
        padded = self._between(f"{layer.name}.padded", shape, source)
        self._operator("PAD", (1, 2), [self._value(source), amounts], padded, "PadOptions")
        return padded, _VALID

    def _gemm(self, layer: Layer) -> None:
        """Fully connected; in int8 a 1x1 convolution: scales that differ by channel came later to FULLY_CONNECTED."""
        attributes, weight = layer.attributes, self._constant(layer, 1)
        if attributes.get("alpha", 1.0) != 1 or attributes.get("beta", 1.0) != 1 or attributes.get("transA", 0):
            raise self._cannot(layer, "alpha, beta or transA")
        if not attributes.get("transB", 0):
            if weight.quantisation is not None and len(weight.quantisation.scales) > 1:
                raise self._cannot(layer, "int8 weights that are not transposed")
            weight = Constant(weight.values.T, weight.quantisation)
        out, channels = weight.values.shape
        if self._int8:
            self._pointwise_gemm(layer, Constant(weight.values.reshape(out, 1, 1, channels), weight.quantisation))
            return
        output, activation = self._with_activation(layer)
        weights = self._weights(f"{layer.name}.weight", weight, (0, 1), 0)
        inputs = [self._value(layer.inputs[0]), weights, self._bias(layer, weight, out)]
        settings = {"fusedActivationFunction": activation}
        self._operator("FULLY_CONNECTED", (1, 4), inputs, output, "FullyConnectedOptions", settings)

    def _pointwise_gemm(self, layer: Layer, weight: Constant) -> None:
        """A layer on [n, channels] as a convolution of [n, 1, 1, channels]."""
        out, channels, source = len(weight.values), weight.values.shape[-1], layer.inputs[0]
        pixel = self._value(source)
        if source not in self._pixels:
            flat, pixel = pixel, self._between(f"{layer.name}.pixel", (1, 1, 1, channels), source)
            self._reshape(f"{layer.name}.pixel", flat, pixel, (-1, 1, 1, channels))
        output, activation = self._with_activation(layer)
        answer = self._between(f"{layer.name}.answer", (1, 1, 1, out), self._after(layer))
        weights = self._weights(f"{layer.name}.weight", weight, (0, 1, 2, 3), 0)
        settings = _steps(_VALID, (1, 1), activation)
        inputs = [pixel, weights, self._bias(layer, weight, out)]
        self._operator("CONV_2D", (1, 3), inputs, answer, "Conv2DOptions", settings)
        self._reshape(f"{layer.name}.answer", answer, output, (-1, out))

    def _add(self, layer: Layer) -> None:
        output, activation = self._with_activation(layer)
        inputs = [self._operand(layer, number) for number in range(2)]
        self._operator("ADD", (1, 2), inputs, output, "AddOptions", {"fusedActivationFunction": activation})

    def _mul(self, layer: Layer) -> None:
        inputs = [self._operand(layer, number) for number in range(2)]
        self._operator("MUL", (1, 2), inputs, self._value(layer.output), "MulOptions")

    def _cut(self, layer: Layer) -> None:
        """ReLU or ReLU6 on its own."""
        name = {_RELU: "RELU", _RELU6: "RELU6"}[self._activation(layer)]
        self._operator(name, (1, 2), [self._value(layer.inputs[0])], self._value(layer.output))

    def _hard_swish(self, layer: Layer) -> None:
        """In int8 as x times its gate: XNNPACK has no such operator there, and would be interrupted by each."""
        source, target = self._value(layer.inputs[0]), self._value(layer.output)
        if not self._int8:
            self._operator("HARD_SWISH", (1, 1), [source], target, "HardSwishOptions")
            return
        shape = channels_last(self._network.shapes[layer.output])
        gate = self._tensor(f"{layer.name}.gate", shape, Quantisation(np.array([1 / 255], np.float32), -128))
        self._gate(layer, source, gate)
        self._operator("MUL", (1, 2), [source, gate], target, "MulOptions")

    def _hard_sigmoid(self, layer: Layer) -> None:
        alpha, beta = layer.attributes.get("alpha", 0.2), layer.attributes.get("beta", 0.5)
        if not (np.isclose(alpha, 1 / 6) and np.isclose(beta, 0.5)):
            raise self._cannot(layer, f"alpha {alpha:g} and beta {beta:g} (1/6 and 0.5 can be)")
        self._gate(layer, self._value(layer.inputs[0]), self._value(layer.output))

    def _gate(self, layer: Layer, source: int, target: int) -> None:
        """relu6(x + 3) / 6, as TFLite has no hard sigmoid."""
        shape = channels_last(self._network.shapes[layer.output])
        cut = self._tensor(f"{layer.name}.cut", shape, Quantisation(np.array([6 / 255], np.float32), -128))
        inputs = [source, self._scalar(f"{layer.name}.three", 3.0)]
        self._operator("ADD", (1, 2), inputs, cut, "AddOptions", {"fusedActivationFunction": _RELU6})
        self._operator("MUL", (1, 2), [cut, self._scalar(f"{layer.name}.sixth", 1 / 6)], target, "MulOptions")

    def _pool(self, layer: Layer) -> None:
        axes = self._file.tensor(f"{layer.name}.axes", (2,), np.int32, values=_HEIGHT_WIDTH)
        inputs = [self._value(layer.inputs[0]), axes]
        self._operator("MEAN", (1, 2), inputs, self._value(layer.output), "ReducerOptions", {"keepDims": True})

    def _flatten(self, layer: Layer) -> None:
        """[n, channels, 1, 1] to [n, channels]: the same numbers in the same order, channels first or last."""
        source = self._network.shapes[layer.inputs[0]]
        if layer.attributes.get("axis", 1) != 1 or any(size != 1 for size in source[2:]):
            raise self._cannot(layer, f"a shape of {list(source)} (1 x 1 pixels can be)")
        codes = [self._network.quantisations.get(name) for name in (layer.inputs[0], layer.output)]
        same = codes[0] is codes[1] or (codes[0] is not None and codes[1] is not None and codes[0].same(codes[1]))
        if same and layer.output not in self._given and all(u.kind == "Gemm" for u in self._users[layer.output]):
            self.values.alias(layer.output, layer.inputs[0])  # a Gemm takes [n, 1, 1, channels] as well
            self._pixels.add(layer.output)
            return
        target = self._network.shapes[layer.output]
        self._reshape(layer.output, self._value(layer.inputs[0]), self._value(layer.output), (-1, *target[1:]))

    def _identity(self, layer: Layer) -> None:
        """Copied, as the value of another name; one that is no output would not have to be."""
        shape = channels_last(self._network.shapes[layer.output])
        self._reshape(layer.output, self._value(layer.inputs[0]), self._value(layer.output), (-1, *shape[1:]))

    def _reshape(self, name: str, source: int, target: int, shape: tuple[int, ...]) -> None:
        sizes = np.array(shape if self._network.dynamic_batch else (1, *shape[1:]), np.int32)
        wanted = self._file.tensor(f"{name}.shape", sizes.shape, np.int32, values=sizes)
        self._operator("RESHAPE", (1, 1), [source, wanted], target, "ReshapeOptions", {"newShape": sizes})

    def _between(self, name: str, shape: tuple[int, ...], like: str) -> int:
        """A tensor of a shape of its own, with the numbers of a value."""
        return self._tensor(name, shape, self._network.quantisations.get(like))

    def _tensor(self, name: str, shape: tuple[int, ...], codes: Quantisation | None) -> int:
        """One that is no value of the network."""
        codes = codes if self._int8 else None
        return self._file.tensor(name, shape, self._kind, codes, dynamic_batch=self._network.dynamic_batch)

    def _with_activation(self, layer: Layer) -> tuple[int, int]:
        """The tensor that a layer gives, and the ReLU that is part of it."""
        after = self._after(layer)
        if after == layer.output:
            return self._value(after), _NO_ACTIVATION
        user = self._users[layer.output][0]
        self._fused.add(user.name)
        return self._value(after), self._activation(user)

    def _after(self, layer: Layer) -> str:
        """The value of a layer, or of the only activation on it, where that can be a part of it."""
        users, output = self._users[layer.output], layer.output
        alone = len(users) == 1 and users[0].kind in ("Relu", "Clip") and output not in self._given
        if layer.kind in _FUSING and alone and output not in self._network.quantisations:
            return users[0].output
        return output

    def _activation(self, layer: Layer) -> int:
        if layer.kind == "Relu":
            return _RELU
        limits = [self._network.constants[name].real for name in layer.inputs[1:] if name in self._network.constants]
        if len(limits) != 2 or float(limits[0]) != 0 or float(limits[1]) != 6:
            raise self._cannot(layer, "limits other than 0 and 6")
        return _RELU6

    def _operand(self, layer: Layer, number: int) -> int:
        name = layer.inputs[number]
        if name in self._network.shapes:
            return self._value(name)
        raise self._cannot(layer, f"the constant {name!r}")

    def _constant(self, layer: Layer, number: int) -> Constant:
        name = layer.inputs[number]
        if name not in self._network.constants:
            raise self._cannot(layer, f"weights {name!r} that are computed")
        constant = self._network.constants[name]
        if constant.values.dtype != (np.float32 if constant.quantisation is None else np.int8):
            raise self._cannot(layer, f"weights {name!r} of {constant.values.dtype}")
        return constant

    def _weights(self, name: str, weight: Constant, order: tuple[int, ...], axis: int) -> int:
        """The constant in TFLite's order; `axis` is that of the output channels there."""
        values = weight.values.transpose(order)
        codes = weight.quantisation
        if codes is not None and codes.zero:
            raise ExportError(f"weights {name!r}: have the zero point {codes.zero}; TFLite's have 0")
        return self._file.tensor(name, values.shape, self._kind, codes, values=values, axis=axis)

    def _bias(self, layer: Layer, weight: Constant, channels: int) -> int:
        """Older readers want one always. In int8 its scale is that of the input times the weights'."""
        given = self._network.constants.get(layer.inputs[2]) if len(layer.inputs) > 2 else None
        if weight.quantisation is None:
            values = np.zeros(channels, np.float32) if given is None else given.real
            return self._file.tensor(f"{layer.name}.bias", values.shape, np.float32, values=values)
        scales = np.broadcast_to(
            weight.quantisation.scales * self._network.quantisations[layer.inputs[0]].scales[0], channels
        )
        if given is None:
            codes = np.zeros(channels, np.int32)
        elif given.values.dtype == np.int32:
            codes = given.values
        else:
            codes = _rounded(given.real / scales.astype(np.float64))
        kept = Quantisation(np.ascontiguousarray(scales, np.float32))
        return self._file.tensor(f"{layer.name}.bias", codes.shape, np.int32, kept, values=codes)

    def _scalar(self, name: str, value: float) -> int:
        if not self._int8:
            return self._file.tensor(name, (), np.float32, values=np.array(value, np.float32))
        codes = Quantisation(np.array([value / _INT8_LIMIT], np.float32))
        return self._file.tensor(name, (), np.int8, codes, values=np.array(_INT8_LIMIT, np.int8))

    def _operator(
        self,
        name: str,
        versions: tuple[int, int],
        inputs: Sequence[int],
        output: int,
        options: str = "",
        settings: dict[str, Any] | None = None,
    ) -> None:
        version = versions[_INT8 if self._int8 else _FLOAT]
        self._file.operator(name, version, inputs, output, options, settings)

    @staticmethod
    def _cannot(layer: Layer, what: str) -> ExportError:
        return ExportError(f"node {layer.name!r}: operator {layer.kind} with {what} cannot be written as .tflite")


def _steps(padding: int, stride: Sequence[int], activation: int) -> dict[str, Any]:
    """Options of a convolution."""
    return {
        "padding": padding, "strideH": stride[0], "strideW": stride[1], "dilationHFactor": 1, "dilationWFactor": 1,
        "fusedActivationFunction": activation,
    }  # fmt: skip


def _rounded(values: NDArray[np.float64]) -> NDArray[np.int32]:
    limits = np.iinfo(np.int32)
    return np.clip(np.rint(values), -limits.max, limits.max).astype(np.int32)
