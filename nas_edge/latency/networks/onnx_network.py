"""Blocks of an ONNX network: those of the inverted-residual family as such, every other layer by what it computes.

Recognised: stems (k x k convolutions), inverted residuals with and without expansion, squeeze-and-excitation and
shortcut, heads (1 x 1 convolutions, before and after the pooling), the global pooling, linear layers; ReLU, ReLU6 and
h-swish (any other swish is priced as one); symmetric and SAME padding; quantised or not. What is left is priced by
operator: a convolution by its multiply-adds, anything else by the activations that it moves; how much that is is said.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from nas_edge.errors import ArchitectureError
from nas_edge.latency.networks.onnx_layers import Layer, Op, Shape, read_layers
from nas_edge.spaces import Activation, BlockSpec, Kind, Padding, Precision, same_padding

_MAX_SIZE = 1 << 20


@dataclass(frozen=True)
class OnnxNetwork:
    """A recognised network.

    Attributes:
        blocks: recognised, in order.
        rest: what stands in for the other operators.
        operators: ONNX name and number of those.
        notes: what was read as something else.
        precision: int8 where the file is quantised, else fp32.

    """

    blocks: tuple[BlockSpec, ...]
    rest: tuple[BlockSpec, ...]
    operators: tuple[tuple[str, int], ...]
    notes: tuple[str, ...]
    precision: Precision

    @property
    def all_blocks(self) -> tuple[BlockSpec, ...]:
        """What is to be priced."""
        return self.blocks + self.rest


def read_onnx(path: Path, resolution: int | None = None) -> OnnxNetwork:
    """Read an ONNX file. Raises as `read_layers`, and ArchitectureError where no layer has a known size."""
    layers, quantised = read_layers(path, resolution)
    precision = Precision.INT8 if quantised else Precision.FP32
    finder = _Finder(layers)
    blocks = finder.blocks()
    rest, counts = finder.rest()
    if not blocks and not rest:
        raise ArchitectureError(f"{path}: has no layer whose size is known")
    return OnnxNetwork(
        tuple(replace(b, precision=precision) for b in _one_padding(blocks, finder.ambiguous)),
        tuple(replace(b, precision=precision) for b in rest),
        tuple(sorted(counts.items(), key=lambda item: (-item[1], item[0]))),
        tuple(finder.notes),
        precision,
    )


class _Finder:
    """Matches layers into blocks; each layer belongs to one."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        self.layers = layers
        self.used: set[int] = set()
        self.notes: list[str] = []
        self.ambiguous: set[BlockSpec] = set()
        self.users: dict[int, list[int]] = {}
        for i, layer in enumerate(layers):
            for source in dict.fromkeys(layer.inputs):
                self.users.setdefault(source, []).append(i)

    def blocks(self) -> list[BlockSpec]:
        """In the order of the graph."""
        found = []
        for i in range(len(self.layers)):
            if i not in self.used:
                block = self._inverted_residual(i) or self._plain(i)
                if block is not None:
                    found.append(block)
        return found

    def rest(self) -> tuple[list[BlockSpec], dict[str, int]]:
        """What stands in for the layers that no block took, and their operators."""
        found: list[BlockSpec] = []
        counts: dict[str, int] = {}
        for i, layer in enumerate(self.layers):
            if i not in self.used:
                counts[layer.kind] = counts.get(layer.kind, 0) + 1
                block = _stand_in(layer)
                if block is not None:
                    found.append(block)
        return found, counts

    def _plain(self, i: int) -> BlockSpec | None:
        """A stem, a head, the pooling or a linear layer."""
        layer = self.layers[i]
        if not _sized(layer):
            return None
        if layer.op is Op.CONV and layer.groups == 1 and layer.kernel[0] == layer.kernel[1]:
            self.used.add(i)
            kind = Kind.HEAD if layer.kernel == (1, 1) else Kind.STEM
            return self._conv(layer, kind)
        if layer.op is Op.POOL and len(layer.in_shape) == 4:
            self.used.add(i)
            c, h, w = layer.in_shape[1:]
            return BlockSpec(Kind.POOLING, h, w, c, c, c, groups=c)
        if layer.op is Op.LINEAR and len(layer.out_shape) == 2:
            self.used.add(i)
            inputs, out = layer.in_shape[-1], layer.out_shape[-1]
            if len(layer.in_shape) == 4:
                inputs = layer.in_shape[1]
            if layer.activation is Activation.NONE:
                return BlockSpec(Kind.LINEAR, 1, 1, inputs, inputs, out)
            return BlockSpec(Kind.HEAD, 1, 1, inputs, inputs, out, activation=layer.activation, norm=layer.bias)
        return None

    def _conv(self, layer: Layer, kind: Kind) -> BlockSpec:
        _, c, h, w = layer.in_shape
        padding, sure = self._padding(layer)
        block = BlockSpec(
            kind, h, w, c, c, layer.out_shape[1], layer.kernel[0], layer.stride[0], 1, padding, layer.activation,
            norm=layer.bias,
        )  # fmt: skip
        return self._noted(block, sure)

    def _inverted_residual(self, start: int) -> BlockSpec | None:
        """[1x1] depthwise [squeeze] 1x1 [+ input], beginning at layer `start`; None where it does not begin one."""
        taken = [start]
        first = self.layers[start]
        expand = first if _is_pointwise(first) else None
        if expand is not None:
            middle = self._only_user(start)
            if middle is None or expand.in_shape[1] == expand.out_shape[1]:
                return None
            taken.append(middle)
        depthwise = self.layers[taken[-1]]
        if not _is_depthwise(depthwise):
            return None
        if expand is not None and expand.activation is not depthwise.activation:
            return None
        gated = self._gate(taken[-1])
        taken += gated
        last = self._only_user(taken[-1])
        if last is None or not _is_pointwise(self.layers[last]) or self.layers[last].activation is not Activation.NONE:
            return None
        taken.append(last)
        project = self.layers[last]
        shortcut = self._shortcut(last, first.inputs[0])
        if shortcut is not None and project.out_shape == first.in_shape:
            taken.append(shortcut)
        _, c, h, w = first.in_shape
        mid, kernel, stride = depthwise.out_shape[1], depthwise.kernel[0], depthwise.stride[0]
        padding, sure = self._padding(depthwise)
        self.used.update(taken)
        block = BlockSpec(
            Kind.INVERTED_RESIDUAL, h, w, c, mid, project.out_shape[1], kernel, stride, mid, padding,
            depthwise.activation, bool(gated), shortcut in taken,
        )  # fmt: skip
        if gated and self.layers[gated[1]].out_shape[1] != block.se_channels:
            self._note(
                f"squeezes of other widths ({self.layers[gated[1]].out_shape[1]} of {mid}) are priced as a quarter"
            )
        return self._noted(block, sure)

    def _gate(self, depthwise: int) -> list[int]:
        """Pooling, two small layers and the product of a squeeze-and-excitation; [] without one."""
        users = self.users.get(depthwise, [])
        gates = [i for i in users if self.layers[i].op is Op.GATE and self.layers[i].inputs[0] == depthwise]
        pools = [i for i in users if self.layers[i].op is Op.POOL]
        if len(users) != 2 or len(gates) != 1 or len(pools) != 1:
            return []
        reduce = self._only_user(pools[0])
        expand = None if reduce is None else self._only_user(reduce)
        if reduce is None or expand is None or self.layers[gates[0]].inputs[1] != expand:
            return []
        small = all(self.layers[i].op in (Op.CONV, Op.LINEAR) and self.layers[i].groups == 1 for i in (reduce, expand))
        return [pools[0], reduce, expand, gates[0]] if small else []

    def _shortcut(self, project: int, source: int) -> int | None:
        only = self._only_user(project)
        if only is None or self.layers[only].op is not Op.ADD:
            return None
        return only if sorted(self.layers[only].inputs) == sorted([project, source]) else None

    def _only_user(self, i: int) -> int | None:
        users = self.users.get(i, [])
        return users[0] if len(users) == 1 else None

    def _padding(self, layer: Layer) -> tuple[Padding, bool]:
        """The padding, and whether it could not have been the other one."""
        h, w = layer.in_shape[2:]
        (kh, _), (sh, _) = layer.kernel, layer.stride
        (top, bottom), (left, right) = same_padding(h, kh, sh), same_padding(w, kh, sh)
        same, symmetric = (top, left, bottom, right), (kh // 2,) * 4
        if layer.pads is None:
            return Padding.SAME, same != symmetric
        if layer.pads == symmetric:
            return Padding.SYMMETRIC, same != symmetric
        if layer.pads == same:
            return Padding.SAME, True
        self._note("padding that is neither k // 2 nor SAME is priced as k // 2")
        return Padding.SYMMETRIC, True

    def _noted(self, block: BlockSpec, sure: bool) -> BlockSpec:
        if not sure:
            self.ambiguous.add(block)
        return block

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)


def _one_padding(blocks: Iterable[BlockSpec], ambiguous: set[BlockSpec]) -> list[BlockSpec]:
    """Where both conventions pad alike, that of the rest of the network is meant."""
    blocks = list(blocks)
    same = any(b.padding is Padding.SAME for b in blocks if b not in ambiguous)
    return [replace(b, padding=Padding.SAME) if same and b in ambiguous else b for b in blocks]


def _sized(layer: Layer) -> bool:
    shapes = (layer.in_shape, layer.out_shape)
    return all(shape and max(shape) < _MAX_SIZE for shape in shapes)


def _is_square(layer: Layer) -> bool:
    return (
        layer.op is Op.CONV and _sized(layer) and len(layer.in_shape) == 4
        and layer.kernel[0] == layer.kernel[1] and layer.stride[0] == layer.stride[1]
    )  # fmt: skip


def _is_pointwise(layer: Layer) -> bool:
    return _is_square(layer) and layer.groups == 1 and layer.kernel == (1, 1) and layer.stride == (1, 1)


def _is_depthwise(layer: Layer) -> bool:
    return _is_square(layer) and layer.groups == layer.in_shape[1] == layer.out_shape[1] > 1


def _stand_in(layer: Layer) -> BlockSpec | None:
    """Something of as many multiply-adds, or as many activations, as a layer that belongs to no block."""
    shape: Shape = layer.in_shape if len(layer.in_shape) == 4 else layer.out_shape
    if not _sized(layer):
        return None
    if layer.op is Op.CONV and len(shape) == 4:
        c, h, w = shape[1:]
        kind = Kind.HEAD if layer.kernel == (1, 1) else Kind.STEM
        kernel = max(layer.kernel)
        return BlockSpec(
            kind, h, w, c, c, layer.out_shape[1], kernel, max(layer.stride), layer.groups, activation=layer.activation
        )
    if layer.op is Op.LINEAR:
        rows = 1
        for size in layer.out_shape[:-1]:
            rows *= size
        inputs = layer.in_shape[-1]
        return BlockSpec(
            Kind.HEAD, 1, max(1, min(rows, _MAX_SIZE)), inputs, inputs, layer.out_shape[-1], norm=layer.bias
        )
    count = 1
    for size in shape:
        count *= size
    channels = shape[1] if len(shape) > 1 else 1
    return BlockSpec(Kind.POOLING, 1, max(1, count // channels), channels, channels, channels, groups=channels)
