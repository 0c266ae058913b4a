"""ONNX to `.tflite`: the graphs that `spaces.onnx_blocks` builds, float32 or quantised, and others like them."""

from __future__ import annotations

from dataclasses import dataclass

from nas_edge.runtimes.ports import Port
from nas_edge.runtimes.tflite.file import FileWriter
from nas_edge.runtimes.tflite.operators import Translator
from nas_edge.runtimes.tflite.reading import Edge, Network, read_network

WRITER = b"nas-edge"
"""The description of files that are written here."""


@dataclass(frozen=True)
class TfliteModel:
    """A `.tflite` file and what its inputs and outputs are in the ONNX model it came from.

    Attributes:
        data: the file.
        inputs, outputs: one a tensor, in order; named as in the ONNX model.
        precision: "fp32" or "int8".

    """

    data: bytes
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    precision: str


def convert(model: bytes) -> TfliteModel:
    """Write an ONNX model as a `.tflite` file; the same model gives the same bytes.

    An int8 model is one with QDQ pairs (`onnx_quantise`, any form; uint8 activations become int8 ones): its codes and
    scales are kept as they are, inputs and outputs are int8. Images and feature maps have their channels last.

    Args:
        model: serialised ONNX of fixed shapes, but for the batch.

    Raises:
        ExportError: an operator that cannot be written (operator and node are named), dynamic shapes, an old opset, a
            truncated file. MissingExtraError: LiteRT's schema is not installed.

    """
    network = read_network(model)
    writer = FileWriter()
    translator = Translator(network, writer)
    inputs = {edge.name: translator.values.edge(edge.value) for edge in network.inputs}
    for layer in network.layers:
        translator.add(layer)
    outputs = {edge.name: translator.values.edge(edge.value) for edge in network.outputs}
    data = writer.finish(inputs, outputs, WRITER.decode(), network.properties)
    return TfliteModel(
        data,
        tuple(_port(network, edge) for edge in network.inputs),
        tuple(_port(network, edge) for edge in network.outputs),
        "int8" if network.quantised else "fp32",
    )


def _port(network: Network, edge: Edge) -> Port:
    shape, codes = network.shapes[edge.value], network.quantisations.get(edge.value)
    if edge.channels_last:
        shape = (shape[0], shape[2], shape[3], shape[1])
    scale, zero = (1.0, 0) if codes is None else (float(codes.scales[0]), codes.zero)
    return Port(
        edge.name, shape, network.dynamic_batch, channels_last=edge.channels_last or len(shape) != 4,
        kind="float32" if codes is None else "int8", given=edge.codes or "float32", scale=scale, zero=zero,
    )  # fmt: skip
