"""What an `Int8Graph` computes, in numpy: the definition that the kernels are held against, bit by bit.

Accumulators are exact integers. Products are summed by floating-point matrix products, which are exact as long as no
partial sum can leave the integers that the type holds.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas_edge.errors import DataError
from nas_edge.mcu.graph import Int8Graph, Int8Layer, Requantise, Tensor
from nas_edge.mcu.requantise import requantise, scaled
from nas_edge.memory.layers import IMAGE, LayerKind

_CHUNK_BYTES = 16 << 20  # of the widest tensor: what is worked on at a time


def run(graph: Int8Graph, images: NDArray[np.int8]) -> NDArray[Any]:
    """The output for images [n, height, width, channels]: int8 or int32 [n, height, width, channels] as the graph says.

    Raises:
        DataError: images of another size or type.

    """
    _check(graph, images)
    widest = max([graph.input.bytes, *(item.output.bytes for item in graph.layers)])
    step = max(1, _CHUNK_BYTES // widest)
    parts = [tensors(graph, images[i : i + step])[-1] for i in range(0, len(images), step)]
    return np.concatenate(parts) if parts else np.zeros((0, *graph.output.shape), graph.output.dtype)


def tensors(graph: Int8Graph, images: NDArray[np.int8]) -> list[NDArray[Any]]:
    """What every layer gives for images [n, height, width, channels], all kept."""
    _check(graph, images)
    found: list[NDArray[Any]] = []
    for item in graph.layers:
        sources = [images if i == IMAGE else found[i] for i in item.layer.inputs]
        found.append(run_layer(item, sources, [graph.tensor(i) for i in item.layer.inputs]))
    return found


def run_layer(item: Int8Layer, sources: list[NDArray[np.int8]], inputs: list[Tensor]) -> NDArray[Any]:
    """What one layer gives for its inputs [n, height, width, channels], whose quantisation `inputs` says."""
    layer, x = item.layer, sources[0]
    if item.addition is not None:
        how = item.addition
        a, b = (source.astype(np.int64) for source in sources)
        sums = (a * how.a_multiplier + b * how.b_multiplier + how.offset) >> how.shift
        codes: NDArray[np.int8] = np.clip(sums, how.low, how.high).astype(np.int8)
        return codes
    assert item.requantise is not None  # the graph checks it
    if layer.kind is LayerKind.POOL:
        total = x.astype(np.int64).sum(axis=(1, 2), keepdims=True)
    elif layer.kind is LayerKind.LINEAR:
        assert item.weights is not None
        total = _product(x.reshape(len(x), 1, 1, -1), item.weights, np.float64)
    else:
        total = _windows(item, x, inputs[0].zero_point)
    return _finished(total + item.requantise.bias.astype(np.int64), item.requantise, item.output)


def quantise_images(graph: Int8Graph, images: NDArray[np.float32]) -> NDArray[np.int8]:
    """Images as training sees them, float32 [n, channels, height, width], as codes [n, height, width, channels].

    Rounded as ONNX's QuantizeLinear: divided in float32, half to even.
    """
    codes = np.rint(images / np.float32(graph.input.scale)) + graph.input.zero_point
    return np.ascontiguousarray(np.clip(codes, -128, 127).astype(np.int8).transpose(0, 2, 3, 1))


def dequantise(tensor: Tensor, codes: NDArray[Any]) -> NDArray[np.float64]:
    """Real values of a tensor's codes."""
    return (codes.astype(np.float64) - tensor.zero_point) * tensor.scale


def _windows(item: Int8Layer, x: NDArray[np.int8], zero: int) -> NDArray[np.int64]:
    """Sums of products under the window at every place, padding held to be `zero`: [n, height, width, channels]."""
    layer, weights = item.layer, item.weights
    assert weights is not None
    top, left, bottom, right = layer.pads
    x = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=zero)
    depthwise = layer.kind is LayerKind.DEPTHWISE
    kind = np.float64 if depthwise else _exact_type(weights)
    total = np.zeros((len(x), layer.out_height, layer.out_width, layer.out_channels), np.int32 if depthwise else kind)
    for i in range(layer.kernel_height):
        for j in range(layer.kernel_width):
            rows = slice(i, i + (layer.out_height - 1) * layer.stride + 1, layer.stride)
            columns = slice(j, j + (layer.out_width - 1) * layer.stride + 1, layer.stride)
            seen = x[:, rows, columns]
            if depthwise:
                total += seen.astype(np.int32) * weights[i, j].astype(np.int32)
            else:
                total += seen.astype(kind) @ weights[:, i, j].T.astype(kind)
    return total.astype(np.int64)


def _product(x: NDArray[np.int8], weights: NDArray[np.int8], kind: type[np.floating[Any]]) -> NDArray[np.int64]:
    result: NDArray[np.int64] = (x.astype(kind) @ weights.T.astype(kind)).astype(np.int64)
    return result


def _exact_type(weights: NDArray[np.int8]) -> type[np.floating[Any]]:
    """The smallest type in which every sum of code x weight is exact."""
    most = 128 * np.abs(weights.astype(np.int64)).reshape(len(weights), -1).sum(axis=1).max()
    return np.float32 if most < 2**24 else np.float64


def _finished(accumulators: NDArray[np.int64], to: Requantise, output: Tensor) -> NDArray[Any]:
    if output.dtype == "int32":
        return scaled(accumulators, to).astype(np.int32)
    return requantise(accumulators, to)


def _check(graph: Int8Graph, images: NDArray[np.int8]) -> None:
    if images.dtype != np.int8 or images.shape[1:] != graph.input.shape:
        raise DataError(
            f"network {graph.name!r} takes int8 images [n, {', '.join(map(str, graph.input.shape))}], "
            f"not {images.dtype} {list(images.shape)}; `quantise_images` makes them"
        )
