"""Terms: a space as a list of small dense arrays, so that a population is priced by gathers.

A cost of a network is a sum (time, MACs, parameters, energy) or a maximum (memory) over terms. A term
depends on a few genes only and knows the blocks for each combination of their values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas_edge.spaces.blocks import BlockSpec

Population = NDArray[np.int8]
"""Architectures, one row each: int8 [n, genes], values 0 (absent) to the gene's number of choices."""

Blocks = tuple[BlockSpec, ...]


@dataclass(frozen=True)
class Term:
    """One additive part of a network.

    Attributes:
        name: "stem", "slot 3", "tail" ...
        columns: the gene columns it depends on.
        shape: number of values (choices + 1, for 0 = absent) of each of these genes.
        blocks: for each combination in C order the blocks it lowers to; empty where absent or impossible.

    """

    name: str
    columns: tuple[int, ...]
    shape: tuple[int, ...]
    blocks: tuple[Blocks, ...]

    def __post_init__(self) -> None:
        if len(self.columns) != len(self.shape) or len(self.blocks) != int(np.prod(self.shape)):
            raise ValueError(f"term {self.name!r}: {len(self.blocks)} entries do not fill {self.shape}")


@dataclass(frozen=True)
class TermIndex:
    """Where each term of each architecture lies in one flat cost vector.

    Attributes:
        strides: float32 [genes, terms]; a population times this is the entry within each term (exact:
            entries stay far below 2^24).
        offsets: int32 [terms], start of each term in the flat vector.
        size: length of the flat vector.

    """

    strides: NDArray[np.float32]
    offsets: NDArray[np.int32]
    size: int

    @classmethod
    def of(cls, terms: Sequence[Term], genes: int) -> TermIndex:
        """Lay the terms out one after another."""
        strides = np.zeros((genes, len(terms)), np.float32)
        offsets = np.zeros(len(terms), np.int32)
        size = 0
        for t, term in enumerate(terms):
            offsets[t] = size
            step = 1
            for column, choices in zip(reversed(term.columns), reversed(term.shape), strict=True):
                strides[column, t] = step
                step *= choices
            size += step
        return cls(strides, offsets, size)

    def locate(self, population: Population) -> NDArray[np.int32]:
        """Flat positions, int32 [n, terms], of int8 [n, genes]."""
        entries: NDArray[np.int32] = (population.astype(np.float32) @ self.strides).astype(np.int32)
        return entries + self.offsets


@dataclass(frozen=True)
class TermCosts:
    """One cost (ms, MACs, bytes ...) of every entry of every term, ready to be gathered.

    Attributes:
        index: the layout.
        values: float64 [index.size]; 0 where a term lowers to no block.

    """

    index: TermIndex
    values: NDArray[np.float64]

    @classmethod
    def of(
        cls,
        terms: Sequence[Term],
        genes: int,
        cost: Callable[[BlockSpec], float],
        combine: Callable[[Sequence[float]], float] = sum,
    ) -> TermCosts:
        """Price every entry: `cost` of each distinct block once, `combine` over an entry's blocks."""
        known: dict[BlockSpec, float] = {}

        def price(block: BlockSpec) -> float:
            if block not in known:
                known[block] = float(cost(block))
            return known[block]

        values = [
            combine([price(block) for block in blocks]) if blocks else 0.0 for term in terms for blocks in term.blocks
        ]
        return cls(TermIndex.of(terms, genes), np.asarray(values, np.float64))

    def sum(self, population: Population) -> NDArray[np.float64]:
        """Sum over terms: float64 [n] of int8 [n, genes]."""
        total: NDArray[np.float64] = self.values[self.index.locate(population)].sum(axis=1)
        return total

    def max(self, population: Population) -> NDArray[np.float64]:
        """Maximum over terms: float64 [n] of int8 [n, genes]."""
        peak: NDArray[np.float64] = self.values[self.index.locate(population)].max(axis=1)
        return peak
