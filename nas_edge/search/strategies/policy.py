"""A factorised categorical policy over architectures: independent probabilities of each gene and each stage's depth.

Genes of blocks beyond a stage's depth are not chosen and teach nothing. All gradients are analytic.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nas_edge.search.strategies.relaxation import Relaxation
from nas_edge.spaces import Population, Space

Float = NDArray[np.float64]

LEAST = 1e-300  # probability whose logarithm is still finite


class Policy:
    """Softmax probabilities of every choice.

    Attributes:
        logits: float64 [size], those of a `Relaxation`; 0 at first, where all choices are equally likely.

    """

    def __init__(self, space: Space) -> None:
        self._relaxation = Relaxation(space)
        self.logits: Float = np.zeros(self._relaxation.size)

    @property
    def probabilities(self) -> Float:
        """float64 [size], adding up to 1 for each gene and each depth."""
        probabilities: Float = self._relaxation.probabilities(self.logits[None])[0]
        return probabilities

    def sample(self, n: int, rng: np.random.Generator) -> Population:
        """int8 [n, genes], canonical."""
        return self._relaxation.draw(self.probabilities[None], n, rng)

    def choices(self, rows: Population) -> Float:
        """Which choices make up each architecture, 1 or 0: float64 [n, size] of int8 [n, genes]."""
        return self._relaxation.logits_of(rows, 1.0)

    def log_likelihood(self, choices: Float) -> Float:
        """Log probability of each architecture, float64 [n] of float64 [n, size]."""
        likelihood: Float = choices @ self._logs()
        return likelihood

    def likelihood_gradient(self, choices: Float, weights: Float) -> Float:
        """Gradient by the logits of the sum of weights [n] times log-likelihoods: float64 [size]."""
        probabilities = np.maximum(self.probabilities, LEAST)
        slope = (weights @ choices) / probabilities
        gradient: Float = self._relaxation.to_logits(probabilities[None], slope[None])[0]
        return gradient

    def entropy(self) -> float:
        """Of all genes and depths together, in nats."""
        return float(-self.probabilities @ self._logs())

    def entropy_gradient(self) -> Float:
        """Gradient of it by the logits: float64 [size]."""
        slope = -1.0 - self._logs()
        gradient: Float = self._relaxation.to_logits(self.probabilities[None], slope[None])[0]
        return gradient

    def _logs(self) -> Float:
        logs: Float = np.log(np.maximum(self.probabilities, LEAST))
        return logs
