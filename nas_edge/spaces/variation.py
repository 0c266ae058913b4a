"""Sampling and variation of populations as array operations. Rows in, canonical rows out."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int8]


@dataclass(frozen=True)
class StageColumns:
    """Columns of one stage's slots, in order, and the depths it may have."""

    kernels: NDArray[np.intp]
    expands: NDArray[np.intp]
    depths: NDArray[np.int64]


@dataclass(frozen=True)
class Layout:
    """Genes as the operators see them.

    Attributes:
        values: for each column the allowed values (choice index + 1), ascending.
        stages: the columns of each stage.
        globals: number of leading columns (width, resolution) that are never absent.

    """

    values: tuple[Rows, ...]
    stages: tuple[StageColumns, ...]
    globals: int

    @property
    def genes(self) -> int:
        """Number of columns."""
        return len(self.values)

    @cached_property
    def allowed(self) -> NDArray[np.bool_]:
        """Bool [genes * 256]: for each column whether it may have a value, an int8 read as uint8; 0 within stages."""
        table = np.zeros((self.genes, 256), bool)
        for column, values in enumerate(self.values):
            table[column, values] = True
        for stage in self.stages:
            table[stage.kernels, 0] = table[stage.expands, 0] = True
        return table.ravel()

    @cached_property
    def powers(self) -> NDArray[np.float32]:
        """float32 [genes, 2 * stages]: which blocks of a stage are there, as a number, by kernels and by ratios."""
        table = np.zeros((self.genes, 2 * len(self.stages)), np.float32)
        for s, stage in enumerate(self.stages):
            table[stage.kernels, s] = table[stage.expands, s + len(self.stages)] = 2.0 ** np.arange(len(stage.kernels))
        return table


def _full(layout: Layout, n: int, rng: np.random.Generator) -> Rows:
    """Random values in every column, as if all stages were at full depth: int8 [n, genes]."""
    counts = np.array([len(v) for v in layout.values])
    padded = np.zeros((layout.genes, counts.max()), np.int8)
    for column, values in enumerate(layout.values):
        padded[column, : len(values)] = values
    # A float32 times a count below 128 never rounds up to the count: its product is exact below 2^24.
    picks = (rng.random((n, layout.genes), np.float32) * counts.astype(np.float32)).astype(np.intp)
    np.minimum(picks, counts - 1, out=picks)
    full: Rows = np.take(padded.ravel(), picks + np.arange(layout.genes) * counts.max())
    return full


def _cut(layout: Layout, rows: Rows, depth: NDArray[np.int64]) -> Rows:
    """Zero the slots beyond `depth` [n, stages], in place."""
    for s, stage in enumerate(layout.stages):
        beyond = np.arange(len(stage.kernels)) >= depth[:, s, None]
        rows[:, stage.kernels] *= ~beyond
        rows[:, stage.expands] *= ~beyond
    return rows


def _random_depths(layout: Layout, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    columns = [stage.depths[rng.integers(len(stage.depths), size=n)] for stage in layout.stages]
    return np.stack(columns, axis=1) if columns else np.zeros((n, 0), np.int64)


def depths(layout: Layout, rows: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """Blocks present in each stage, int64 [n, stages]."""
    columns = [(rows[:, stage.kernels] > 0).sum(axis=1) for stage in layout.stages]
    return np.stack(columns, axis=1) if columns else np.zeros((len(rows), 0), np.int64)


def sample(layout: Layout, n: int, rng: np.random.Generator) -> Rows:
    """int8 [n, genes], each choice and each depth equally likely."""
    return _cut(layout, _full(layout, n, rng), _random_depths(layout, n, rng))


def mutate(layout: Layout, rows: Rows, rng: np.random.Generator, rate: float) -> Rows:
    """Each gene and depth drawn anew with probability `rate`; blocks that appear get random genes."""
    fresh = _full(layout, len(rows), rng)
    changed = rng.random(rows.shape, np.float32) < rate
    current = depths(layout, rows)
    deeper = rng.random(current.shape, np.float32) < rate
    depth = np.where(deeper, _random_depths(layout, len(rows), rng), current)
    return _cut(layout, np.where(changed | (rows == 0), fresh, rows), depth)


def crossover(layout: Layout, a: Rows, b: Rows, rng: np.random.Generator) -> Rows:
    """Uniform crossover of genes and of depths; a missing gene comes from the parent that has it."""
    picked = np.where(rng.random(a.shape, np.float32) < 0.5, a, b)
    child = np.where(picked == 0, np.maximum(a, b), picked)
    depth_a, depth_b = depths(layout, a), depths(layout, b)
    depth = np.where(rng.random(depth_a.shape, np.float32) < 0.5, depth_a, depth_b)
    return _cut(layout, child, depth)


def _nearest(values: NDArray[Any], wanted: NDArray[np.integer[Any]]) -> NDArray[Any]:
    """For each wanted value the nearest of ascending `values`, the lower one of two equally near."""
    above = np.clip(np.searchsorted(values, wanted), 0, len(values) - 1)
    below = np.maximum(above - 1, 0)
    nearer_below = np.abs(wanted - values[below]) <= np.abs(values[above] - wanted)
    nearest: NDArray[Any] = np.where(nearer_below, values[below], values[above])
    return nearest


def repair(layout: Layout, rows: NDArray[np.integer[Any]]) -> Rows:
    """Nearest canonical rows: blocks of a stage contiguous, depths and values allowed."""
    rows = np.asarray(rows)
    if rows.ndim != 2 or rows.shape[1] != layout.genes:
        raise ValueError(f"a population of this space has {layout.genes} columns, not shape {rows.shape}")
    rows = rows.astype(np.int64)
    result = np.empty(rows.shape, np.int8)
    for column, values in enumerate(layout.values):
        result[:, column] = _nearest(values.astype(np.int64), rows[:, column])
    depth = np.empty((len(rows), len(layout.stages)), np.int64)
    for s, stage in enumerate(layout.stages):
        present = (rows[:, stage.kernels] > 0) & (rows[:, stage.expands] > 0)
        leading = np.logical_and.accumulate(present, axis=1).sum(axis=1)
        depth[:, s] = _nearest(stage.depths, leading)
    return _cut(layout, result, depth)


def valid(layout: Layout, rows: NDArray[np.integer[Any]]) -> NDArray[np.bool_]:
    """Bool [n]: canonical rows, those that `repair` would leave as they are."""
    rows = np.asarray(rows)
    if rows.ndim != 2 or rows.shape[1] != layout.genes:
        raise ValueError(f"a population of this space has {layout.genes} columns, not shape {rows.shape}")
    small = np.ascontiguousarray(rows, np.int8)
    known: NDArray[np.bool_] = np.take(layout.allowed, small.view(np.uint8) + 256 * np.arange(layout.genes))
    found: NDArray[np.bool_] = np.all(known, axis=1)
    if rows.dtype != np.int8:
        found &= (small == rows).all(axis=1)
    there = (small != 0).astype(np.float32) @ layout.powers
    stages = len(layout.stages)
    found &= (there[:, :stages] == there[:, stages:]).all(axis=1)
    for s, stage in enumerate(layout.stages):
        # Blocks are there from the first on: of a stage of depth d the number is 2^d - 1.
        found &= np.isin(there[:, s], 2.0**stage.depths - 1)
    return found


def extreme(layout: Layout, largest: bool) -> Rows:
    """int8 [genes]: the row of all least or all greatest allowed values."""
    pick = -1 if largest else 0
    row = np.array([[values[pick] for values in layout.values]], np.int8)
    depth = np.array([[stage.depths[pick] for stage in layout.stages]], np.int64).reshape(1, -1)
    only: Rows = _cut(layout, row, depth)[0]
    return only


def enumerate_all(layout: Layout) -> Rows:
    """Every row, int8 [size, genes], in lexicographic order of choices."""
    parts: list[list[tuple[int, ...]]] = [[(int(v),) for v in layout.values[c]] for c in range(layout.globals)]
    columns = list(range(layout.globals))
    for stage in layout.stages:
        pairs = [
            [(int(k), int(e)) for k in layout.values[kc] for e in layout.values[ec]]
            for kc, ec in zip(stage.kernels, stage.expands, strict=True)
        ]
        ways = []
        for depth in stage.depths:
            for combination in itertools.product(*pairs[:depth]):
                flat = [gene for pair in combination for gene in pair]
                ways.append(tuple(flat + [0] * (2 * (len(pairs) - depth))))
        parts.append(ways)
        columns += [c for pair in zip(stage.kernels, stage.expands, strict=True) for c in pair]
    table = np.array([[v for part in row for v in part] for row in itertools.product(*parts)], np.int8)
    result = np.empty_like(table)
    result[:, columns] = table
    return result
