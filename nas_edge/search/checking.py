"""What strategies propose, held against the space before anything is spent on it.

Costs of rows that are in no space are looked up all the same, at the wrong places: a defect of a strategy would come
out as a wrong answer. The look takes about a hundredth of what an architecture costs to propose, price and rank.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas_edge.errors import StrategyError
from nas_edge.spaces import Population
from nas_edge.spaces.base import Space


def checked(space: Space, strategy: str, rows: Any, limit: int) -> Population:
    """What a strategy asked for, int8 [at most limit, genes].

    Args:
        space: whose rows they should be.
        strategy: its name, for the message.
        rows: what `ask` gave.
        limit: what `ask` was given.

    Raises:
        StrategyError: not an array of such rows, more of them than allowed, or rows that are not in the space (the
            first one is told, with its first gene at fault).

    """
    genes = len(space.genes)
    if not isinstance(rows, np.ndarray) or rows.dtype != np.int8 or rows.ndim != 2 or rows.shape[1] != genes:
        found = f"{rows.dtype} {rows.shape}" if isinstance(rows, np.ndarray) else type(rows).__name__
        raise _defect(strategy, f"proposed {found} where int8 [n, {genes}] is expected")
    if len(rows) > limit:
        raise _defect(strategy, f"proposed {len(rows)} architectures where at most {limit} were asked for")
    wrong = np.flatnonzero(~space.is_valid(rows))
    if len(wrong):
        row = rows[wrong[0]]
        raise _defect(
            strategy,
            f"proposed {len(wrong)} of {len(rows)} architectures that are not in space {space.name!r}, such as "
            f"{row.tolist()} ({_fault(space, row)})",
        )
    return rows


def _fault(space: Space, row: NDArray[np.int8]) -> str:
    """What is wrong with a row, in words."""
    inside = {int(column) for stage in space.layout.stages for column in (*stage.kernels, *stage.expands)}
    for column, (gene, values) in enumerate(zip(space.genes, space.layout.values, strict=True)):
        absent = column in inside and row[column] == 0
        if not absent and row[column] not in values:
            return f"{gene.name} is {row[column]}, not one of {', '.join(map(str, values))}"
    return "its blocks do not make up stages of any depth" if inside else "it is not listed"


def _defect(strategy: str, what: str) -> StrategyError:
    return StrategyError(f"strategy {strategy!r} {what}; that is a defect of it: report it, and use another --strategy")
