"""Accuracy of subnets, recalibrated, on the search split; several fixed views where it is small."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nas_edge.data import Preprocess, Split
from nas_edge.spaces import Population, Precision
from nas_edge.spaces.onnx_quantise import CANONICAL, QdqForm
from nas_edge.supernet.recalibrate import recalibrate
from nas_edge.supernet.static import StaticNet
from nas_edge.supernet.supernet import Supernet
from nas_edge.training.measuring.answers import answers, float_model, half_model, has_onnx, int8_model, torch_answers

_BATCH = 64
_CPU = torch.device("cpu")


@dataclass(frozen=True)
class View:
    """A fixed way of looking at an image: mirrored or not, whole or zoomed into the centre."""

    horizontal: bool = False
    vertical: bool = False
    zoom: float = 1.0


PLAIN = (View(),)


def fixed_views(count: int, horizontal: bool, vertical: bool) -> tuple[View, ...]:
    """At most `count` views that keep the label: mirrored as training mirrors, then zoomed.

    Args:
        count: 1 for the plain image only.
        horizontal: whether training mirrors left and right.
        vertical: whether training mirrors up and down.
    """
    flips = [
        (h, v) for v in ([False, True] if vertical else [False]) for h in ([False, True] if horizontal else [False])
    ]
    return tuple(View(h, v, zoom) for zoom in (1.0, 0.92, 0.85, 0.79) for h, v in flips)[:count]


@dataclass(frozen=True)
class Evaluation:
    """Answers of one network.

    Attributes:
        correct: bool [images, views].
        predicted: int64 [images] of the first view.
        labels: int64 [images].
    """

    correct: NDArray[np.bool_]
    predicted: NDArray[np.int64]
    labels: NDArray[np.int64]

    @property
    def accuracy(self) -> float:
        """Share of right answers over images and views, 0..1."""
        return float(self.correct.mean())

    @property
    def balanced_accuracy(self) -> float:
        """Mean over classes of the share of right answers of the first view."""
        right = self.correct[:, 0]
        return float(np.mean([right[self.labels == c].mean() for c in np.unique(self.labels)]))

    def interval(self, z: float = 1.959964) -> tuple[float, float]:
        """Wilson's 95 % interval of the first view's accuracy."""
        return wilson(int(self.correct[:, 0].sum()), len(self.correct), z)


def wilson(right: int, n: int, z: float = 1.959964) -> tuple[float, float]:
    """Wilson's score interval of a share (Wilson 1927)."""
    p, zz = right / n, z * z / n
    centre, half = p + zz / 2, z * np.sqrt(p * (1 - p) / n + zz / (4 * n))
    low, high = float((centre - half) / (1 + zz)), float((centre + half) / (1 + zz))
    return max(0.0, low), min(1.0, high)  # rounding may leave a little beyond


def _batches(count: int) -> Iterator[tuple[int, int]]:
    """Where batches begin and end; a last image alone joins those before it: by itself it has no variance."""
    edges = [*range(0, count, _BATCH), count]
    if count > _BATCH and count % _BATCH == 1:
        del edges[-2]
    return pairwise(edges)


class Evaluator:
    """Recalibrates and evaluates subnets, keeping the normalised calibration images of each resolution.

    Args:
        calibration: training images for batch norms (see `data.calibration.choose_calibration`).
        preprocess: from pictures to numbers.
        form: of int8 networks.
        device: that recalibrates, and answers in float32: a GPU in torch, the CPU through ONNX Runtime where it is at
            hand.
    """

    def __init__(
        self, calibration: Split, preprocess: Preprocess, form: QdqForm = CANONICAL, device: torch.device = _CPU
    ) -> None:
        self.calibration, self.preprocess, self.form, self.device = calibration, preprocess, form, device
        self._batches: dict[int, list[Tensor]] = {}

    def on(self, device: torch.device) -> Evaluator:
        """The same on another device; this one where it is its own."""
        if device == self.device:
            return self
        return Evaluator(self.calibration, self.preprocess, self.form, device)

    def calibration_batches(self, side: int) -> list[Tensor]:
        """Normalised training images for recalibration, float [n, 3, side, side] each, channels last, on the device."""
        if side not in self._batches:
            batches = self._load(self.calibration, side, View())
            self._batches[side] = [
                batch.to(self.device).contiguous(memory_format=torch.channels_last) for batch in batches
            ]
        return self._batches[side]

    def _load(self, split: Split, side: int, view: View) -> Iterator[Tensor]:
        bigger = round(side / view.zoom)
        edge = (bigger - side) // 2
        pixels = split.images(self.preprocess, bigger)[:, edge : edge + side, edge : edge + side]
        pixels = pixels[:, ::-1] if view.vertical else pixels
        pixels = pixels[:, :, ::-1] if view.horizontal else pixels
        for start, stop in _batches(len(pixels)):
            yield torch.from_numpy(self.preprocess.normalise(pixels[start:stop]))

    def recalibrated(self, net: Supernet, arch: Population) -> StaticNet:
        """One architecture (int8 [genes]), extracted and recalibrated at its resolution, in evaluation mode, there."""
        subnet = net.extract(arch).to(self.device)
        recalibrate(subnet, self.calibration_batches(subnet.resolution))
        return subnet

    def evaluate(
        self,
        subnet: StaticNet,
        side: int,
        split: Split,
        views: tuple[View, ...] = PLAIN,
        precision: Precision = Precision.FP32,
    ) -> Evaluation:
        """Answers of a recalibrated network for every image of a split under every view, at `side` pixels.

        In int8 the ranges of activations are observed on the calibration images, as they are for an exported file.
        """
        subnet.eval()
        if precision is Precision.FP32 and (self.device.type != "cpu" or not has_onnx()):
            classes = partial(torch_answers, subnet.to(self.device))
        elif precision is Precision.INT8:
            classes = partial(answers, int8_model(subnet, self.calibration_batches(side), self.form))
        else:
            classes = partial(answers, half_model(subnet) if precision is Precision.FP16 else float_model(subnet))
        labels = np.asarray(split.labels)
        predicted = np.stack([classes(self._load(split, side, view)) for view in views], axis=1)
        return Evaluation(predicted == labels[:, None], predicted[:, 0], labels)
