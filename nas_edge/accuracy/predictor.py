"""The accuracy predictor: an ensemble of small networks over one-hot genes, in numpy, with its gradient."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas_edge.accuracy.features import FeatureLayout
from nas_edge.errors import FormatError
from nas_edge.files import BROKEN_ARCHIVE, write_bytes
from nas_edge.spaces import Population, SearchSpace

FORMAT = 1
MAX_BYTES = 64 * 2**20
# Rows of one pass: intermediate arrays then stay in the second-level cache.
CHUNK = 1024

Float32 = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class AccuracyPredictor:
    """Members of equal shape: (one-hot) -> ReLU layers -> one figure, plus a linear path from input to output.

    All weights act on the raw one-hot input and yield accuracy as a fraction; what standardised them while they were
    fitted is folded in.

    Attributes:
        layout: the genes it was fitted for.
        weights: for each layer float32 [members, inputs, outputs]; the last has one output.
        biases: for each layer float32 [members, outputs].
        linear: float32 [members, features], the linear path.
        precision: of the networks whose accuracy it predicts.
        figures: what is known of its quality (rmse, tau, ceiling_tau ...), stored with it.

    """

    layout: FeatureLayout
    weights: tuple[Float32, ...]
    biases: tuple[Float32, ...]
    linear: Float32
    precision: str = "fp32"
    figures: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        members, inputs = len(self.linear), self.layout.size
        if self.linear.shape != (members, inputs) or not members or len(self.weights) != len(self.biases):
            raise ValueError(f"linear path of shape {self.linear.shape} does not fit {inputs} features")
        for weight, bias in zip(self.weights, self.biases, strict=True):
            if weight.shape != (members, inputs, bias.shape[-1]) or bias.shape != (members, weight.shape[-1]):
                raise ValueError(f"a layer of shape {weight.shape}, bias {bias.shape} does not follow {inputs} units")
            inputs = weight.shape[2]
        if not self.weights or inputs != 1:
            raise ValueError("the last layer must have one output")

    @property
    def members(self) -> int:
        """Number of networks in the ensemble."""
        return len(self.linear)

    @cached_property
    def _entrance(self) -> tuple[Float32, Float32]:
        """First layers of all members and their linear paths side by side: [features, units], [units]."""
        members, features, units = self.weights[0].shape
        first = np.moveaxis(self.weights[0], 0, 1).reshape(features, members * units)
        bias = np.concatenate([self.biases[0].ravel(), np.zeros(members, np.float32)])
        return np.ascontiguousarray(np.concatenate([first, self.linear.T], axis=1)), bias

    def _members(self, rows: Float32) -> Float32:
        """Each member's figure, float32 [members, n] of float32 [n, features]."""
        entrance, bias = self._entrance
        members, units = self.members, self.weights[0].shape[2]
        first = rows @ entrance
        first += bias
        linear = first[:, members * units :].T
        hidden: Float32 = np.moveaxis(first[:, : members * units].reshape(len(rows), members, units), 1, 0)
        for weight, layer_bias in zip(self.weights[1:], self.biases[1:], strict=True):
            hidden = np.matmul(np.maximum(hidden, 0), weight)
            hidden += layer_bias[:, None, :]
        return hidden[:, :, 0] + linear

    def _all(self, population: Population) -> NDArray[np.float64]:
        if population.ndim != 2 or population.shape[1] != len(self.layout.genes):
            raise ValueError(f"a population has {len(self.layout.genes)} columns here, not shape {population.shape}")
        result = np.empty((self.members, len(population)), np.float64)
        for start in range(0, len(population), CHUNK):
            stop = start + CHUNK
            result[:, start:stop] = self._members(self.layout.one_hot(population[start:stop]))
        return result

    def predict(self, population: Population) -> NDArray[np.float64]:
        """Accuracy as a fraction, float64 [n] of int8 [n, genes]; not clipped, so that the best can be told apart."""
        mean: NDArray[np.float64] = self._all(population).mean(axis=0)
        return mean

    def predict_std(self, population: Population) -> NDArray[np.float64]:
        """Standard deviation between members, float64 [n]: how much they disagree, not a confidence interval."""
        deviation: NDArray[np.float64] = self._all(population).std(axis=0)
        return deviation

    def gradient(self, one_hot: NDArray[np.floating[Any]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Prediction and its derivative by each input, which may be a mixture of choices (probabilities).

        Args:
            one_hot: float [n, features].

        Returns:
            float64 [n] and float64 [n, features].

        """
        rows = np.asarray(one_hot, np.float32)
        active: list[NDArray[np.bool_]] = []
        hidden = np.broadcast_to(rows, (self.members, *rows.shape))
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            if i:
                active.append(hidden > 0)
                hidden = np.maximum(hidden, 0)
            hidden = np.matmul(hidden, weight) + bias[:, None, :]
        value = hidden[:, :, 0] + self.linear @ rows.T
        slope: Float32 = np.ones((self.members, len(rows), 1), np.float32)
        for weight, mask in zip(reversed(self.weights[1:]), reversed(active), strict=True):
            slope = np.matmul(slope, weight.transpose(0, 2, 1)) * mask
        slope = np.matmul(slope, self.weights[0].transpose(0, 2, 1)) + self.linear[:, None, :]
        return value.mean(axis=0, dtype=np.float64), slope.mean(axis=0, dtype=np.float64)

    def check(self, space: SearchSpace) -> None:
        """Hold it against a space. Raises SpaceError naming the dimension that differs."""
        self.layout.check(space, "the accuracy predictor")

    def write(self, path: Path) -> None:
        """Write `accuracy_predictor.npz`, the same bytes for the same predictor. Raises as `write_atomic`."""
        header = {"format": FORMAT, "precision": self.precision, "layers": len(self.weights)}
        header |= {"fingerprint": self.layout.fingerprint, "figures": dict(self.figures)}
        arrays: dict[str, NDArray[Any]] = {"linear": self.linear}
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            arrays |= {f"weight{i}": weight, f"bias{i}": bias}
        arrays |= {"header": _text(json.dumps(header, allow_nan=False)), "layout": _text(self.layout.to_json())}
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
        write_bytes(path, buffer.getvalue())

    @classmethod
    def read(cls, path: Path, space: SearchSpace | None = None) -> AccuracyPredictor:
        """Read what `write` wrote; with `space`, hold it against that.

        Raises:
            FormatError: missing, damaged, of a newer format, or with weights that are not finite.
            SpaceError: a predictor of another space (the dimension that differs is named).

        """
        arrays = _read_arrays(path)
        try:
            header = json.loads(bytes(arrays["header"]))
            if header["format"] > FORMAT:
                raise FormatError(f"{path}: format {header['format']} is newer than this nas-edge reads ({FORMAT})")
            layout = FeatureLayout.from_json(bytes(arrays["layout"]).decode(), str(path))
            layers = range(int(header["layers"]))
            predictor = cls(
                layout,
                tuple(_finite(arrays[f"weight{i}"]) for i in layers),
                tuple(_finite(arrays[f"bias{i}"]) for i in layers),
                _finite(arrays["linear"]),
                str(header["precision"]),
                {str(key): float(value) for key, value in header["figures"].items()},
            )
            if header["fingerprint"] != layout.fingerprint:
                raise ValueError("genes and fingerprint disagree")
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            raise FormatError(f"{path}: is not an accuracy predictor ({error})") from error
        if space is not None:
            predictor.check(space)
        return predictor


def _text(text: str) -> NDArray[np.uint8]:
    return np.frombuffer(text.encode(), np.uint8)


def _finite(array: NDArray[Any]) -> Float32:
    if array.dtype != np.float32 or not np.isfinite(array).all():
        raise ValueError("weights must be finite float32")
    return array


def _read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Every array of an npz of bounded size, nothing executed. Raises FormatError."""
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > MAX_BYTES:
                raise FormatError(f"{path}: unpacks to more than the {MAX_BYTES} bytes that such a file may have")
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error.strerror or error})") from error
    except BROKEN_ARCHIVE as error:
        raise FormatError(f"{path}: is damaged or truncated ({error}); copy it again") from error
