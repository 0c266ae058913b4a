"""SRAM and flash of whole populations, as arrays: what planning each network by itself finds, to the byte.

Every block of a space is a unit of a chain (`chain`): it needs so much of the arena for an input at either end and an
output at either end. The arena is the least over these choices of the greatest need, found term by term; parameters are
a sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from nas_edge.memory.chain import End, plan_unit
from nas_edge.memory.firmware import FirmwareSize, block_kernels
from nas_edge.memory.footprint import READAHEAD_BYTES, parameter_bytes
from nas_edge.memory.layers import layers_of
from nas_edge.spaces.blocks import BlockSpec, Kind, Precision
from nas_edge.spaces.space import SearchSpace
from nas_edge.spaces.terms import Population, Term, TermCosts, TermIndex

Bytes = NDArray[np.float64]

_ENDS = (End.BOTTOM, End.TOP)
_STAYS = np.where(np.eye(2, dtype=bool), 0.0, np.inf)
"""Needs of no block at all: whatever lies at an end stays there."""


def block_needs(block: BlockSpec) -> NDArray[np.float64]:
    """Bytes of the arena while a block runs inside a network, float64 [2, 2].

    Rows are the end that its input lies at, columns the end that it leaves its output at (bottom, top); infinite where
    it cannot be.

    Raises:
        ExportError: as `layers_of`.

    """
    unit = layers_of((block,))
    first, last = block.kind is Kind.STEM, block.kind is Kind.LINEAR
    needs = np.full((2, 2), np.inf)
    for row, end in enumerate(_ENDS):
        for plan in plan_unit(unit, end, from_image=first, to_caller=last):
            column = _ENDS.index(plan.leaves)
            needs[row, column] = min(needs[row, column], plan.arena_bytes)
    return needs


def handed_on(before: NDArray[np.float64], after: NDArray[np.float64]) -> NDArray[np.float64]:
    """Needs [..., 2, 2] of two parts one after the other: the least over the end between them of the greater need."""
    both: NDArray[np.float64] = np.maximum(before[..., :, :, None], after[..., None, :, :]).min(axis=-2)
    return both


@dataclass(frozen=True, eq=False)
class ArenaCosts:
    """Arenas of the blocks of every entry of every term.

    Attributes:
        index: the layout of entries.
        needs: float64 [entries, 2, 2], of the entry's blocks one after another, as `block_needs` has them.

    """

    index: TermIndex
    needs: NDArray[np.float64]

    @classmethod
    def of(cls, terms: Sequence[Term], genes: int) -> ArenaCosts:
        """Plan every distinct block once. Raises ExportError as `layers_of`."""
        known: dict[BlockSpec, NDArray[np.float64]] = {}
        needs = [_STAYS]
        for term in terms:
            for blocks in term.blocks:
                total = _STAYS
                for block in blocks:
                    if block not in known:
                        known[block] = block_needs(block)
                    total = known[block] if total is _STAYS else handed_on(total, known[block])
                needs.append(total)
        return cls(TermIndex.of(terms, genes), np.stack(needs[1:]))

    def peak(self, population: Population) -> Bytes:
        """The least arena of each network, its tensors handed on from end to end: float64 [n]."""
        places = self.index.locate(population)
        bottom, top = np.zeros(len(places)), np.full(len(places), np.inf)
        for entries in places.T:
            step = self.needs[entries]
            bottom, top = (
                np.minimum(np.maximum(bottom, step[:, 0, end]), np.maximum(top, step[:, 1, end])) for end in (0, 1)
            )
        peak: Bytes = np.minimum(bottom, top)
        return peak


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
        num_classes: of the classifier.

    """

    arena: ArenaCosts
    parameters: TermCosts
    flash: TermCosts
    kernels: TermCosts
    firmware: FirmwareSize
    num_classes: int

    @classmethod
    def of(cls, space: SearchSpace, num_classes: int, firmware: FirmwareSize) -> PopulationMemory:
        """Price a space, once. Raises ExportError where it has blocks that no int8 kernel computes."""
        return _priced(space.base, num_classes, firmware)

    def arena_bytes(self, population: Population) -> Bytes:
        """Of activations and scratch, to the byte: float64 [n] of int8 [n, genes]."""
        return self.arena.peak(population)

    def parameter_bytes(self, population: Population) -> Bytes:
        """`sizeof net_weights`, to the byte: float64 [n]."""
        return self.parameters.sum(population)

    def sram_bytes(self, population: Population) -> Bytes:
        """Arena, stack and variables, never too little: float64 [n]."""
        return self.arena_bytes(population) + self.firmware.sram_bytes(0, self.num_classes)

    def flash_bytes(self, population: Population) -> Bytes:
        """Parameters and code, never too little: float64 [n]."""
        carried = self._kernel_sets[self.kernels.index.locate(population)]
        total: Bytes = self.flash.sum(population) + self._set_bytes[np.bitwise_or.reduce(carried, axis=1)]
        return total

    @cached_property
    def _kernel_sets(self) -> NDArray[np.uint8]:
        """Of every entry, uint8."""
        return self.kernels.values.astype(np.uint8)

    @cached_property
    def _set_bytes(self) -> Bytes:
        """Flash of every set of optional kernels, float64 [256]."""
        return np.array([self.firmware.bytes_of(kernels) for kernels in range(256)], np.float64)


@lru_cache(maxsize=8)  # a search asks for the same space several times
def _priced(space: SearchSpace, num_classes: int, firmware: FirmwareSize) -> PopulationMemory:
    terms, genes = space.terms(num_classes, Precision.INT8), len(space.genes)

    def flash_bytes(block: BlockSpec) -> int:
        # Every network has one stem: what does not depend on the network is counted with it.
        fixed = firmware.code_bytes if block.kind is Kind.STEM else 0
        calls = sum(firmware.call_bytes_of(layer) for layer in layers_of((block,)))
        return block_parameter_bytes(block) + calls + fixed

    return PopulationMemory(
        ArenaCosts.of(terms, genes),
        TermCosts.of(terms, genes, block_parameter_bytes),
        TermCosts.of(terms, genes, flash_bytes),
        TermCosts.of(terms, genes, block_kernels, combine=_union),
        firmware,
        num_classes,
    )


def _union(kernels: Sequence[float]) -> float:
    found = 0
    for one in kernels:
        found |= int(one)
    return float(found)
