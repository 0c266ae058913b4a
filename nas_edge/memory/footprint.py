"""What a kernel needs beside its tensors: scratch memory and packed parameters, to the byte.

The formulas are those of `mcu/kernels/nas_kernels.h`; tests hold them against the generated C.
"""

from __future__ import annotations

from nas_edge.memory.layers import Layer, LayerKind
from nas_edge.memory.packing import aligned

READAHEAD_BYTES = 32
"""Kernels may read, not use, this much beyond the last weights; a network has it once."""

_POOL_PARAMETERS = 8  # one bias, one multiplier


def scratch_bytes(layer: Layer) -> int:
    """Memory that a kernel uses while it runs."""
    window = layer.kernel_height * layer.kernel_width * layer.in_channels
    if layer.kind is LayerKind.CONV:
        return 12 * aligned(window)
    if layer.kind is LayerKind.POINTWISE:
        return 8 * aligned(window)
    if layer.kind is LayerKind.LINEAR:
        return 2 * aligned(window)
    if layer.kind is LayerKind.DEPTHWISE:
        row = (layer.out_width - 1) * layer.stride + layer.kernel_width
        return 2 * layer.kernel_height * aligned(row, 2)
    return 0


def packed_weight_bytes(layer: Layer) -> int:
    """Weights as the kernels read them: outputs in pairs, rows of whole words, zeros where nothing is."""
    area = layer.kernel_height * layer.kernel_width
    if layer.kind is LayerKind.DEPTHWISE:
        return layer.in_channels * area
    if layer.kind in (LayerKind.CONV, LayerKind.POINTWISE, LayerKind.LINEAR):
        return aligned(layer.out_channels, 2) * aligned(area * layer.in_channels)
    return 0


def parameter_bytes(layer: Layer) -> int:
    """Packed weights in whole words, and a 32-bit bias and multiplier for each output channel."""
    if layer.kind is LayerKind.ADD:
        return 0
    if layer.kind is LayerKind.POOL:
        return _POOL_PARAMETERS
    return aligned(packed_weight_bytes(layer)) + 8 * aligned(layer.out_channels)
