"""What a block that the table lacks takes: the parametric model, times what its likes take more or less than that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas_edge.latency.parametric import ParametricModel, fit_parametric, folds_by_side
from nas_edge.latency.residual import ResidualModel
from nas_edge.latency.traits import Traits
from nas_edge.spaces import BlockSpec

Floats = NDArray[np.float64]

_LEAST_LOG_ERROR = 0.01


@dataclass(frozen=True)
class BlockModel:
    """Parametric model and residuals.

    Attributes:
        parametric: non-negative in MACs, bytes, launches.
        residual: of the rows that it was fitted to; None for a prior, which was fitted to nothing.
        traits: what those rows have.

    """

    parametric: ParametricModel
    residual: ResidualModel | None = None
    traits: Traits | None = None

    @property
    def source(self) -> str:
        """`table` or `prior`."""
        return self.parametric.source

    def predict(self, blocks: Sequence[BlockSpec]) -> tuple[Floats, Floats]:
        """(milliseconds, standard deviation of their logarithm), float64 [n] each."""
        if not blocks:
            return np.zeros(0), np.zeros(0)
        ms = self.parametric.predict(blocks)
        if self.residual is None:
            return ms, np.array([self.parametric.log_error(block.kind) for block in blocks])
        correction, error = self.residual.predict(blocks)
        error = np.maximum(error, _LEAST_LOG_ERROR)
        if self.traits is not None:
            unseen, doubt = self.traits.unseen(blocks)
            correction, error = correction + unseen, np.hypot(error, doubt)
        return ms * np.exp(correction), error


def fit_block_model(measured: Mapping[BlockSpec, float]) -> BlockModel | None:
    """Fit to a table's blocks (milliseconds, or any other cost such as millijoules); None where there are too few."""
    parametric = fit_parametric(measured)
    if parametric is None:
        return None
    blocks = list(measured)
    logs = np.log(np.array([measured[block] for block in blocks]) / parametric.predict(blocks))
    folds = folds_by_side(np.array([block.height for block in blocks]))
    traits = Traits.of(blocks, parametric.launch_bound)
    return BlockModel(parametric, ResidualModel.of(blocks, logs, folds), traits)
