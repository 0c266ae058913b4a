"""The shapes of MLPerf Tiny's image and keyword networks with seeded weights, quantised as nas-edge quantises.

Banbury et al., "MLPerf Tiny Benchmark" (2021): ResNet-8 on 32 x 32 images, MobileNetV1 of width 0.25 on 96 x 96, and
DS-CNN on 49 x 10 spectrograms. ResNet-8's additions are left without the ReLU that follows them there.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from nas_edge.spaces.blocks import same_padding
from nas_edge.spaces.onnx_quantise import quantise
from nas_edge.spaces.onnx_ranges import observe

Size = tuple[int, int, int]
"""Channels, height, width."""


class _Network:
    """Nodes of one network, appended from its input on."""

    def __init__(self, name: str, size: Size) -> None:
        self.name, self.size = name, size
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.rng = np.random.default_rng(0)
        self.sizes: dict[str, Size] = {"image": size}

    def conv(
        self, x: str, out: int, kernel: tuple[int, int], stride: int, *, depthwise: bool = False, relu: bool = True
    ) -> str:
        channels, height, width = self.sizes[x]
        name = f"c{len(self.nodes):02d}"
        depth = kernel[0] * kernel[1] * (1 if depthwise else channels)
        shape = (out, 1 if depthwise else channels, *kernel)
        self._weight(f"{name}.weight", np.sqrt(2 / depth) * self.rng.standard_normal(shape))
        self._weight(f"{name}.bias", 0.1 * self.rng.standard_normal(out))
        (top, bottom), (left, right) = (
            same_padding(size, k, stride) for size, k in zip((height, width), kernel, strict=True)
        )
        self.nodes.append(
            helper.make_node(
                "Conv", [x, f"{name}.weight", f"{name}.bias"], [f"{name}.out"], name=name, kernel_shape=list(kernel),
                strides=[stride, stride], pads=[top, left, bottom, right], group=channels if depthwise else 1,
            )
        )  # fmt: skip
        self.sizes[f"{name}.out"] = (out, -(-height // stride), -(-width // stride))
        return self._then("Relu", [f"{name}.out"]) if relu else f"{name}.out"

    def add(self, a: str, b: str) -> str:
        return self._then("Add", [a, b])

    def classify(self, x: str, classes: int) -> onnx.ModelProto:
        channels = self.sizes[x][0]
        self._weight("fc.weight", self.rng.standard_normal((classes, channels)) / np.sqrt(channels))
        self._weight("fc.bias", 0.1 * self.rng.standard_normal(classes))
        self.nodes += [
            helper.make_node("GlobalAveragePool", [x], ["pooled"], name="pool"),
            helper.make_node("Flatten", ["pooled"], ["flat"], name="flatten", axis=1),
            helper.make_node("Gemm", ["flat", "fc.weight", "fc.bias"], ["logits"], name="fc", transB=1),
        ]
        given = [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, *self.size])]
        result = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, classes])]
        graph = helper.make_graph(self.nodes, self.name, given, result, self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        return quantise(model, observe(model, [image(self.size, seed) for seed in range(8)]))

    def _then(self, kind: str, inputs: list[str]) -> str:
        name = f"n{len(self.nodes):02d}"
        self.nodes.append(helper.make_node(kind, inputs, [f"{name}.out"], name=name))
        self.sizes[f"{name}.out"] = self.sizes[inputs[0]]
        return f"{name}.out"

    def _weight(self, name: str, values: np.ndarray) -> None:
        self.weights.append(numpy_helper.from_array(values.astype(np.float32), name))


def image(size: Size, seed: int) -> np.ndarray:
    """float32 [1, channels, height, width]."""
    return np.random.default_rng(seed).standard_normal((1, *size)).astype(np.float32)


def resnet8() -> onnx.ModelProto:
    """12.5 M MACs."""
    net = _Network("ResNet-8", (3, 32, 32))
    x = net.conv("image", 16, (3, 3), 1)
    for out, stride in ((16, 1), (32, 2), (64, 2)):
        y = net.conv(net.conv(x, out, (3, 3), stride), out, (3, 3), 1, relu=False)
        x = net.add(y, x if stride == 1 else net.conv(x, out, (1, 1), stride, relu=False))
    return net.classify(x, 10)


def mobilenet_v1() -> onnx.ModelProto:
    """7.5 M MACs."""
    net = _Network("MobileNetV1-0.25-96", (3, 96, 96))
    x = net.conv("image", 8, (3, 3), 2)
    outputs = ((16, 1), (32, 2), (32, 1), (64, 2), (64, 1), (128, 2), *[(128, 1)] * 5, (256, 2), (256, 1))
    for out, stride in outputs:
        x = net.conv(x, net.sizes[x][0], (3, 3), stride, depthwise=True)
        x = net.conv(x, out, (1, 1), 1)
    return net.classify(x, 2)


def ds_cnn() -> onnx.ModelProto:
    """2.7 M MACs."""
    net = _Network("DS-CNN", (1, 49, 10))
    x = net.conv("image", 64, (10, 4), 2)
    for _ in range(4):
        x = net.conv(net.conv(x, 64, (3, 3), 1, depthwise=True), 64, (1, 1), 1)
    return net.classify(x, 12)
