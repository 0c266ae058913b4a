"""Memory of networks on microcontrollers: layers, what lives when, where it lies, and what whole populations need."""

from nas_edge.memory.footprint import READAHEAD_BYTES, packed_weight_bytes, parameter_bytes, scratch_bytes
from nas_edge.memory.layers import IMAGE, Layer, LayerKind, layers_of
from nas_edge.memory.packing import ALIGNMENT, Buffer, Packing, lower_bound, pack
from nas_edge.memory.plan import MemoryPlan, plan_memory

__all__ = [
    "ALIGNMENT",
    "IMAGE",
    "READAHEAD_BYTES",
    "Buffer",
    "Layer",
    "LayerKind",
    "MemoryPlan",
    "Packing",
    "layers_of",
    "lower_bound",
    "pack",
    "packed_weight_bytes",
    "parameter_bytes",
    "plan_memory",
    "scratch_bytes",
]
