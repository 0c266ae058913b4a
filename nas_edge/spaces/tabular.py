"""`TabularSpace`: a list of architectures with their figures, such as a benchmark gives them.

What a search finds in it can be held against the known optimum. Nothing here can be built, trained or exported.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas_edge.errors import ArchitectureError, SpaceError
from nas_edge.spaces.listed import ListedRows
from nas_edge.spaces.space import Gene
from nas_edge.spaces.terms import Population
from nas_edge.spaces.variation import Layout

_REDRAWS = 4  # mutations drawn until one is listed


@dataclass(frozen=True, eq=False)
class Figure:
    """A column of figures.

    Attributes:
        name, unit: "latency", "ms".
        maximise: whether more is better.
        values: float64 [n], finite.

    """

    name: str
    unit: str
    maximise: bool
    values: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class TabularSpace:
    """A space that is a list. Its genes are categories: only equal or different counts.

    Attributes:
        name: of the file, without its ending.
        genes: the columns of a population. Choices are the numbers of the file, or 1, 2, ... for words.
        labels: for each gene its choices as written.
        rows: int8 [n, genes], distinct.
        figures: columns of n.
        archs: what the file calls each row, n strings or none.

    """

    name: str
    genes: tuple[Gene, ...]
    labels: tuple[tuple[str, ...], ...]
    rows: Population
    figures: tuple[Figure, ...]
    archs: tuple[str, ...] = ()

    @classmethod
    def read(cls, path: Path) -> TabularSpace:
        """Read a CSV file (`spaces.tabular_csv` says how it looks). Raises FormatError with file and line."""
        from nas_edge.spaces.tabular_csv import read_tabular

        return read_tabular(path)

    @cached_property
    def listed(self) -> ListedRows:
        """The rows by content."""
        return ListedRows(self.rows)

    @cached_property
    def columns(self) -> dict[str, int]:
        """Column of each gene by name."""
        return {gene.name: i for i, gene in enumerate(self.genes)}

    @cached_property
    def layout(self) -> Layout:
        """Values that occur in each column; no stages."""
        return Layout(tuple(np.unique(column) for column in self.rows.T), (), len(self.genes))

    def size(self) -> int:
        """Number of rows."""
        return len(self.rows)

    def figure(self, name: str) -> Figure:
        """The column of a name. Raises SpaceError."""
        found = next((figure for figure in self.figures if figure.name == name), None)
        if found is None:
            known = ", ".join(figure.name for figure in self.figures)
            raise SpaceError(f"space {self.name!r} has no metric {name!r}; it has {known}")
        return found

    def lookup(self, name: str, population: Population) -> NDArray[np.float64]:
        """Figures of listed architectures, float64 [n] of int8 [n, genes].

        Raises:
            ArchitectureError: one of them is not listed. SpaceError: no such figure.

        """
        values, place = self.figure(name).values, self.listed.find(population)
        if (place < 0).any():
            raise ArchitectureError(f"{self._described(population[place < 0][0])} is not listed in {self.name!r}")
        return values[place]

    # Populations -----------------------------------------------------------------------------------------------

    def sample(self, n: int, rng: np.random.Generator) -> Population:
        """int8 [n, genes]: every row equally likely."""
        return self.rows[rng.integers(len(self.rows), size=n)]

    def mutate(self, population: Population, rng: np.random.Generator, rate: float = 0.1) -> Population:
        """A changed copy: each gene drawn anew with probability `rate`, a few times until the row is listed.

        What is still not listed becomes the nearest row that is, other than the one it came from: in a list that
        holds a small part of all combinations, that is a step to a neighbour.
        """
        result = population.copy()
        place = self.listed.find(population)
        open_ = np.arange(len(population))
        for attempt in range(_REDRAWS):
            fresh = np.stack([rng.choice(values, len(open_)) for values in self.layout.values], axis=1)
            changed = rng.random(fresh.shape, np.float32) < rate
            drawn = np.where(changed, fresh, population[open_])
            result[open_] = drawn
            # To be left as it was is one of the outcomes of the first draw, not a way out of the later ones.
            found = (self.listed.find(drawn) >= 0) & ((attempt == 0) | (drawn != population[open_]).any(axis=1))
            open_ = open_[~found]
            if not len(open_):
                return result
        result[open_] = self.rows[self.listed.nearest(result[open_], place[open_])]
        return result

    def crossover(self, a: Population, b: Population, rng: np.random.Generator) -> Population:
        """Children int8 [n, genes] of parents `a` and `b`: each gene from either, then the nearest row listed."""
        return self.repair(np.where(rng.random(a.shape, np.float32) < 0.5, a, b))

    def repair(self, population: NDArray[np.integer[Any]]) -> Population:
        """The nearest listed rows: those that differ in fewest genes, the first of several."""
        population = np.asarray(population)
        if population.ndim != 2 or population.shape[1] != len(self.genes):
            raise ValueError(f"a population of this space has {len(self.genes)} columns, not shape {population.shape}")
        place = self.listed.find(population)
        lost = np.flatnonzero(place < 0)
        place[lost] = self.listed.nearest(population[lost])
        return self.rows[place]

    def is_valid(self, population: NDArray[np.integer[Any]]) -> NDArray[np.bool_]:
        """Bool [n]: rows that are listed."""
        found: NDArray[np.bool_] = self.listed.find(np.asarray(population)) >= 0
        return found

    @cached_property
    def _by_cost(self) -> NDArray[np.intp]:
        cost = next((figure for figure in self.figures if not figure.maximise), self.figures[0])
        return np.argsort(cost.values, kind="stable")

    def smallest(self) -> Population:
        """int8 [genes]: least in the first figure of which less is better; else in the first."""
        row: Population = self.rows[self._by_cost[0]]
        return row

    def largest(self) -> Population:
        """int8 [genes]: greatest in the same figure."""
        row: Population = self.rows[self._by_cost[-1]]
        return row

    def enumerate(self, limit: int = 1_000_000) -> Population:
        """All rows as listed, int8 [n, genes]. Raises SpaceError above `limit`."""
        if self.size() > limit:
            raise SpaceError(f"space {self.name!r} has {self.size()} architectures, too many to list (limit {limit})")
        return self.rows.copy()

    def depths(self, population: Population) -> NDArray[np.int64]:
        """There are no stages: int64 [n, 0]."""
        return np.zeros((len(population), 0), np.int64)

    # JSON ------------------------------------------------------------------------------------------------------

    def to_json(self, arch: Population) -> dict[str, Any]:
        """{"arch": what the file calls it} where it does, and every gene as written."""
        genes = {gene.name: self.labels[i][int(arch[i]) - 1] for i, gene in enumerate(self.genes)}
        if not self.archs:
            return genes
        place = int(self.listed.find(np.asarray(arch)[None])[0])
        return {"arch": self.archs[place]} | genes if place >= 0 else genes

    def from_json(self, data: Any, where: str = "architecture") -> Population:
        """The inverse, int8 [genes]: by its genes, or by "arch" alone.

        Raises:
            ArchitectureError: a gene is missing, a value does not occur, or no such row is listed.

        """
        if not isinstance(data, Mapping):
            raise ArchitectureError(f"{where}: is not a mapping of genes")
        if "arch" in data and not set(data) & set(self.columns):
            if str(data["arch"]) not in self.archs:
                raise ArchitectureError(f"{where}: {data['arch']!r} is not listed in {self.name!r}")
            row: Population = self.rows[self.archs.index(str(data["arch"]))]
            return row
        values = []
        for gene, labels in zip(self.genes, self.labels, strict=True):
            value = str(data.get(gene.name))
            if gene.name not in data or value not in labels:
                raise ArchitectureError(f"{where}: {gene.name} = {value} is not in {self.name!r} ({', '.join(labels)})")
            values.append(labels.index(value) + 1)
        arch = np.array(values, np.int8)
        if not self.is_valid(arch[None])[0]:
            raise ArchitectureError(f"{where}: {self._described(arch)} is not listed in {self.name!r}")
        return arch

    def _described(self, arch: Population) -> str:
        def label(labels: Sequence[str], value: int) -> str:
            return labels[value - 1] if 0 < value <= len(labels) else f"value {value}"

        named = zip(self.genes, self.labels, arch, strict=True)
        return ", ".join(f"{gene.name}={label(labels, int(value))}" for gene, labels, value in named)

    # Restricting -----------------------------------------------------------------------------------------------

    def restrict(self, resolutions: Iterable[int] | None = None, **fixed: Iterable[float | str]) -> TabularSpace:
        """The rows whose genes have one of these values only.

        Args:
            resolutions: of a gene "r".
            fixed: values of genes by name, as numbers or as written; "_" stands for "." where no gene has that name.

        Raises:
            SpaceError: an unknown gene or value, or no row is left.

        """
        wanted: dict[str, Iterable[float | str]] = dict(fixed)
        if resolutions is not None:
            wanted["r"] = list(resolutions)
        keep = np.ones(len(self.rows), bool)
        for given, values in wanted.items():
            name = given if given in self.columns else given.replace("_", ".")
            if name not in self.columns:
                raise SpaceError(f"space {self.name!r} has no gene {name!r}; it has {', '.join(self.columns)}")
            column = self.columns[name]
            numbers = [self._value(column, value) for value in values]
            keep &= np.isin(self.rows[:, column], numbers)
        if not keep.any():
            raise SpaceError(f"space {self.name!r}: no architecture is listed with {', '.join(wanted)} as asked for")
        kept = np.flatnonzero(keep)
        figures = tuple(replace(figure, values=figure.values[kept]) for figure in self.figures)
        archs = tuple(self.archs[i] for i in kept) if self.archs else ()
        return replace(self, rows=self.rows[kept], figures=figures, archs=archs)

    def _value(self, column: int, value: float | str) -> int:
        """Choice index plus one of a value. Raises SpaceError."""
        labels, choices = self.labels[column], self.genes[column].choices
        if str(value) in labels:
            return labels.index(str(value)) + 1
        if not isinstance(value, str) and float(value) in choices:
            return choices.index(float(value)) + 1
        raise SpaceError(
            f"space {self.name!r}: {self.genes[column].name} cannot be {value}; it can be {', '.join(labels)}"
        )
