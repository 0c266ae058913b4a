"""Any list of blocks, one or a whole network, as ONNX. No torch; onnx is imported when a graph is built.

Latency tables, calibration networks and exported networks are all made here, so that they have the same structure:
batch norms folded into convolutions with bias, activations as separate nodes, opset 17.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nas_edge.errors import ExportError, SpaceError
from nas_edge.spaces.blocks import Activation, BlockSpec, Kind, Padding, same_padding

if TYPE_CHECKING:
    import onnx

OPSET = 17
_IR_VERSION = 8  # the one that came with opset 17: older runtimes refuse newer ones
_HARD_SIGMOID: dict[str, Any] = {"alpha": 1.0 / 6.0, "beta": 0.5}


def weight_names(blocks: Sequence[BlockSpec]) -> dict[str, tuple[int, ...]]:
    """Name and shape of every weight of a list of blocks, in graph order.

    Block i is "b00", "b01" ...; its layers are `conv` (stem, head), `expand`, `depthwise`, `se_reduce`, `se_expand`,
    `project` (inverted residual) and `linear`, each with `.weight` and, but for a head without norm, `.bias`:
    "b03.depthwise.weight". Convolutions are [out, in / groups, k, k], linear layers [out, in], biases [out].
    """
    names: dict[str, tuple[int, ...]] = {}
    for i, block in enumerate(blocks):
        for layer, shape in _layers(block).items():
            names[f"b{i:02d}.{layer}.weight"] = shape
            if block.kind is not Kind.HEAD or block.norm:
                names[f"b{i:02d}.{layer}.bias"] = shape[:1]
    return names


def seeded_weights(blocks: Sequence[BlockSpec], seed: int = 0) -> dict[str, NDArray[np.float32]]:
    """Random weights under which activations neither vanish nor overflow, float32, named as `weight_names` says.

    Variances follow He et al. (2015). Projections of residual blocks are scaled down, those after
    squeeze-and-excitation up (its gate is about a half), so that depth does not change the scale.
    """
    rng = np.random.default_rng(seed)
    weights: dict[str, NDArray[np.float32]] = {}
    for name, shape in weight_names(blocks).items():
        block, layer = blocks[int(name[1 : name.index(".")])], name.split(".")[1]
        if name.endswith(".bias"):
            weights[name] = (0.1 * rng.standard_normal(shape, np.float32)).astype(np.float32)
            continue
        gain = 1.0 if layer in ("linear", "se_expand") else math.sqrt(2.0)
        if layer == "project":
            gain = math.sqrt(2.0) * (0.5 if block.residual else 1.0) * (2.0 if block.se else 1.0)
        scale = gain / math.sqrt(math.prod(shape[1:]))
        weights[name] = (scale * rng.standard_normal(shape, np.float32)).astype(np.float32)
    return weights


def build_onnx(
    blocks: Sequence[BlockSpec],
    weights: Mapping[str, NDArray[Any]] | None = None,
    *,
    seed: int = 0,
    batch: int | None = 1,
    name: str = "net",
    labels: Sequence[str] | None = None,
) -> onnx.ModelProto:
    """A list of consecutive blocks as a float32 ONNX model, whatever their precision (quantising is a later step).

    Input: "image" if the first block is a stem, else "input": float32 [batch, in_channels, height, width].
    Output: "logits" [batch, classes] if the last block is linear, else "output" [batch, channels, height, width].

    Args:
        blocks: as `SearchSpace.lower` gives them, or any part of it.
        weights: exactly those of `weight_names(blocks)`; seeded random ones by default.
        seed: of the random weights.
        batch: a fixed batch size, or None for a dynamic one.
        name: of the graph.
        labels: names of the classes, kept in the model's metadata as JSON under "labels".

    Raises:
        SpaceError: no blocks, or blocks whose shapes do not chain.
        ExportError: weights missing, unknown, or of another shape; labels that do not fit.

    """
    from onnx import TensorProto, helper

    _check_chain(blocks)
    weights = seeded_weights(blocks, seed) if weights is None else _checked_weights(blocks, weights)
    graph = _GraphWriter(weights)
    first, last = blocks[0], blocks[-1]
    source = "image" if first.kind is Kind.STEM else "input"
    target = "logits" if last.kind is Kind.LINEAR else "output"
    tensor = source
    for i, block in enumerate(blocks):
        tensor = graph.add_block(f"b{i:02d}", block, tensor, target if i + 1 == len(blocks) else "")
    size: int | str = "batch" if batch is None else batch
    tail = [] if last.kind is Kind.LINEAR else [last.out_height, last.out_width]
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            name,
            [
                helper.make_tensor_value_info(
                    source, TensorProto.FLOAT, [size, first.in_channels, first.height, first.width]
                )
            ],
            [helper.make_tensor_value_info(target, TensorProto.FLOAT, [size, last.out_channels, *tail])],
            graph.initializers,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=_IR_VERSION,
        producer_name="nas-edge",
    )
    if labels is not None:
        if last.kind is not Kind.LINEAR or len(labels) != last.out_channels:
            raise ExportError(f"{len(labels)} labels do not fit an output of {last.out_channels} ({last.kind})")
        helper.set_model_props(model, {"labels": json.dumps(list(labels))})
    checked: onnx.ModelProto = model
    return checked


def _layers(block: BlockSpec) -> dict[str, tuple[int, ...]]:
    """Weight shape of each layer of a block, in graph order."""
    if block.kind is Kind.POOLING:
        return {}
    if block.kind is Kind.LINEAR:
        return {"linear": (block.out_channels, block.in_channels)}
    k, mid = block.kernel, block.mid_channels
    if block.kind is not Kind.INVERTED_RESIDUAL:
        return {"conv": (block.out_channels, block.in_channels // block.groups, k, k)}
    layers: dict[str, tuple[int, ...]] = {}
    if block.expands:
        layers["expand"] = (mid, block.in_channels, 1, 1)
    layers["depthwise"] = (mid, mid // block.groups, k, k)
    if block.se:
        layers["se_reduce"] = (block.se_channels, mid, 1, 1)
        layers["se_expand"] = (mid, block.se_channels, 1, 1)
    layers["project"] = (block.out_channels, mid, 1, 1)
    return layers


def _check_chain(blocks: Sequence[BlockSpec]) -> None:
    if not blocks:
        raise SpaceError("a network needs at least one block")
    for i, (before, after) in enumerate(itertools.pairwise(blocks)):
        gives = (before.out_channels, before.out_height, before.out_width)
        takes = (after.in_channels, after.height, after.width)
        if gives != takes:
            raise SpaceError(
                f"block {i} ({before.kind}) gives channels x height x width {gives}, "
                f"block {i + 1} ({after.kind}) takes {takes}"
            )
    for i, block in enumerate(blocks):
        if block.residual and (block.stride != 1 or block.in_channels != block.out_channels):
            raise SpaceError(f"block {i} ({block.kind}): a residual needs stride 1 and as many channels out as in")
        if block.kind is Kind.LINEAR and (block.height, block.width) != (1, 1):
            raise SpaceError(f"block {i} (linear): takes 1 x 1 inputs, not {block.height} x {block.width}")


def _checked_weights(blocks: Sequence[BlockSpec], weights: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    wanted = weight_names(blocks)
    if missing := [name for name in wanted if name not in weights]:
        raise ExportError(f"{len(missing)} weights are missing, the first is {missing[0]!r} {wanted[missing[0]]}")
    if unknown := [name for name in weights if name not in wanted]:
        raise ExportError(f"{len(unknown)} weights belong to no block, the first is {unknown[0]!r}")
    for name, shape in wanted.items():
        if weights[name].shape != shape:
            raise ExportError(f"weight {name!r} has shape {weights[name].shape}, not {shape}")
        if not np.isfinite(weights[name]).all():
            raise ExportError(f"weight {name!r} contains NaN or infinite values")
    return {name: np.asarray(weights[name]) for name in wanted}


class _GraphWriter:
    """Nodes and initializers of one graph, appended block by block."""

    def __init__(self, weights: Mapping[str, NDArray[Any]]) -> None:
        self.weights = weights
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self._constants: set[str] = set()

    def add_block(self, name: str, block: BlockSpec, tensor: str, output: str) -> str:
        """Append a block that reads `tensor`; its result is called `output` if given. Returns the result's name."""
        if block.kind is Kind.POOLING:
            return self._node("GlobalAveragePool", f"{name}.pool", [tensor], output)
        if block.kind is Kind.LINEAR:
            flat = self._node("Flatten", f"{name}.flatten", [tensor], axis=1)
            return self._node("Gemm", f"{name}.linear", [flat, *self._parameters(f"{name}.linear")], output, transB=1)
        if block.kind is not Kind.INVERTED_RESIDUAL:
            result = self._conv(f"{name}.conv", block, tensor, block.kernel, block.stride, block.groups)
            return self._activation(f"{name}.act", block.activation, result, output)
        result = tensor
        if block.expands:
            result = self._conv(f"{name}.expand", block, result)
            result = self._activation(f"{name}.expand_act", block.activation, result)
        result = self._conv(f"{name}.depthwise", block, result, block.kernel, block.stride, block.groups)
        result = self._activation(f"{name}.depthwise_act", block.activation, result)
        if block.se:
            result = self._squeeze_excite(name, block, result)
        result = self._conv(f"{name}.project", block, result, output="" if block.residual else output)
        return self._node("Add", f"{name}.residual", [result, tensor], output) if block.residual else result

    def _squeeze_excite(self, name: str, block: BlockSpec, tensor: str) -> str:
        gate = self._node("GlobalAveragePool", f"{name}.se_pool", [tensor])
        gate = self._activation(f"{name}.se_act", Activation.RELU, self._conv(f"{name}.se_reduce", block, gate))
        gate = self._conv(f"{name}.se_expand", block, gate)
        gate = self._node("HardSigmoid", f"{name}.se_gate", [gate], **_HARD_SIGMOID)
        return self._node("Mul", f"{name}.se_scale", [tensor, gate])

    def _conv(
        self,
        name: str,
        block: BlockSpec,
        tensor: str,
        kernel: int = 1,
        stride: int = 1,
        groups: int = 1,
        output: str = "",
    ) -> str:
        if block.padding is Padding.SAME:
            top, bottom = same_padding(block.height, kernel, stride)
            left, right = same_padding(block.width, kernel, stride)
        else:
            top = bottom = left = right = kernel // 2
        inputs = [tensor, *self._parameters(name)]
        return self._node(
            "Conv",
            name,
            inputs,
            output,
            kernel_shape=[kernel, kernel],
            strides=[stride, stride],
            pads=[top, left, bottom, right] if kernel > 1 else [0, 0, 0, 0],
            group=groups,
        )

    def _activation(self, name: str, activation: Activation, tensor: str, output: str = "") -> str:
        if activation is Activation.RELU:
            return self._node("Relu", name, [tensor], output)
        if activation is Activation.RELU6:
            return self._node("Clip", name, [tensor, self._scalar("zero", 0.0), self._scalar("six", 6.0)], output)
        if activation is Activation.H_SWISH:
            return self._node("HardSwish", name, [tensor], output)
        return self._node("Identity", name, [tensor], output) if output else tensor

    def _parameters(self, name: str) -> list[str]:
        """Add a layer's weight (and bias, where it has one) to the graph; their names."""
        from onnx import numpy_helper

        names = [key for key in (f"{name}.weight", f"{name}.bias") if key in self.weights]
        for key in names:
            array = np.ascontiguousarray(self.weights[key], dtype=np.float32)
            self.initializers.append(numpy_helper.from_array(array, key))
        return names

    def _scalar(self, name: str, value: float) -> str:
        from onnx import numpy_helper

        if name not in self._constants:
            self._constants.add(name)
            self.initializers.append(numpy_helper.from_array(np.array(value, np.float32), name))
        return name

    def _node(self, kind: str, name: str, inputs: list[str], output: str = "", **attributes: Any) -> str:
        from onnx import helper

        result = output or f"{name}.out"
        self.nodes.append(helper.make_node(kind, inputs, [result], name=name, **attributes))
        return result
