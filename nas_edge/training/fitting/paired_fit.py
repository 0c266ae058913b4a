"""The accuracy predictor of another precision: that of fp32 plus a small correction fitted to pairs.

The same subnet answers the same images in both precisions, so most of the labels' noise cancels in the difference:
a correction needs far fewer subnets than a predictor. It is a ridge regression over sums of genes (log resolution,
depths, kernels, ratios), its strength chosen by leave-one-out error, down to a constant where genes explain nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nas_edge.accuracy import AccuracyPredictor, AccuracySet, NoiseCeiling, ceiling_of, kendall_tau, rmse
from nas_edge.errors import TrainingError
from nas_edge.spaces import SearchSpace
from nas_edge.training.fitting.accuracy_fit import MIN_SUBNETS, sums_of_genes

Float = NDArray[np.float64]

_STRENGTHS = tuple(float(10.0**power) for power in np.arange(-1.0, 4.5, 0.5))  # of the ridge, beside a constant alone


@dataclass(frozen=True)
class PairedReport:
    """How good the corrected predictor is on held-out subnets.

    Attributes:
        rmse, tau: against the accuracies measured in the other precision.
        uncorrected_rmse: of the fp32 predictor on the same subnets.
        mean_change: mean difference of the accuracies of all pairs, other precision minus fp32, as a fraction of 1.
        worst_change: the most negative one.
        explained: share of the differences' variance that the genes explain, by leave-one-out; 0 for a constant.
        ceiling: what the labels' noise lets a perfect predictor reach; None where single answers are unknown or few.
        train, holdout: pairs.

    """

    rmse: float
    tau: float
    uncorrected_rmse: float
    mean_change: float
    worst_change: float
    explained: float
    ceiling: NoiseCeiling | None
    train: int
    holdout: int

    def figures(self) -> dict[str, float]:
        """As plain figures, to be stored with the predictor."""
        names = ("rmse", "tau", "uncorrected_rmse", "mean_change", "worst_change", "explained", "train", "holdout")
        plain = {name: float(getattr(self, name)) for name in names}
        if self.ceiling:
            plain |= {"ceiling_tau": self.ceiling.tau, "label_noise": self.ceiling.rmse}
        return plain


def fit_paired_predictor(
    space: SearchSpace, base: AccuracyPredictor, data: AccuracySet, precision: str, *, seed: int = 0
) -> tuple[AccuracyPredictor, PairedReport]:
    """Correct a predictor of fp32 accuracy for another precision.

    Args:
        space: of the subnets.
        base: fitted to the fp32 subnets of `data`.
        data: subnets measured in both precisions; those of the role "holdout" are only judged on.
        precision: the other one.
        seed: of the splits behind the noise ceiling.

    Raises:
        TrainingError: fewer than 20 pairs to fit to.

    """
    base.check(space)
    other = data.of_precision(precision)
    before = _accuracy_before(data, other)
    paired = np.isfinite(before)
    train = paired & np.array([role == "train" for role in other.roles], bool)
    judged = paired & ~train
    if train.sum() < MIN_SUBNETS:
        raise TrainingError(
            f"a correction for {precision} needs at least {MIN_SUBNETS} subnets measured in fp32 and {precision}, "
            f"not {int(train.sum())}; measure more"
        )
    change = other.accuracy - before
    one_hot = base.layout.one_hot(other.population).astype(np.float64)
    slope, offset, explained = _ridge_on_sums(sums_of_genes(base.layout), one_hot[train], change[train])
    corrected = replace(
        base,
        linear=(base.linear + slope[None]).astype(np.float32),
        biases=(*base.biases[:-1], (base.biases[-1] + offset).astype(np.float32)),
        precision=precision,
    )
    held = other.select(judged if judged.sum() > 2 else paired)
    predicted = corrected.predict(held.population)
    report = PairedReport(
        rmse=rmse(predicted, held.accuracy),
        tau=kendall_tau(predicted, held.accuracy),
        uncorrected_rmse=rmse(base.predict(held.population), held.accuracy),
        mean_change=float(change[paired].mean()),
        worst_change=float(change[paired].min()),
        explained=explained,
        ceiling=ceiling_of(held.bits, seed),
        train=int(train.sum()),
        holdout=int(judged.sum()),
    )
    return replace(corrected, figures=report.figures()), report


def _accuracy_before(data: AccuracySet, other: AccuracySet) -> Float:
    """Accuracy in fp32 of each subnet of `other`, NaN where it was not measured."""
    plain = data.of_precision("fp32")
    known = {row.tobytes(): accuracy for row, accuracy in zip(plain.population, plain.accuracy, strict=True)}
    return np.array([known.get(row.tobytes(), np.nan) for row in other.population], np.float64)


def _ridge_on_sums(sums: Float, one_hot: Float, change: Float) -> tuple[Float, float, float]:
    """Slope over one-hot genes [features], offset, and the share of variance explained (leave-one-out)."""
    n = len(change)
    x = one_hot @ sums
    spread = x.std(axis=0)
    varying = spread > 1e-9
    to_inputs = sums[:, varying] / spread[varying]
    inputs = one_hot @ to_inputs
    centred, mean = inputs - inputs.mean(axis=0), float(change.mean())
    left_out = (change - mean) * n / (n - 1)
    best, weights = float(np.mean(left_out**2)), np.zeros(centred.shape[1])
    constant = best
    for strength in _STRENGTHS:
        inverse = np.linalg.inv(centred.T @ centred + strength * np.eye(centred.shape[1]))
        found = inverse @ centred.T @ (change - mean)
        leverage = np.einsum("ni,ij,nj->n", centred, inverse, centred) + 1 / n
        error = float(np.mean(((change - mean - centred @ found) / (1 - leverage)) ** 2))
        if error < best:
            best, weights = error, found
    explained = 1 - best / constant if constant > 0 else 0.0
    return to_inputs @ weights, mean - float(inputs.mean(axis=0) @ weights), explained
