"""What a block that the table lacks would take: a non-negative model of a block's work, fitted to the table.

A block's time is modelled as launches (a cost for each layer, activation, squeeze-and-excitation) and work (MACs by
layer type and kernel, activations moved, weight bytes, channels and pixels left over of a vector or tile, bytes beyond
a cache). On a CPU the two add up. On a GPU that is fed by a slow host, launches hide work or work hides launches: the
greater of the two counts. Both forms are tried; the one that predicts left-out input sizes better is kept, and its
error there is the model's stated error.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from nas_edge.latency.features import KERNEL_5, KERNEL_7, LAUNCHES, MACS_COLUMNS, features
from nas_edge.latency.nnls import nnls
from nas_edge.spaces import BlockSpec, Kind

Floats = NDArray[np.float64]

MIN_ROWS = 12
"""Fewer rows than this say too little for a model."""

_OWN_MODEL_ROWS = 60
_FOLDS = 6
_LEAST_LOG_ERROR = 0.03
_CLEARLY = 0.98


@dataclass(frozen=True)
class DevicePrior:
    """What is assumed of a device that nothing is known of. The figures are orders of magnitude, no measurements.

    Attributes:
        ms_per_layer: fixed cost of a layer.
        gmacs_per_s: thousand million multiply-adds a second, one thread, fp32.

    """

    ms_per_layer: float
    gmacs_per_s: float


PRIORS: Mapping[str, DevicePrior] = {
    "cpu": DevicePrior(0.004, 15.0),
    "mobile-cpu": DevicePrior(0.01, 8.0),
    "gpu": DevicePrior(0.1, 200.0),  # between a fused engine's 0.03 ms a layer and eager execution's 0.3
    "mcu": DevicePrior(0.0, 0.06),
    "npu": DevicePrior(0.01, 15.0),  # int8, between what Arm's Vela estimates for an Ethos-U55-128 and a U85-256
}
"""By device class: a server or desktop core, a phone or board core, an embedded GPU, a microcontroller and the neural
accelerator beside one."""

PRIOR_LOG_ERROR = math.log(3.0) / 1.2816
"""A prior is wrong by less than a factor of three in 9 of 10 cases, one-sided: a stated assumption."""


@dataclass(frozen=True)
class WorkModel:
    """Launches and work, added or overlapped.

    Attributes:
        weights: ms for each unit of each feature, float64 [32], none negative.
        overlapped: the greater of launches and work, rather than their sum.
        log_error: root mean square of log(measured / predicted) on input sizes left out of the fit.
        rows: blocks fitted to.

    """

    weights: Floats
    overlapped: bool
    log_error: float
    rows: int

    def predict(self, design: Floats) -> Floats:
        """Milliseconds, float64 [n], of features [n, 32]."""
        if not self.overlapped:
            summed: Floats = design @ self.weights
            return summed
        launches = design[:, :LAUNCHES] @ self.weights[:LAUNCHES]
        greater: Floats = np.maximum(launches, design[:, LAUNCHES:] @ self.weights[LAUNCHES:])
        return greater


@dataclass(frozen=True)
class ParametricModel:
    """Models by block kind; kinds with few rows share one model, corrected by their own median.

    Attributes:
        pooled: fitted to all kinds, or made of a prior.
        own: of kinds with many rows.
        correction: factor on the pooled model for kinds with a few rows.
        source: "table" or "prior".

    """

    pooled: WorkModel
    own: Mapping[Kind, WorkModel] = field(default_factory=dict)
    correction: Mapping[Kind, float] = field(default_factory=dict)
    source: str = "table"

    def predict(self, blocks: Sequence[BlockSpec]) -> Floats:
        """Milliseconds of each block, float64 [n]."""
        if not blocks:
            return np.zeros(0)
        design = features(blocks)
        result: Floats = self.pooled.predict(design) * np.array([self.correction.get(b.kind, 1.0) for b in blocks])
        kinds = np.array([b.kind for b in blocks])
        for kind, model in self.own.items():
            rows = kinds == kind
            result[rows] = model.predict(design[rows])
        # A model without a launch cost would price a pooling at nothing.
        positive: Floats = np.maximum(result, 1e-6)
        return positive

    @property
    def launch_bound(self) -> bool:
        """Whether inverted residuals take what the greater of launches and work takes."""
        return self.own.get(Kind.INVERTED_RESIDUAL, self.pooled).overlapped

    def log_error(self, kind: Kind) -> float:
        """Stated error for a kind: root mean square of log(measured / predicted)."""
        return self.own.get(kind, self.pooled).log_error


def fit_parametric(measured_ms: Mapping[BlockSpec, float]) -> ParametricModel | None:
    """Fit to a table's blocks (milliseconds); None where there are fewer than `MIN_ROWS`."""
    blocks = list(measured_ms)
    if len(blocks) < MIN_ROWS:
        return None
    design, ms = features(blocks), np.array([measured_ms[block] for block in blocks])
    kinds, sides = np.array([b.kind for b in blocks]), np.array([b.height for b in blocks])
    pooled = _best(design, ms, sides)
    own, correction = {}, {}
    for kind in sorted(set(kinds)):
        rows = kinds == kind
        if rows.sum() >= _OWN_MODEL_ROWS:
            own[Kind(kind)] = _best(design[rows], ms[rows], sides[rows])
        else:
            logs = np.log(ms[rows] / np.maximum(pooled.predict(design[rows]), 1e-9))
            # Two imaginary rows that agree with the pooled model keep a single odd row from deciding.
            correction[Kind(kind)] = float(np.exp(np.median(logs) * rows.sum() / (rows.sum() + 2)))
    return ParametricModel(pooled, own, correction)


def prior_model(device_class: str) -> ParametricModel:
    """A model of nothing but MACs and layers, for `device_class` of `PRIORS` ("cpu" where it is unknown)."""
    prior = PRIORS.get(device_class, PRIORS["cpu"])
    weights = np.zeros(features([_ANY_BLOCK]).shape[1])
    weights[1] = prior.ms_per_layer
    weights[list(MACS_COLUMNS)] = 1.0 / prior.gmacs_per_s
    return ParametricModel(WorkModel(weights, False, PRIOR_LOG_ERROR, 0), source="prior")


_ANY_BLOCK = BlockSpec(Kind.LINEAR, 1, 1, 8, 8, 8)


def _best(design: Floats, ms: Floats, sides: NDArray[np.int64]) -> WorkModel:
    """Of the two forms the one that predicts left-out input sizes better; of two that are as good the sum."""
    added, greater = (_left_out_error(design, ms, sides, overlapped) for overlapped in (False, True))
    overlapped = greater < _CLEARLY * added
    error = greater if overlapped else added
    return WorkModel(_fit(design, ms, overlapped), overlapped, max(error, _LEAST_LOG_ERROR), len(ms))


def folds_by_side(sides: NDArray[np.int64]) -> NDArray[np.int64]:
    """Fold of each row, int64 [n]: rows of one input side stay together, where there are three sides or more."""
    distinct, group = np.unique(sides, return_inverse=True)
    folds: NDArray[np.int64] = (group if len(distinct) >= 3 else np.arange(len(sides))) % _FOLDS
    return folds


def _left_out_error(design: Floats, ms: Floats, sides: NDArray[np.int64], overlapped: bool) -> float:
    group = folds_by_side(sides)
    logs = np.empty(len(ms))
    for fold in np.unique(group):
        out = group == fold
        model = WorkModel(_fit(design[~out], ms[~out], overlapped), overlapped, 0.0, 0)
        logs[out] = np.log(ms[out] / np.maximum(model.predict(design[out]), 1e-9))
    return float(np.sqrt(np.mean(logs**2)))


def _fit(design: Floats, ms: Floats, overlapped: bool) -> Floats:
    """Relative least squares: each row is divided by its time, so that small blocks count as much as large ones."""
    weights = _fitted(design, ms, overlapped)
    if not design[:, KERNEL_7].any():  # not seen: as dear for each multiply-add as the next smaller kernel
        weights[KERNEL_7] = weights[KERNEL_5]
    return weights


def _fitted(design: Floats, ms: Floats, overlapped: bool) -> Floats:
    relative, ones = design / ms[:, None], np.ones(len(ms))
    if not overlapped:
        return nnls(relative, ones)
    launch, work = relative[:, :LAUNCHES], relative[:, LAUNCHES:]
    weights = np.concatenate([nnls(launch, ones), nnls(work, ones)])
    best, least = weights, math.inf
    for _ in range(12):  # each row belongs to the greater part; refit both parts on their own rows
        launches, working = launch @ weights[:LAUNCHES], work @ weights[LAUNCHES:]
        loss = float(np.abs(np.maximum(launches, working) - 1).mean())
        if loss >= least - 1e-6:
            break
        best, least = weights, loss
        bound = working > launches
        weights = weights.copy()
        if (~bound).sum() >= LAUNCHES:
            weights[:LAUNCHES] = nnls(launch[~bound], ones[~bound])
        if bound.sum() >= LAUNCHES:
            weights[LAUNCHES:] = nnls(work[bound], ones[bound])
    return best
