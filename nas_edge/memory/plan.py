"""`MemoryPlan`: where every tensor of a network lies in its arena."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nas_edge.memory.chain import plan_chain, units_of
from nas_edge.memory.footprint import scratch_bytes
from nas_edge.memory.layers import Layer
from nas_edge.memory.liveness import Liveness, liveness
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
        live_bytes: what the arena holds while each layer runs, the gaps of this plan included.
        bound_bytes: the most that lives at once where no layer writes over input that it still reads (`Liveness`); a
            plan that lets some do so may need less.

    """

    layers: tuple[Layer, ...]
    arena_bytes: int
    tensors: tuple[int | None, ...]
    scratch: tuple[int | None, ...]
    live_bytes: tuple[int, ...]
    bound_bytes: int

    @property
    def peak_layer(self) -> int:
        """Index of the layer that needs most."""
        return self.live_bytes.index(max(self.live_bytes))

    def describe_peak(self) -> str:
        """The layer that needs most, for a person."""
        layer = self.layers[self.peak_layer]
        shape = f"{layer.height} x {layer.width} x {layer.in_channels}"
        out = f"{layer.out_height} x {layer.out_width} x {layer.out_channels}"
        return f"layer {layer.name} ({layer.kind}, {shape} to {out}) needs {format_bytes(max(self.live_bytes))}"


def plan_memory(layers: Sequence[Layer]) -> MemoryPlan:
    """Plan the arena of layers in the order they run in.

    Chains are laid out unit by unit (`chain`), all other graphs by packing (`packing`).

    Raises:
        ValueError: a layer that reads what is not there yet.

    """
    found = liveness(layers)
    units = units_of(layers)
    return _packed(layers, found) if units is None else _chained(layers, found, units)


def _chained(layers: Sequence[Layer], found: Liveness, units: Sequence[Sequence[Layer]]) -> MemoryPlan:
    plans = plan_chain(units)
    size = max(plan.arena_bytes for plan in plans)
    steps = [step for plan in plans for step in plan.steps]
    return MemoryPlan(
        tuple(layers),
        size,
        (plans[0].input.address(size), *(None if s.output is None else s.output.address(size) for s in steps)),
        tuple(
            step.scratch.address(size) if scratch_bytes(layer) else None
            for layer, step in zip(layers, steps, strict=True)
        ),
        tuple(step.live_bytes for step in steps),
        max(found.live_bytes),
    )


def _packed(layers: Sequence[Layer], found: Liveness) -> MemoryPlan:
    packing = pack(found.buffers)

    def place(buffer: int | None) -> int | None:
        return None if buffer is None else packing.offsets[buffer]

    return MemoryPlan(
        tuple(layers),
        packing.size,
        tuple(place(buffer) for buffer in found.tensors),
        tuple(place(buffer) for buffer in found.scratch),
        found.live_bytes,
        max(found.live_bytes),
    )
