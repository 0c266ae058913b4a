"""A space, and sums over its terms, as a 0/1 integer program: a set of linear rows whose only solutions are rows of it.

Variables are one-hot: a value of a gene (0 = absent where a stage may be shorter), a depth of a stage, and, for each
set of genes that some term joins, a combination of their values. Combinations are tied to genes by their marginals
(the local polytope of graphical models; Sontag and others, 2008), those of blocks first to the combinations of width
and resolution, which makes the linear relaxation much tighter.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas_edge.errors import SpaceError
from nas_edge.spaces import Population, Space, TermCosts

Float = NDArray[np.float64]
Rows = NDArray[np.int8]

LARGEST_GROUP = 100_000  # combinations of one term


@dataclass(frozen=True, eq=False)
class LinearRow:
    """lower <= weights . variables[indices] <= upper."""

    indices: NDArray[np.intp]
    weights: Float
    lower: float
    upper: float


@dataclass(frozen=True, eq=False)
class LinearSum:
    """A sum over terms as weights of variables.

    Attributes:
        weights: float64 [variables].
        constant: what all architectures have in common.
        span: an upper bound of greatest minus least sum: what figures are measured by.

    """

    weights: Float
    constant: float
    span: float


@dataclass(frozen=True, eq=False)
class _Group:
    """All combinations that some genes can have together; `combos` int8 [n, columns], variables from `start`."""

    columns: tuple[int, ...]
    combos: Rows
    start: int


class IntegerProgram:
    """Variables (all 0 or 1) and rows of a space that holds every combination of its genes.

    Args:
        space: a product of genes and depths.
        sums: whose terms say which genes are joined; `linear` then takes these.

    Attributes:
        variables: their number.
        rows: that tie them to each other; what meets them all is an architecture.

    Raises:
        SpaceError: a space that is a list rather than a product of genes, or a term that joins too many genes.

    """

    def __init__(self, space: Space, sums: Sequence[TermCosts]) -> None:
        self.space, self._layout = space, space.layout
        if not space.layout.stages and space.size() != int(
            np.prod([len(v) for v in space.layout.values], dtype=object)
        ):
            raise SpaceError(
                f"space {space.name!r} is a list of architectures, not every combination of its genes: an integer "
                "program has no hold on it; use --strategy exhaustive, which is exact as well"
            )
        self.rows: list[LinearRow] = []
        self.variables = 0
        self._gene: list[dict[int, int]] = []
        self._depth: list[dict[int, int]] = []
        self._groups: dict[tuple[int, ...], _Group] = {}
        self._add_genes()
        wanted = {columns for costs in sums for columns in _joined(costs)}
        for columns in sorted(wanted, key=lambda c: (len(c), c)):
            self._add_group(columns)

    # Variables and the rows that tie them -------------------------------------------------------------------------

    def _add_genes(self) -> None:
        layout = self._layout
        optional, never = np.zeros((2, layout.genes), bool)
        for stage in layout.stages:
            for columns in (stage.kernels, stage.expands):
                optional[columns[int(stage.depths.min()) :]] = True
                never[columns[int(stage.depths.max()) :]] = True
        for column, values in enumerate(layout.values):
            mine = [0] * bool(optional[column]) + ([] if never[column] else [int(v) for v in values])
            self._gene.append({value: self.variables + i for i, value in enumerate(mine)})
            self.variables += len(self._gene[-1])
            self._tie(list(self._gene[-1].values()), [], 1.0)
        for stage in layout.stages:
            depth = {int(d): self.variables + i for i, d in enumerate(stage.depths)}
            self._depth.append(depth)
            self.variables += len(depth)
            self._tie(list(depth.values()), [], 1.0)
            for columns in (stage.kernels, stage.expands):
                for slot, column in enumerate(columns):
                    if optional[column]:
                        self._tie([self._gene[column][0]], [v for d, v in depth.items() if d <= slot])

    def _tie(self, ones: Sequence[int], minus: Sequence[int], total: float = 0.0) -> None:
        """Sum of `ones` less the sum of `minus` is `total`."""
        indices = np.array([*ones, *minus], np.intp)
        weights = np.concatenate([np.ones(len(ones)), -np.ones(len(minus))])
        self.rows.append(LinearRow(indices, weights, total, total))

    def _add_group(self, columns: tuple[int, ...]) -> _Group:
        if columns in self._groups:
            return self._groups[columns]
        combos = self._combinations(columns)
        shared = tuple(c for c in columns if c < self._layout.globals)
        parent = self._add_group(shared) if 1 < len(shared) < len(columns) else None
        group = _Group(columns, combos, self.variables)
        self._groups[columns] = group
        self.variables += len(combos)
        tied = list(range(len(columns)))
        if parent is not None:
            places = [columns.index(c) for c in shared]
            for i, combo in enumerate(parent.combos):
                mine = group.start + np.flatnonzero((combos[:, places] == combo).all(axis=1))
                self._tie(mine.tolist(), [parent.start + i])
            tied = [i for i in tied if i not in places]
        for i in tied:
            for value, variable in self._gene[columns[i]].items():
                self._tie((group.start + np.flatnonzero(combos[:, i] == value)).tolist(), [variable])
        return group

    def _combinations(self, columns: tuple[int, ...]) -> Rows:
        """All values that these genes can have together, int8 [n, columns]."""
        count = int(np.prod([len(self._gene[c]) for c in columns], dtype=object))
        if count > LARGEST_GROUP:
            names = ", ".join(self.space.genes[c].name for c in columns)
            raise SpaceError(f"space {self.space.name!r}: a term joins {count} combinations of the genes {names}")
        combos = np.array(list(itertools.product(*(self._gene[c] for c in columns))), np.int8)
        possible = np.ones(len(combos), bool)
        for stage in self._layout.stages:
            # A pattern of present blocks is possible where some depth leaves just these.
            slots = [
                (i, slot)
                for i, c in enumerate(columns)
                for genes in (stage.kernels, stage.expands)
                for slot in np.flatnonzero(genes == c)
            ]
            if slots:
                places = [i for i, _ in slots]
                depth_of = np.array([slot for _, slot in slots])
                patterns = [depth_of < depth for depth in stage.depths]
                present = combos[:, places] > 0
                possible &= np.any([(present == pattern).all(axis=1) for pattern in patterns], axis=0)
        return combos[possible]

    # Sums ----------------------------------------------------------------------------------------------------------

    def linear(self, costs: TermCosts) -> LinearSum:
        """A sum over terms as weights of the variables; its terms were named when the program was made."""
        weights, constant, span = np.zeros(self.variables), 0.0, 0.0
        index = costs.index
        for offset, strides in zip(index.offsets, index.strides.T, strict=True):
            columns = tuple(int(c) for c in np.flatnonzero(strides))
            if not columns:
                constant += float(costs.values[offset])
                continue
            if len(columns) == 1:
                combos = np.array([[v] for v in self._gene[columns[0]]], np.int8)
                variables = np.array(list(self._gene[columns[0]].values()), np.intp)
            else:
                group = self._groups[columns]
                combos, variables = group.combos, group.start + np.arange(len(group.combos))
            figures = costs.values[int(offset) + (combos @ strides[list(columns)]).astype(np.intp)]
            # Only differences matter within a term: one combination of each is chosen.
            least = float(figures.min())
            weights[variables] += figures - least
            constant += least
            span += float(figures.max()) - least
        return LinearSum(weights, constant, span)

    # Rows of the space ---------------------------------------------------------------------------------------------

    def decode(self, solution: Float) -> Population:
        """The architecture of a solution (float64 [variables], 0 or 1 up to rounding): int8 [genes]."""
        row = np.zeros(self._layout.genes, np.int8)
        for column, variables in enumerate(self._gene):
            values = list(variables)
            row[column] = values[int(np.argmax(solution[list(variables.values())]))]
        return row

    def not_this(self, row: Population) -> LinearRow:
        """The linear row that every architecture but this one meets (a "no-good")."""
        indices = np.array([variables[int(v)] for variables, v in zip(self._gene, row, strict=True)], np.intp)
        return LinearRow(indices, np.ones(len(indices)), -np.inf, len(indices) - 1.0)


def _joined(costs: TermCosts) -> set[tuple[int, ...]]:
    """The sets of two or more genes that a sum's terms join."""
    sets = {tuple(int(c) for c in np.flatnonzero(strides)) for strides in costs.index.strides.T}
    return {columns for columns in sets if len(columns) > 1}
