"""What a parametric model leaves over, carried from like blocks to like blocks: local kriging of log ratios.

Tables show structure that no formula foresees (a kernel that fits a width, a tile that fits a side). Blocks that are
alike share it. The log ratio of measured to modelled is taken as a random field whose correlation falls exponentially
with the distance between blocks (in log side, log channels, and in what is equal or not); its best linear prediction
from the nearest rows is the correction, and its variance grows with the distance from what was measured (Krige 1951;
Rasmussen and Williams, 2006, chapter 2). The lengths are fixed: nine published and measured tables were insensitive
to them within a factor of two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas_edge.spaces import BlockSpec, Kind

Floats = NDArray[np.float64]

_NEIGHBOURS = 24
_NOISE = 0.05  # of a row's own variance: what measuring it again would change
_SIDE, _CHANNELS = 1.5, 2.0  # log units over which correlation falls by e
_FIELDS = (
    ("kernel", 0.25), ("stride", 0.35), ("se", 0.35), ("activation", 0.15), ("residual", 0.15), ("expands", 0.5),
    ("norm", 0.25), ("kind", 1.5), ("ragged_mid", 0.3), ("ragged_in", 0.1),
)  # fmt: skip
_BEYOND = 0.15  # log error for each unit of distance from the nearest row: what no neighbour tells
_CHUNK = 256


@dataclass(frozen=True)
class ResidualModel:
    """Log ratios of a table's rows to a model, and how far to trust them elsewhere.

    Attributes:
        places: float64 [rows, columns], weighted so that distance is the sum of absolute differences.
        logs: float64 [rows], log(measured / modelled), their mean taken off.
        mean: that mean, which holds everywhere.
        scale: standard deviation of the field.

    """

    places: Floats
    logs: Floats
    mean: float
    scale: float

    @classmethod
    def of(cls, blocks: Sequence[BlockSpec], logs: Floats, folds: NDArray[np.int64]) -> ResidualModel:
        """Rows and their log ratios; `folds` int64 [rows]: the scale is set so that each fold is covered by the others.

        Leaving whole folds out (input sides, say) tests what will be asked; single rows have twins beside them.
        """
        mean = float(np.median(logs))
        field = cls(places(blocks), logs - mean, mean, 1.0)
        return cls(field.places, field.logs, mean, field._scale(folds))

    def predict(self, blocks: Sequence[BlockSpec]) -> tuple[Floats, Floats]:
        """(log correction, its standard deviation), float64 [n] each."""
        if not blocks:
            return np.zeros(0), np.zeros(0)
        correction, variance, beyond = self._krige(places(blocks), np.arange(len(self.logs)))
        return self.mean + correction, np.hypot(self.scale * np.sqrt(variance), beyond)

    def _scale(self, folds: NDArray[np.int64]) -> float:
        logs, expected = [], []
        for fold in np.unique(folds):
            out = np.flatnonzero(folds == fold)
            kept = np.flatnonzero(folds != fold)
            if not len(kept):
                continue
            out = out[:: max(1, len(out) // _CHUNK)]
            correction, variance, _ = self._krige(self.places[out], kept)
            logs.append(self.logs[out] - correction)
            expected.append(variance)
        if not logs:
            return float(self.logs.std())
        return float(np.sqrt(np.mean(np.concatenate(logs) ** 2 / np.concatenate(expected))))

    def _krige(self, places: Floats, rows: NDArray[np.int64]) -> tuple[Floats, Floats, Floats]:
        """From the nearest of some rows: correction, its variance in units of the scale, log error of going beyond."""
        known, logs = self.places[rows], self.logs[rows]
        count = min(_NEIGHBOURS, len(rows))
        corrections, variances, beyond = (np.empty(len(places)) for _ in range(3))
        for start in range(0, len(places), _CHUNK):
            part = slice(start, min(start + _CHUNK, len(places)))
            distances = _distances(places[part], known)
            near = np.argpartition(distances, count - 1, axis=1)[:, :count]
            towards = np.take_along_axis(distances, near, axis=1)
            between = np.abs(known[near][:, :, None] - known[near][:, None, :]).sum(axis=3)
            matrix = np.exp(-between) + _NOISE * np.eye(count)
            covariance = np.exp(-towards)
            weights = np.linalg.solve(matrix, covariance[:, :, None])[:, :, 0]
            corrections[part] = (weights * logs[near]).sum(axis=1)
            explained = (weights * covariance).sum(axis=1)
            variances[part] = np.maximum(1.0 - explained, 0.0) + _NOISE
            beyond[part] = _BEYOND * towards.min(axis=1)
        return corrections, variances, beyond


def places(blocks: Sequence[BlockSpec]) -> Floats:
    """Where blocks lie, float64 [n, columns]: distance is the sum of absolute differences."""
    kinds = list(Kind)

    def place(block: BlockSpec) -> tuple[float, ...]:
        sides = 0.5 * np.log(block.height * block.width) / _SIDE
        channels = np.log([block.in_channels, block.mid_channels, block.out_channels]) / _CHANNELS
        return (sides, *channels, *_categories(block, kinds))

    return np.array([place(block) for block in blocks], np.float64).reshape(len(blocks), -1)


def _categories(block: BlockSpec, kinds: Sequence[Kind]) -> list[float]:
    """Columns whose absolute differences sum to a field's weight where two blocks differ, to 0 where they do not."""
    columns: list[float] = []
    for name, weight in _FIELDS:
        value = getattr(block, name) if name not in _RAGGED else getattr(block, _RAGGED[name]) % _VECTOR > 0
        if isinstance(value, bool):
            columns.append(weight * value)
            continue
        values = kinds if name == "kind" else _VALUES[name]
        columns += [0.5 * weight * (value == one) for one in values]
    return columns


_VECTOR = 16
_RAGGED = {"ragged_mid": "mid_channels", "ragged_in": "in_channels"}
"""Channels that fill no vector, which some kernels do at another pace."""

_VALUES: dict[str, tuple[object, ...]] = {
    "kernel": (1, 3, 5, 7),
    "stride": (1, 2),
    "activation": ("relu", "relu6", "h_swish", "none"),
}


def _distances(places: Floats, known: Floats) -> Floats:
    total = np.zeros((len(places), len(known)))
    for column in range(places.shape[1]):
        total += np.abs(places[:, column, None] - known[None, :, column])
    return total
