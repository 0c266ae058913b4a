"""Searching without a trained supernet: zero-cost proxies in the place of the accuracy.

Each evaluation builds a network and runs a batch through it, 20 ms to a second on one core: for a few hundred
evaluations, where a fitted predictor prices as many in a millisecond.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nas_edge.pipeline.bundle import Bundle
from nas_edge.search.metrics import FunctionMetric, Metric
from nas_edge.spaces import SearchSpace

if TYPE_CHECKING:
    from nas_edge.training.measuring.zero_cost import ZeroCostScores

_IMAGES = 16


def zero_cost_metric(
    name: str,
    space: SearchSpace,
    num_classes: int,
    images: NDArray[np.float32],
    seed: int,
    labels: NDArray[np.int64] | None = None,
) -> Metric:
    """A proxy as a metric of which more is better; its figures are no accuracies.

    Args:
        name: naswot, synflow, zen or grad_norm.
        space: of the populations.
        num_classes: of the classifier.
        images: normalised, float32 [n, 3, s, s]; resized to each network's resolution.
        seed: of weights and inputs.
        labels: int64 [n], for grad_norm; without them classes are drawn at random.

    Raises:
        UnknownNameError: no such proxy.

    """
    from nas_edge.training.measuring.zero_cost import ZeroCostScores

    if labels is None:
        labels = np.random.default_rng(seed).integers(0, num_classes, len(images))
    scores = ZeroCostScores(name, space, num_classes, images, labels, seed)
    return FunctionMetric(f"zero-cost:{name}", "", scores.predict, maximise=True)


def zero_cost_of_bundle(name: str, bundle: Bundle, seed: int = 0) -> ZeroCostScores:
    """A proxy on some of a bundle's own calibration images. Raises UnknownNameError, FormatError."""
    from nas_edge.training.measuring.zero_cost import ZeroCostScores

    images, labels = _pictures(bundle, max(bundle.space.resolutions), seed)
    return ZeroCostScores(name, bundle.space, bundle.num_classes, images, labels, seed)


def zero_cost_of_space(
    name: str, space: SearchSpace, num_classes: int, pictures: Bundle, seed: int = 0
) -> ZeroCostScores:
    """A proxy of a space without a bundle, on another bundle's images under drawn labels. Raises UnknownNameError."""
    from nas_edge.training.measuring.zero_cost import ZeroCostScores

    images, _ = _pictures(pictures, max(space.resolutions), seed)
    labels = np.random.default_rng(seed).integers(0, num_classes, len(images))
    return ZeroCostScores(name, space, num_classes, images, labels, seed)


def _pictures(bundle: Bundle, side: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Some of a bundle's calibration images, normalised, float32 [n, 3, side, side], and their labels."""
    from nas_edge.data.calibration import choose_calibration
    from nas_edge.pipeline.networks import bundle_calibration, bundle_preprocess

    split = choose_calibration(bundle_calibration(bundle), seed, _IMAGES)
    preprocess = bundle_preprocess(bundle)
    return np.ascontiguousarray(preprocess.normalise(split.images(preprocess, side))), split.labels
