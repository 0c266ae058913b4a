"""How good a predictor is, and how good it could be: rank correlation, error, and the noise of the labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

LEAST_SUBNETS, LEAST_IMAGES = 3, 4  # that answers are split for


def rmse(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Root mean square difference of two arrays [n]."""
    return float(np.sqrt(np.mean((np.asarray(a, np.float64) - np.asarray(b, np.float64)) ** 2)))


def kendall_tau(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Kendall's tau-b of two arrays [n] (ties corrected for), by comparing all pairs: meant for n up to a few thousand.

    0 where one of them is constant, or n < 2.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    agree, pairs_a, pairs_b = 0.0, 0.0, 0.0
    for i in range(1, len(a)):
        sign_a, sign_b = np.sign(a[i] - a[:i]), np.sign(b[i] - b[:i])
        agree += float(sign_a @ sign_b)
        pairs_a += float(np.count_nonzero(sign_a))
        pairs_b += float(np.count_nonzero(sign_b))
    return agree / float(np.sqrt(pairs_a * pairs_b)) if pairs_a and pairs_b else 0.0


@dataclass(frozen=True)
class NoiseCeiling:
    """What a predictor that knew the true accuracies would reach on these labels.

    Attributes:
        tau: Kendall's tau of the true accuracies with the measured ones.
        rmse: standard deviation of the labels around the true differences between subnets, as a fraction of 1.
        half_tau: tau of the accuracies on one half of the images with those on the other, averaged over splits.
        splits: number of random splits.

    """

    tau: float
    rmse: float
    half_tau: float
    splits: int


def ceiling_of(correct: NDArray[np.bool_] | None, seed: int = 0) -> NoiseCeiling | None:
    """`noise_ceiling`, or None where the answers were not kept or are too few to split: under 3 subnets or 4 images."""
    if correct is None or correct.shape[0] < LEAST_SUBNETS or correct.shape[1] < LEAST_IMAGES:
        return None
    return noise_ceiling(correct, seed=seed)


def noise_ceiling(correct: NDArray[np.bool_], *, splits: int = 50, seed: int = 0) -> NoiseCeiling:
    """The ceiling that finitely many images set, by splitting them in halves.

    The correlation of two halves, r, says how reliable half the images are; Spearman and Brown's formula gives the
    reliability of all of them, 2r / (1 + r), whose root is the correlation of the measured with the true accuracies.
    Between tau and r stands Greiner's relation r = sin(pi tau / 2).

    Args:
        correct: bool [subnets, images, views] (or [subnets, images]); views of an image stay together.
        splits: random splits to average over.
        seed: of the splits.

    Raises:
        ValueError: fewer than 3 subnets or 4 images.

    """
    correct = np.asarray(correct)
    if correct.ndim not in (2, 3) or correct.shape[0] < LEAST_SUBNETS or correct.shape[1] < LEAST_IMAGES:
        least = f"{LEAST_SUBNETS} subnets and {LEAST_IMAGES} images"
        raise ValueError(f"a noise ceiling needs at least {least}, not an array {correct.shape}")
    per_image = correct.astype(np.float64).reshape(len(correct), correct.shape[1], -1).mean(axis=2)
    rng = np.random.default_rng(seed)
    images = per_image.shape[1]
    half = images // 2
    taus, variances = [], []
    for _ in range(splits):
        order = rng.permutation(images)
        a, b = per_image[:, order[:half]].mean(axis=1), per_image[:, order[half : 2 * half]].mean(axis=1)
        taus.append(kendall_tau(a, b))
        # Half the difference of two halves is as noisy as the mean over all; what all subnets share is no noise.
        variances.append(float(np.var((a - b) / 2, ddof=1)) * 2 * half / images)
    half_tau = float(np.mean(taus))
    r = float(np.sin(np.pi / 2 * min(max(half_tau, 0.0), 1.0)))
    tau = float(2 / np.pi * np.arcsin(np.sqrt(2 * r / (1 + r))))
    return NoiseCeiling(tau, float(np.sqrt(np.mean(variances))), half_tau, splits)
