"""Non-negative least squares by active sets (Lawson and Hanson, 1974) on normal equations: numpy only, microseconds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

RIDGE = 1e-9  # on columns of length one: those of a table are often multiples of one another


def nnls(design: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    """The x >= 0 that minimises |design x - target|^2, with a hair of ridge (`RIDGE`).

    Args:
        design: float64 [rows, columns].
        target: float64 [rows].

    Returns:
        float64 [columns].

    """
    scale = np.sqrt((design**2).sum(axis=0))
    scale[scale == 0] = 1.0
    scaled = design / scale
    gram, correlation = scaled.T @ scaled, scaled.T @ target
    gram[np.diag_indices_from(gram)] += RIDGE
    columns = len(correlation)
    x = np.zeros(columns)
    active = np.zeros(columns, bool)
    tolerance = 1e-10 * max(1.0, float(np.abs(correlation).max(initial=0.0)))
    for _ in range(3 * columns):
        gradient = correlation - gram @ x
        gradient[active] = -np.inf
        best = int(np.argmax(gradient)) if columns else 0
        if not columns or gradient[best] <= tolerance:
            break
        active[best] = True
        while True:
            trial = np.zeros(columns)
            trial[active] = np.linalg.solve(gram[np.ix_(active, active)], correlation[active])
            negative = active & (trial <= 0)
            if not negative.any():
                x = trial
                break
            step = float(np.min(x[negative] / (x[negative] - trial[negative])))
            x = x + step * (trial - x)
            active &= x > 1e-14
            x[~active] = 0.0
            if not active.any():
                break
    solution: NDArray[np.float64] = x / scale
    return solution
