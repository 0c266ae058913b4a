"""Adam (Kingma and Ba, 2015), in numpy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]

EPSILON = 1e-8


class Adam:
    """Steps along a gradient, each parameter's scaled by the size of its own gradients."""

    def __init__(self, learning_rate: float, decay: float = 0.9, square_decay: float = 0.999) -> None:
        self._rate, self._decay, self._square_decay = learning_rate, decay, square_decay
        self._mean: Float | float = 0.0
        self._square: Float | float = 0.0
        self._steps = 0

    def step(self, gradient: Float) -> Float:
        """What to subtract from the parameters to descend, to add to them to ascend: of the gradient's shape."""
        self._steps += 1
        self._mean = self._decay * self._mean + (1 - self._decay) * gradient
        self._square = self._square_decay * self._square + (1 - self._square_decay) * gradient**2
        mean = self._mean / (1 - self._decay**self._steps)
        square = self._square / (1 - self._square_decay**self._steps)
        change: Float = self._rate * mean / (np.sqrt(square) + EPSILON)
        return change
