"""How far a layer's output may lie over its input.

Convolutions read four pixels' worth of input before they write these four outputs, in the order of pixels
(`mcu/kernels/nas_kernels.h`). So an output may run over input that no later four reads: the idea of diagonal memory
optimisation (Blacker et al., 2020).
"""

from __future__ import annotations

import numpy as np

from nas_edge.memory.layers import Layer, LayerKind
from nas_edge.memory.packing import aligned

GROUP = 4
"""Pixels that are read before any of them is written."""


def input_lead(layer: Layer) -> int:
    """Bytes by which the input must begin after the output, a multiple of the alignment; 0 for y over x.

    Args:
        layer: a convolution or pointwise layer.

    """
    written = np.arange(GROUP, layer.out_height * layer.out_width, GROUP)  # pixels, while some are left to compute
    if not len(written):
        return 0
    if layer.kind is LayerKind.POINTWISE:
        needed = written * layer.in_channels
    else:
        row, column = written // layer.out_width, written % layer.out_width
        left = np.maximum(column * layer.stride - layer.pads[1], 0)
        here = np.maximum(row * layer.stride - layer.pads[0], 0) * layer.width + left
        below = np.maximum((row + 1) * layer.stride - layer.pads[0], 0) * layer.width
        needed = np.minimum(here, below) * layer.in_channels
    return aligned(max(int((written * layer.out_channels - needed).max()), 0))
