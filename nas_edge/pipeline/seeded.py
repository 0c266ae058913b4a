"""Graphs with seeded weights: what is timed before a network has weights of its own. No torch.

Tables, verification and profiles are all timed on what is made here, so that a block is the same in each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from nas_edge.spaces import BlockSpec, Population, Precision, SearchSpace

if TYPE_CHECKING:
    import onnx


def seeded_model(
    space: SearchSpace, arch: Population, num_classes: int, seed: int = 0, precision: str = "fp32"
) -> bytes:
    """One architecture (int8 [genes]) as serialised ONNX: the exporter's graph, random weights."""
    return seeded_network(space.lower(arch, num_classes, Precision(precision)), seed)


def seeded_network(blocks: Sequence[BlockSpec], seed: int = 0) -> bytes:
    """A whole network, image to logits, in the precision of its blocks."""
    return _serialised(blocks, seed, inner=False)


def seeded_block(block: BlockSpec, seed: int = 0) -> bytes:
    """One block alone, with the inputs and outputs that it has within a network.

    In int8 these are codes, channels last: ONNX Runtime then adds no conversion at the block's edges that a whole
    network does not have, and blocks of a network add up to it (`tests/spaces/test_onnx_quantise.py`).
    """
    return _serialised([block], seed, inner=True)


def _serialised(blocks: Sequence[BlockSpec], seed: int, inner: bool) -> bytes:
    from nas_edge.spaces.onnx_blocks import build_onnx

    model = build_onnx(blocks, seed=seed)
    precision = blocks[0].precision
    if precision is Precision.INT8:
        model = _in_int8(model, blocks[0], seed, inner)
    elif precision is Precision.FP16:
        from nas_edge.spaces.onnx_half import half

        model = half(model, inner=inner)
    data: bytes = model.SerializeToString()
    return data


def _in_int8(model: onnx.ModelProto, first: BlockSpec, seed: int, inner: bool) -> onnx.ModelProto:
    """Ranges of one run on seeded numbers: how long a network takes does not depend on them."""
    from nas_edge.spaces.onnx_quantise import quantise
    from nas_edge.spaces.onnx_ranges import RangeMethod, observe

    shape = (1, first.in_channels, first.height, first.width)
    inputs = np.random.default_rng(seed).standard_normal(shape, np.float32)
    return quantise(model, observe(model, [inputs], RangeMethod.EXTREMES), inner=inner)
