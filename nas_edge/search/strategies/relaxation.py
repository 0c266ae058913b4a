"""A space made continuous: logits for every choice and depth, what they make of a sum over terms, and the way back.

A gene's choices and a stage's depths are categorical with probabilities softmax(logits / temperature). Genes are
independent of each other, but for blocks of one stage, which are there together: a block is present with the
probability of all depths that reach it. The expectation of a sum over terms is then a polynomial, linear in each
gene's probabilities, and exact; so is its derivative.
"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from nas_edge.spaces import Population, Space, TermCosts

Float = NDArray[np.float64]
Index = NDArray[np.intp]


class Relaxation:
    """Probabilities of choices and depths, float64 [n, size]: genes' allowed values first, then stages' depths.

    Attributes:
        size: number of logits.
        features: of the one-hot encoding that surrogates know (`accuracy.FeatureLayout`).

    """

    def __init__(self, space: Space) -> None:
        layout = space.layout
        self._space, self._layout = space, layout
        counts = [len(values) for values in layout.values] + [len(stage.depths) for stage in layout.stages]
        self._starts: Index = np.concatenate([[0], np.cumsum(counts)]).astype(np.intp)
        self._counts = np.array(counts)
        self.size = int(self._starts[-1])
        self._column = np.repeat(np.arange(layout.genes), counts[: layout.genes])
        self._value = np.concatenate(layout.values)
        firsts = np.cumsum([0, *(len(gene.choices) for gene in space.genes)])
        self.features = int(firsts[-1])
        self._feature = firsts[self._column] + self._value - 1
        # Which depths reach the block that each choice belongs to; 1 for choices that are always there.
        self._stage = np.full(layout.genes, -1)
        self._slot = np.zeros(layout.genes, np.intp)
        self._reach = np.zeros((self.size, layout.genes))
        self._always = np.ones(layout.genes)
        for s, stage in enumerate(layout.stages):
            for columns in (stage.kernels, stage.expands):
                self._stage[columns], self._slot[columns] = s, np.arange(len(columns))
                for slot, column in enumerate(columns):
                    self._reach[self.depth_logits(s), column] = stage.depths > slot
                    self._always[column] = 0.0

    def depth_logits(self, stage: int) -> slice:
        """Where the depths of a stage are."""
        group = self._layout.genes + stage
        return slice(int(self._starts[group]), int(self._starts[group + 1]))

    def probabilities(self, logits: Float) -> Float:
        """Softmax of each gene's and each depth's logits, float64 [n, size]."""
        starts = self._starts[:-1]
        shifted = np.exp(logits - np.repeat(np.maximum.reduceat(logits, starts, axis=1), self._counts, axis=1))
        result: Float = shifted / np.repeat(np.add.reduceat(shifted, starts, axis=1), self._counts, axis=1)
        return result

    def to_logits(self, probabilities: Float, slope: Float) -> Float:
        """A derivative by the probabilities made one by the logits."""
        weighted = probabilities * slope
        mean = np.repeat(np.add.reduceat(weighted, self._starts[:-1], axis=1), self._counts, axis=1)
        result: Float = weighted - probabilities * mean
        return result

    def mixture(self, probabilities: Float) -> Float:
        """Expected one-hot encoding, float64 [n, features]; a block that may be absent has less than 1 in all."""
        present = probabilities @ self._reach + self._always
        result = np.zeros((len(probabilities), self.features))
        result[:, self._feature] = probabilities[:, : len(self._value)] * present[:, self._column]
        return result

    def one_hot(self, rows: Population) -> Float:
        """The encoding of architectures themselves, float64 [n, features]; an absent gene is all zeros."""
        result = np.zeros((len(rows), self.features))
        result[:, self._feature] = rows[:, self._column] == self._value
        return result

    def from_mixture(self, probabilities: Float, slope: Float) -> Float:
        """A derivative by the mixture, float64 [n, features], made one by the probabilities, [n, size]."""
        present = probabilities @ self._reach + self._always
        chosen = slope[:, self._feature]
        result = np.zeros_like(probabilities)
        result[:, : len(self._value)] = chosen * present[:, self._column]
        by_present = np.add.reduceat(
            chosen * probabilities[:, : len(self._value)], self._starts[: self._layout.genes], axis=1
        )
        result += by_present @ self._reach.T
        return result

    def draw(self, probabilities: Float, n: int, rng: np.random.Generator) -> Population:
        """`n` architectures of each row of probabilities, int8 [rows * n, genes]."""
        uniform = rng.random((len(probabilities), n, len(self._counts)))
        return self._pick(probabilities, uniform)

    def likeliest(self, probabilities: Float) -> Population:
        """The likeliest choices and depths, int8 [n, genes]."""
        best = [start + probabilities[:, start:stop].argmax(axis=1) for start, stop in itertools.pairwise(self._starts)]
        return self._rows(np.stack(best, axis=1))

    def logits_of(self, rows: Population, strength: float) -> Float:
        """Logits that favour these architectures, float64 [n, size]: `strength` where they stand, 0 elsewhere."""
        result = np.zeros((len(rows), self.size))
        result[:, : len(self._value)] = rows[:, self._column] == self._value
        depths = self._space.depths(rows)
        for s, stage in enumerate(self._layout.stages):
            result[:, self.depth_logits(s)] = depths[:, s, None] == stage.depths
        return strength * result

    def _pick(self, probabilities: Float, uniform: Float) -> Population:
        rows, n, groups = uniform.shape
        chosen = np.empty((rows, n, groups), np.intp)
        for g, (start, stop) in enumerate(itertools.pairwise(self._starts)):
            edges = np.cumsum(probabilities[:, start:stop], axis=1)[:, None, :-1]
            chosen[:, :, g] = start + (uniform[:, :, g, None] > edges).sum(axis=2)
        return self._rows(chosen.reshape(rows * n, groups))

    def _rows(self, chosen: Index) -> Population:
        """Architectures of one chosen logit for each gene and depth, canonical."""
        genes = self._layout.genes
        rows = self._value[chosen[:, :genes]]
        for s, stage in enumerate(self._layout.stages):
            depth = stage.depths[chosen[:, genes + s] - self._starts[genes + s]]
            for columns in (stage.kernels, stage.expands):
                rows[:, columns] *= np.arange(len(columns)) < depth[:, None]
        return self._space.repair(rows)  # a space that is a list lacks some combinations

    # What expectations are made of -----------------------------------------------------------------------------------

    def combinations(self, columns: tuple[int, ...]) -> tuple[NDArray[np.int8], list[tuple[list[int], list[Index]]]]:
        """All values that these genes can have together, and what their probability is the product of.

        Returns:
            int8 [combinations, columns], and for each: the logits of its choices, and for each stage that it touches
            the logits of the depths that leave just its blocks.

        """
        layout = self._layout
        place = {(int(c), int(v)): i for i, (c, v) in enumerate(zip(self._column, self._value, strict=True))}
        options = [[*([0] if self._stage[c] >= 0 else []), *map(int, layout.values[c])] for c in columns]
        combos, factors = [], []
        for combo in itertools.product(*options):
            choices = [place[c, v] for c, v in zip(columns, combo, strict=True) if v]
            depths: list[Index] = []
            for s in sorted({int(self._stage[c]) for c in columns} - {-1}):
                mine = [(self._slot[c], v > 0) for c, v in zip(columns, combo, strict=True) if self._stage[c] == s]
                fits = np.array([all((slot < d) == there for slot, there in mine) for d in layout.stages[s].depths])
                depths.append(self.depth_logits(s).start + np.flatnonzero(fits))
            if all(len(fit) for fit in depths):
                combos.append(combo)
                factors.append((choices, depths))
        return np.array(combos, np.int8).reshape(len(combos), len(columns)), factors


class ExpectedSum:
    """The expectation of a sum over terms, with its derivative: every entry's cost times its probability."""

    def __init__(self, relaxation: Relaxation, costs: TermCosts) -> None:
        self._size = relaxation.size
        self._constant = 0.0
        sets: dict[tuple[int, ...], int] = {}
        entries: list[list[int]] = []
        prices: list[float] = []
        for offset, strides in zip(costs.index.offsets, costs.index.strides.T, strict=True):
            columns = tuple(int(c) for c in np.flatnonzero(strides))
            if not columns:
                self._constant += float(costs.values[offset])
                continue
            combos, factors = relaxation.combinations(columns)
            figures = costs.values[int(offset) + (combos @ strides[list(columns)]).astype(np.intp)]
            for figure, (choices, depths) in zip(figures, factors, strict=True):
                if figure == 0.0:
                    continue
                reached = [sets.setdefault(tuple(map(int, fit)), len(sets)) for fit in depths]
                entries.append([*choices, *(relaxation.size + r for r in reached)])
                prices.append(float(figure))
        self._prices = np.array(prices)
        self._sets = np.zeros((relaxation.size, len(sets)))
        for logits, number in sets.items():
            self._sets[list(logits), number] = 1.0
        # Entries of fewer factors are filled up with a factor of one, the last.
        self._one = relaxation.size + len(sets)
        most = max((len(entry) for entry in entries), default=0)
        self._factors = np.full((most, len(entries)), self._one, np.intp)
        for i, entry in enumerate(entries):
            self._factors[: len(entry), i] = entry

    def __call__(self, probabilities: Float) -> tuple[Float, Float]:
        """float64 [n] and its derivative float64 [n, size]."""
        n = len(probabilities)
        known = np.concatenate([probabilities, probabilities @ self._sets, np.ones((n, 1))], axis=1)
        parts = [known[:, factor] for factor in self._factors]
        before = [np.broadcast_to(self._prices, (n, len(self._prices)))]
        for part in parts:
            before.append(before[-1] * part)
        total = before.pop().sum(axis=1) + self._constant
        slope = np.zeros(n * (self._one + 1))
        rows = np.arange(n)[:, None] * (self._one + 1)
        after = np.ones_like(before[0])
        for factor, part, product in zip(reversed(self._factors), reversed(parts), reversed(before), strict=True):
            by_factor = (product * after).ravel()
            slope += np.bincount((rows + factor).ravel(), by_factor, len(slope))
            after = after * part
        by_known = slope.reshape(n, self._one + 1)
        result: Float = by_known[:, : self._size] + by_known[:, self._size : self._one] @ self._sets.T
        return total, result
