"""Int8 graphs with seeded numbers, for tests of what is made of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nas_edge.mcu.graph import Addition, Int8Graph, Int8Layer, Requantise, Tensor
from nas_edge.memory import IMAGE, Layer, LayerKind, layers_of
from nas_edge.spaces import SearchSpace

_WEIGHTS = {
    LayerKind.CONV: lambda one: (one.out_channels, one.kernel_height, one.kernel_width, one.in_channels),
    LayerKind.POINTWISE: lambda one: (one.out_channels, 1, 1, one.in_channels),
    LayerKind.DEPTHWISE: lambda one: (one.kernel_height, one.kernel_width, one.out_channels),
    LayerKind.LINEAR: lambda one: (one.out_channels, one.in_channels),
}


def random_graph(layers: Sequence[Layer], seed: int = 0, *, logits: bool = True, name: str = "net") -> Int8Graph:
    """Layers with random weights, scales, zero points and bounds under which codes keep their spread."""
    rng = np.random.default_rng(seed)
    image = Tensor(layers[0].height, layers[0].width, layers[0].in_channels, 0.02, int(rng.integers(-40, 40)))
    items: list[Int8Layer] = []
    for i, layer in enumerate(layers):
        source = image if layer.inputs[0] == IMAGE else items[layer.inputs[0]].output
        int32 = logits and layer.kind is LayerKind.LINEAR and i + 1 == len(layers)
        zero = 0 if int32 else source.zero_point if layer.kind is LayerKind.POOL else int(rng.integers(-60, 60))
        output = Tensor(layer.out_height, layer.out_width, layer.out_channels, 0.03, zero, "int32" if int32 else "int8")
        items.append(_layer(layer, source, output, rng))
    return Int8Graph(name, image, tuple(items))


def subnet_graph(seed: int, *, resolution: int = 32, classes: int = 6, space: str = "mcu") -> Int8Graph:
    """A random subnet of a space."""
    found = SearchSpace.named(space).restrict(resolutions=[resolution])
    row = found.sample(1, np.random.default_rng(seed))[0]
    return random_graph(layers_of(found.lower(row, classes)), seed, name=f"subnet {seed}")


def random_images(graph: Int8Graph, n: int, seed: int = 0) -> np.ndarray:
    """Input codes, int8 [n, height, width, channels]."""
    return np.random.default_rng(seed).integers(-128, 128, (n, *graph.input.shape)).astype(np.int8)


def _layer(layer: Layer, source: Tensor, output: Tensor, rng: np.random.Generator) -> Int8Layer:
    if layer.kind is LayerKind.ADD:
        shift = 16
        a, b = (int(m) for m in rng.integers(2**14, 2**16, 2))
        offset = (output.zero_point << shift) - (a + b) * source.zero_point + (1 << (shift - 1))
        return Int8Layer(layer, output, addition=Addition(a, b, offset, shift))
    if layer.kind is LayerKind.POOL:
        pixels = layer.height * layer.width
        bias = np.array([-pixels * source.zero_point], np.int32)
        to = Requantise(bias, np.array([round(2**30 / pixels)], np.int32), 2, output.zero_point)
        return Int8Layer(layer, output, requantise=to)
    shape = _WEIGHTS[layer.kind](layer)
    weights = rng.integers(-127, 128, shape).astype(np.int8)
    depth = weights.size // layer.out_channels
    sums = weights.reshape(-1, depth) if layer.kind is not LayerKind.DEPTHWISE else weights.reshape(depth, -1).T
    bias = rng.integers(-500, 500, layer.out_channels) - source.zero_point * sums.astype(np.int64).sum(axis=1)
    scale = rng.uniform(0.6, 1.4, layer.out_channels) / (70 * np.sqrt(depth))
    low, high = (rng.integers(-128, -20), rng.integers(40, 128)) if rng.random() < 0.3 else (-128, 127)
    multiplier = np.round(scale * 2**32).astype(np.int32)
    to = Requantise(bias.astype(np.int32), multiplier, 0, output.zero_point, int(low), int(high))
    return Int8Layer(layer, output, weights, to)
