"""Populations to start from, and mutation that wastes nothing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nas_edge.search.problem import Problem
from nas_edge.spaces import Population, Space


def mutants(
    problem: Problem,
    parents: Population,
    violation: NDArray[np.float64],
    rate: float,
    attempts: int,
    rng: np.random.Generator,
) -> Population:
    """Mutated copies: of some attempts the first that differs from its parent and breaks the limits no more than it.

    Where there is none, the least violation counts among those that differ. Constraints are cheap: nothing is spent
    on what is left out.

    Args:
        problem: whose space and constraints count.
        parents: int8 [n, genes].
        violation: float64 [n], of the parents.
        rate: probability that a gene, or a stage's depth, is drawn anew.
        attempts: mutations of each parent, at least 1.
        rng: of all randomness.

    Returns:
        int8 [n, genes].

    """
    tried = problem.space.mutate(np.repeat(parents, attempts, axis=0), rng, rate)
    same = (tried == np.repeat(parents, attempts, axis=0)).all(axis=1).reshape(-1, attempts)
    over = np.maximum(problem.violation(tried).reshape(-1, attempts) - violation[:, None], 0.0)
    chosen = np.where(same, np.inf, over).argmin(axis=1)
    children: Population = tried[np.arange(len(parents)) * attempts + chosen]
    return children


def spread(space: Space, n: int, rng: np.random.Generator) -> Population:
    """Random architectures, a third each mixed with the smallest and the largest: any budget lies in their range.

    Genes that are never absent (width and resolution) are not mixed. Of three or more the first two are the smallest
    and the largest themselves.

    Args:
        space: of the rows.
        n: how many.
        rng: of all randomness.

    Returns:
        int8 [n, genes].

    """
    rows = space.sample(n, rng)
    ends = np.stack([space.smallest(), space.largest()])
    fixed = rows[:, : space.layout.globals].copy()
    third = n // 3
    for i in range(2):
        part = slice(i * third, (i + 1) * third)
        rows[part] = space.crossover(rows[part], np.repeat(ends[i : i + 1], third, axis=0), rng)
    rows[:, : space.layout.globals] = fixed
    if n > 2:
        rows[:2] = ends
    return rows
