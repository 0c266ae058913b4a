"""`MemoryPlan`: where every tensor of a network lies in its arena."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nas_edge.memory.layers import Layer
from nas_edge.memory.liveness import liveness
from nas_edge.memory.packing import pack
from nas_edge.units import format_bytes


@dataclass(frozen=True)
class MemoryPlan:
    """The arena of one network.

    Attributes:
        layers: in the order they run in.
        arena_bytes: its size.
        tensors: address of each tensor in the arena, the image first, then the output of each layer; None for the
            last one, which is the caller's.
        scratch: address of each layer's scratch memory, None where it needs none.
        live_bytes: what each layer needs at the least, see `Liveness`.

    """

    layers: tuple[Layer, ...]
    arena_bytes: int
    tensors: tuple[int | None, ...]
    scratch: tuple[int | None, ...]
    live_bytes: tuple[int, ...]

    @property
    def bound_bytes(self) -> int:
        """What no plan can be smaller than."""
        return max(self.live_bytes, default=0)

    @property
    def peak_layer(self) -> int:
        """Index of the layer that needs most."""
        return self.live_bytes.index(self.bound_bytes)

    def describe_peak(self) -> str:
        """The layer that needs most, for a person."""
        layer = self.layers[self.peak_layer]
        shape = f"{layer.height} x {layer.width} x {layer.in_channels}"
        out = f"{layer.out_height} x {layer.out_width} x {layer.out_channels}"
        return f"layer {layer.name} ({layer.kind}, {shape} to {out}) needs {format_bytes(self.bound_bytes)}"


def plan_memory(layers: Sequence[Layer]) -> MemoryPlan:
    """Plan the arena of layers in the order they run in. Raises ValueError where a layer reads what is not there."""
    found = liveness(layers)
    packing = pack(found.buffers)

    def place(buffer: int | None) -> int | None:
        return None if buffer is None else packing.offsets[buffer]

    return MemoryPlan(
        tuple(layers),
        packing.size,
        tuple(place(buffer) for buffer in found.tensors),
        tuple(place(buffer) for buffer in found.scratch),
        found.live_bytes,
    )
