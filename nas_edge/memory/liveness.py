"""Liveness: which buffers a network's arena holds at which layer.

The image lies in the arena while the first layer runs. The last layer writes to memory of the caller's. Some layers
write over an input that nobody reads later, and the kernels are made for it: additions, depthwise convolutions, and
pointwise ones that have no more outputs than inputs. So some tensors share a buffer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nas_edge.memory.footprint import scratch_bytes
from nas_edge.memory.layers import IMAGE, Layer, LayerKind
from nas_edge.memory.packing import Buffer, aligned


@dataclass(frozen=True)
class Liveness:
    """What the arena of a list of layers must hold.

    Attributes:
        buffers: of tensors and of scratch memory; steps are indices of layers.
        tensors: buffer of each tensor, the image first, then the output of each layer; None for the last output.
        scratch: buffer of each layer's scratch memory, None where it needs none.
        live_bytes: at each layer what its inputs, its output (where it cannot write over an input), its scratch and
            what is kept for later take together, each rounded up to the alignment: no plan can need less than the
            greatest.

    """

    buffers: tuple[Buffer, ...]
    tensors: tuple[int | None, ...]
    scratch: tuple[int | None, ...]
    live_bytes: tuple[int, ...]


def liveness(layers: Sequence[Layer], *, from_image: bool = True, to_caller: bool = True) -> Liveness:
    """Buffers and their lives.

    Args:
        layers: in the order they run in; each reads the image or outputs of earlier ones.
        from_image: tensor `IMAGE` is the network's input; else these layers are a part of a network, and it is what the
            layer before them gave, which may be written over.
        to_caller: the last layer's output is the caller's; else it is read by what follows.

    Raises:
        ValueError: a layer that reads what is not there yet.

    """
    last_use = _last_uses(layers)
    sizes = [layers[0].in_bytes if layers else 0, *(layer.out_bytes for layer in layers)]
    sizes = [aligned(size) for size in sizes]
    if to_caller:
        sizes[-1] = 0
    kept = IMAGE if from_image else None
    could = [_could_overwrite(layer, i, last_use, kept) for i, layer in enumerate(layers)]
    over = [_overwritten(layers, i, could) for i in range(len(layers))]
    if to_caller:
        over[-1:] = [None] * len(over[-1:])
    group = list(range(len(sizes)))  # tensor t shares the buffer of tensor group[t]; here the image is tensor 0
    for i, tensor in enumerate(over):
        if tensor is not None:
            group[i + 1] = group[tensor + 1]
    inside = len(sizes) - to_caller
    members = {g: [t for t in range(inside) if group[t] == g] for g in dict.fromkeys(group[:inside])}
    buffers = [
        Buffer(max(sizes[t] for t in tensors), max(tensors[0] - 1, 0), max(last_use[t] for t in tensors))
        for tensors in members.values()
    ]
    number = {g: n for n, g in enumerate(members)}
    scratch: list[int | None] = []
    for i, layer in enumerate(layers):
        needed = aligned(scratch_bytes(layer))
        scratch.append(len(buffers) if needed else None)
        buffers += [Buffer(needed, i, i)] if needed else []
    return Liveness(
        tuple(buffers),
        tuple(number.get(g) for g in group),
        tuple(scratch),
        tuple(_live_at(layer, i, sizes, last_use, could[i]) for i, layer in enumerate(layers)),
    )


def _could_overwrite(layer: Layer, i: int, last_use: Sequence[int], kept: int | None) -> int | None:
    """An input that layer i may write over, None where it needs an output of its own.

    An addition takes the input that is older: the shortcut's. It lies at an end of the arena, where it leaves what is
    free in one piece.
    """
    if layer.kind is LayerKind.DEPTHWISE:
        able = layer.out_height <= layer.height and layer.out_width <= layer.width
    else:
        able = layer.kind is LayerKind.ADD or (layer.kind is LayerKind.POINTWISE and layer.out_bytes <= layer.in_bytes)
    if not able:
        return None
    return min((tensor for tensor in layer.inputs if tensor != kept and last_use[tensor + 1] == i), default=None)


def _overwritten(layers: Sequence[Layer], i: int, could: Sequence[int | None]) -> int | None:
    """The input that layer i does write over.

    A pointwise layer does only where an addition follows that writes over the shortcut: its output would otherwise go
    on in the midst of a wider buffer and cut what is free in two.
    """
    if layers[i].kind is not LayerKind.POINTWISE:
        return could[i]
    readers = [j for j, layer in enumerate(layers) if i in layer.inputs]
    added = len(readers) == 1 and layers[readers[0]].kind is LayerKind.ADD and could[readers[0]] not in (None, i)
    return could[i] if added else None


def _last_uses(layers: Sequence[Layer]) -> list[int]:
    last_use = [0, *range(len(layers))]  # what nobody reads lives while it is made
    for i, layer in enumerate(layers):
        for tensor in layer.inputs:
            if not IMAGE <= tensor < i:
                raise ValueError(f"layer {i} ({layer.name}) reads tensor {tensor}, which is not made before it")
            last_use[tensor + 1] = i
    return last_use


def _live_at(layer: Layer, i: int, sizes: Sequence[int], last_use: Sequence[int], over: int | None) -> int:
    """Bytes of what was made before layer i and is read by it or later, of its output and of its scratch memory."""
    held = sum(size for t, size in enumerate(sizes[: i + 1]) if last_use[t] >= i)
    output = sizes[i + 1] if over is None else max(0, sizes[i + 1] - sizes[over + 1])
    return held + output + aligned(scratch_bytes(layer))
