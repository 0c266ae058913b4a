"""What squeeze-and-excitation and other activations add to a block, where a table has no block to learn it from.

Medians over six tables (Samsung Note10, a desktop CPU, Jetson CPUs and GPUs, from models fitted to them) and over
blocks timed with and without on a server CPU: squeezes add 10 to 38 % on CPUs and about 70 % where launches are what
counts; beside ReLU, ReLU6 adds nothing to 10 % and h-swish 13 to 31 %.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas_edge.spaces import Activation, BlockSpec, Kind

Floats = NDArray[np.float64]

_SQUEEZE, _SQUEEZE_LAUNCHES = math.log(1.25), math.log(1.7)
_ACTIVATIONS = {
    Activation.NONE: 0.0, Activation.RELU: 0.0, Activation.RELU6: math.log(1.05), Activation.H_SWISH: math.log(1.18),
}  # fmt: skip
_LOG_ERROR = 0.12


@dataclass(frozen=True)
class Traits:
    """What the inverted residuals of a table have.

    Attributes:
        squeeze: whether any has one.
        activations: of them.
        launch_bound: whether launches, rather than work, decide what a block takes.

    """

    squeeze: bool
    activations: frozenset[Activation]
    launch_bound: bool

    @classmethod
    def of(cls, blocks: Iterable[BlockSpec], launch_bound: bool) -> Traits:
        """Of a table's blocks."""
        residuals = [block for block in blocks if block.kind is Kind.INVERTED_RESIDUAL]
        activations = frozenset(block.activation for block in residuals)
        return cls(any(block.se for block in residuals), activations, launch_bound)

    def unseen(self, blocks: Sequence[BlockSpec]) -> tuple[Floats, Floats]:
        """(log factor, its standard deviation), float64 [n] each: 0 for blocks without anything new."""
        found = [self._unseen(block) for block in blocks]
        logs, doubts = (np.array(column, np.float64) for column in zip(*found, strict=True))
        return logs, doubts

    def _unseen(self, block: BlockSpec) -> tuple[float, float]:
        if block.kind is not Kind.INVERTED_RESIDUAL or not self.activations:
            return 0.0, 0.0
        log, variance = 0.0, 0.0
        if block.se and not self.squeeze:
            log += _SQUEEZE_LAUNCHES if self.launch_bound else _SQUEEZE
            variance += _LOG_ERROR**2
        if block.activation not in self.activations:
            # The nearest activation that there is stands for it in the model.
            own = _ACTIVATIONS[block.activation]
            step = min((own - _ACTIVATIONS[seen] for seen in self.activations), key=abs)
            log += step
            variance += step**2
        return log, math.sqrt(variance)
