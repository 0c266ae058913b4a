"""A linear model of an objective over one-hot genes, global and around single architectures.

Networks are nearly additive: the gain of a change is about the same wherever it is made, and more nearly so the nearer
two architectures are. A model of this kind costs next to nothing, and says what is worth evaluating.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nas_edge.spaces import Population, Space

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]

RIDGE = 0.3
LOCAL_RIDGE = 0.01
REACH = 5.0  # features: how far from an architecture another one counts for 1 / e


class LinearModel:
    """What was told of late, and the weights of each choice that fit it best.

    A feature is a choice of a gene, or of both genes of a block together: what a kernel costs or brings depends on how
    wide its block is.

    Attributes:
        weights: float32 [features + 1], the last one (of what is absent) 0.

    """

    def __init__(self, space: Space, memory: int = 4096) -> None:
        """Of a space; `memory` is the number of architectures that are kept."""
        layout = space.layout
        alone = [(c, c) for c in range(len(layout.values))]
        blocks = [pair for stage in layout.stages for pair in zip(stage.kernels, stage.expands, strict=True)]
        self._first, self._second = np.array(alone + blocks, np.intp).T
        span = max(int(v.max()) for v in layout.values) + 1
        self._span = span if blocks else 1
        features = 0
        table = []
        for first, second in zip(self._first, self._second, strict=True):
            joint = np.zeros((span, self._span), np.intp) - 1
            a, b = layout.values[first], layout.values[second] if first != second else np.zeros(1, np.int8)
            joint[np.ix_(a, b)] = features + np.arange(len(a) * len(b)).reshape(len(a), len(b))
            features += len(a) * len(b)
            table.append(joint.ravel())
        self._features = features
        self._place = np.where(np.array(table) < 0, features, np.array(table))
        self._alone = len(alone)
        self._memory = memory
        # A ring: the oldest are overwritten.
        self._ring = np.zeros((memory, features), np.float32)
        self._ring_gain = np.zeros(memory)
        self._told = 0
        self.weights: Float32 = np.zeros(features + 1, np.float32)

    def places(self, population: Population) -> NDArray[np.intp]:
        """Features of architectures, [..., genes + blocks] of int8 [..., genes]; as many as there are where absent."""
        code = population[..., self._first].astype(np.intp) * self._span
        code[..., self._alone :] += population[..., self._second[self._alone :]]
        code += np.arange(len(self._first)) * self._place.shape[1]
        return self._place.ravel().take(code)

    def one_hot(self, population: Population) -> Float32:
        """float32 [n, features]."""
        encoded = np.zeros((len(population), self._features + 1), np.float32)
        np.put_along_axis(encoded, self.places(population), 1.0, axis=1)
        return encoded[:, :-1]

    def learn(self, population: Population, gain: Float) -> None:
        """Keep these; `fit` makes use of them."""
        population, gain = population[-self._memory :], gain[-self._memory :]
        place = (self._told + np.arange(len(gain))) % self._memory
        self._ring[place], self._ring_gain[place] = self.one_hot(population), gain
        self._told += len(gain)

    @property
    def _kept(self) -> tuple[Float32, Float]:
        """What is remembered: one-hot float32 [n, features] and gains [n]."""
        count = min(self._told, self._memory)
        return self._ring[:count], self._ring_gain[:count]

    def fit(self) -> None:
        """Ridge regression on all that is kept."""
        inputs, gain = self._kept
        target = (gain - gain.mean()).astype(np.float32)
        gram = inputs.T @ inputs
        gram[np.diag_indices_from(gram)] += RIDGE
        self.weights[:-1] = np.linalg.solve(gram, inputs.T @ target)

    def score(self, population: Population) -> Float32:
        """Predicted gain up to a constant, float32 [n]."""
        scores: Float32 = self.weights[self.places(population)].sum(axis=-1)
        return scores

    def around(self, rows: Population, gain: Float, neighbours: int) -> Float32:
        """Weights near each of some architectures: the global ones, corrected by what was told of their neighbours.

        Ridge regression towards the global weights, on differences to the architecture itself, in which the
        neighbours count the less the more genes differ.

        Args:
            rows: int8 [n, genes].
            gain: float64 [n], theirs.
            neighbours: that are looked at for each.

        Returns:
            float32 [n, features + 1].

        """
        inputs, told = self._kept
        mine = self.one_hot(rows)
        distance = np.maximum(mine.sum(axis=1)[:, None], inputs.sum(axis=1)) - mine @ inputs.T
        kept = min(neighbours, len(told))
        nearest = np.argpartition(distance, kept - 1, axis=1)[:, :kept]
        change = inputs[nearest] - mine[:, None]
        target = (told[nearest] - gain[:, None]).astype(np.float32) - change @ self.weights[:-1]
        kernel = change @ change.transpose(0, 2, 1)
        doubt = LOCAL_RIDGE * np.exp(np.take_along_axis(distance, nearest, axis=1) / REACH)
        kernel[:, np.arange(kept), np.arange(kept)] += doubt
        solved = np.linalg.solve(kernel, target[:, :, None])
        local = np.repeat(self.weights[None], len(rows), axis=0)
        local[:, :-1] += (change.transpose(0, 2, 1) @ solved)[:, :, 0]
        return local

    def differences(self, weights: Float32, rows: Population, moved: Population) -> Float:
        """What changes of some architectures bring by their own weights.

        Args:
            weights: float32 [n, features + 1], of `around`.
            rows: int8 [n, genes].
            moved: int8 [n, moves, genes].

        Returns:
            float64 [n, moves].

        """
        each = np.arange(len(rows))[:, None]
        before = weights[each, self.places(rows)].sum(axis=1)
        flat = self.places(moved)
        flat += (each * weights.shape[1])[:, :, None]
        after = weights.ravel().take(flat).sum(axis=2)
        gains: Float = (after - before[:, None]).astype(np.float64)
        return gains
