"""SRAM and flash of whole populations, as arrays: what planning each network by itself would find.

Between two blocks one tensor is handed on, so a network's arena must hold what its neediest block must hold, and chains
are packed without a gap (`packing`): the arena is a maximum over terms. Parameters are a sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas_edge.memory.firmware import FirmwareSize, block_kernels
from nas_edge.memory.footprint import READAHEAD_BYTES, parameter_bytes
from nas_edge.memory.layers import layers_of
from nas_edge.memory.liveness import liveness
from nas_edge.memory.packing import lower_bound
from nas_edge.spaces.blocks import BlockSpec, Kind, Precision
from nas_edge.spaces.space import SearchSpace
from nas_edge.spaces.terms import Population, TermCosts

Bytes = NDArray[np.float64]


def block_arena_bytes(block: BlockSpec) -> int:
    """What the arena must hold while a block runs inside a network. Raises ExportError as `layers_of`."""
    first, last = block.kind is Kind.STEM, block.kind is Kind.LINEAR
    return lower_bound(liveness(layers_of((block,)), from_image=first, to_caller=last).buffers)


def block_parameter_bytes(block: BlockSpec) -> int:
    """Weights, biases and multipliers as they lie in flash; what kernels read ahead goes with the classifier."""
    readahead = READAHEAD_BYTES if block.kind is Kind.LINEAR else 0
    return sum(parameter_bytes(layer) for layer in layers_of((block,))) + readahead


@dataclass(frozen=True, eq=False)
class PopulationMemory:
    """Memory of any architecture of a space, once it is firmware.

    Attributes:
        arena: of every entry of every term; the greatest is the network's.
        parameters: of every entry; the sum is the network's.
        flash: the same with the code and the constants that call kernels, and with what every firmware has besides.
        kernels: of every entry the optional kernels that it calls, as bits; a network carries their union.
        firmware: what comes on top, whatever the network.

    """

    arena: TermCosts
    parameters: TermCosts
    flash: TermCosts
    kernels: TermCosts
    firmware: FirmwareSize

    @classmethod
    def of(cls, space: SearchSpace, num_classes: int, firmware: FirmwareSize) -> PopulationMemory:
        """Price a space. Raises ExportError where it has blocks that no int8 kernel computes."""
        terms, genes = space.base.terms(num_classes, Precision.INT8), len(space.base.genes)

        def flash_bytes(block: BlockSpec) -> int:
            # Every network has one stem: what does not depend on the network is counted with it.
            fixed = firmware.code_bytes if block.kind is Kind.STEM else 0
            calls = sum(firmware.call_bytes_of(layer) for layer in layers_of((block,)))
            return block_parameter_bytes(block) + calls + fixed

        return cls(
            TermCosts.of(terms, genes, block_arena_bytes, combine=max),
            TermCosts.of(terms, genes, block_parameter_bytes),
            TermCosts.of(terms, genes, flash_bytes),
            TermCosts.of(terms, genes, block_kernels, combine=_union),
            firmware,
        )

    def arena_bytes(self, population: Population) -> Bytes:
        """Of activations and scratch, to the byte: float64 [n] of int8 [n, genes]."""
        return self.arena.max(population)

    def parameter_bytes(self, population: Population) -> Bytes:
        """`sizeof net_weights`, to the byte: float64 [n]."""
        return self.parameters.sum(population)

    def sram_bytes(self, population: Population) -> Bytes:
        """Arena, stack and variables, never too little: float64 [n]."""
        return self.arena_bytes(population) + self.firmware.sram_bytes(0)

    def flash_bytes(self, population: Population) -> Bytes:
        """Parameters and code, never too little: float64 [n]."""
        sets = self.kernels.values.astype(np.uint8)[self.kernels.index.locate(population)]
        carried = np.bitwise_or.reduce(sets, axis=1)
        sizes = np.array([self.firmware.bytes_of(kernels) for kernels in range(256)], np.float64)
        total: Bytes = self.flash.sum(population) + sizes[carried]
        return total


def _union(kernels: Sequence[float]) -> float:
    found = 0
    for one in kernels:
        found |= int(one)
    return float(found)
