"""Fitting the accuracy predictor to a few hundred measured subnets. Numpy: the problem is too small for anything else.

Each member is a Gaussian process (`training.fitting.gaussian_process`) fitted to all subnets but one fold, as imitated
by a linear fit and a small network (`training.fitting.distilling`): few noisy labels are learnt from by the one,
millions of architectures a minute, and gradients, come from the other. Beside the one-hot genes the networks see sums
over each stage and over the network (depth, kernels, ratios, log resolution). The sums are linear in the genes, so they
are folded into the weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from nas_edge.accuracy import (
    AccuracyPredictor,
    AccuracySet,
    FeatureLayout,
    NoiseCeiling,
    ceiling_of,
    kendall_tau,
    rmse,
)
from nas_edge.errors import TrainingError
from nas_edge.progress import Progress, silent
from nas_edge.spaces import Population, SearchSpace
from nas_edge.training.fitting.distilling import ImitationOptions, fit_lines, fit_networks, wide_population
from nas_edge.training.fitting.gaussian_process import GaussianProcess, Traits
from nas_edge.training.fitting.guided import MIN_GUIDED, GuidedProcess, Prior
from nas_edge.training.fitting.learning_curve import CurvePoint, learning_curve

Float = NDArray[np.float64]
_Process = GaussianProcess | GuidedProcess

MIN_SUBNETS = 20
_CHECKED = 1000  # architectures that networks are held against processes on


@dataclass(frozen=True)
class FitOptions:
    """How the ensemble is fitted.

    Attributes:
        members: processes with their networks, one a fold.
        imitation: how networks imitate them.

    """

    members: int = 5
    imitation: ImitationOptions = field(default_factory=ImitationOptions)


@dataclass(frozen=True)
class FitReport:
    """How good the predictor is on subnets it was not fitted to.

    Attributes:
        rmse: on the held-out subnets, as a fraction of 1.
        tau: Kendall's tau on the held-out subnets.
        linear_tau: the same of the linear part alone.
        fold_rmse, fold_tau: of each training subnet by the member that did not see it.
        imitation_rmse: of the networks against the processes that they imitate, on other architectures.
        ceiling: what their labels' noise lets a perfect predictor reach; None where single answers are unknown or few.
        train, holdout: numbers of subnets.
        curve: the same of fewer subnets; empty without held-out ones, or with a prior.

    """

    rmse: float
    tau: float
    linear_tau: float
    fold_rmse: float
    fold_tau: float
    imitation_rmse: float
    ceiling: NoiseCeiling | None
    train: int
    holdout: int
    curve: tuple[CurvePoint, ...] = ()

    def figures(self) -> dict[str, float]:
        """As plain figures, to be stored with the predictor."""
        plain = {"rmse": self.rmse, "tau": self.tau, "linear_tau": self.linear_tau, "fold_rmse": self.fold_rmse}
        plain |= {
            "fold_tau": self.fold_tau,
            "imitation_rmse": self.imitation_rmse,
            "train": float(self.train),
            "holdout": float(self.holdout),
        }
        if self.ceiling:
            plain |= {"ceiling_tau": self.ceiling.tau, "label_noise": self.ceiling.rmse}
        return plain


def sums_of_genes(layout: FeatureLayout) -> Float:
    """float64 [features, sums]: one-hot genes times this are depth, kernels and ratios of each stage and of all.

    Genes that are never absent (resolution, width) enter by their logarithm.
    """
    column, _ = layout.columns
    names = [name for name, _ in layout.genes]
    sums: dict[str, Float] = {}

    def add(key: str, feature: int, value: float) -> None:
        sums.setdefault(key, np.zeros(layout.size))[feature] = value

    for feature, (gene, number) in enumerate(zip(column, layout.numbers, strict=True)):
        stage, _, rest = names[gene].partition(".")
        if not rest:
            add(stage, feature, float(np.log(number)))
            continue
        kind = rest.rpartition(".")[2]
        for where in (stage, "all"):
            add(f"{where} {kind}", feature, float(number))
            if kind == "k":
                add(f"{where} depth", feature, 1.0)
    return np.stack(list(sums.values()), axis=1)


def fit_accuracy_predictor(
    space: SearchSpace,
    data: AccuracySet,
    *,
    options: FitOptions | None = None,
    precision: str = "fp32",
    prior: Prior | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> tuple[AccuracyPredictor, FitReport]:
    """Fit an ensemble to the "train" subnets of one precision and judge it on the "holdout" ones.

    Args:
        space: of the subnets.
        data: measured subnets.
        options: how to fit.
        precision: which of the subnets' precisions to predict.
        prior: what promises accuracy before anything is measured (`training.fitting.guided`), None for nothing; it is
            asked for the figures of some ten thousand architectures.
        seed: of folds and initial weights.
        progress: called now and then.

    Returns:
        The predictor, its figures inside, and the report.

    Raises:
        TrainingError: fewer than 20 subnets to fit to (10 with a prior).

    """
    options = options or FitOptions()
    least = max(MIN_SUBNETS if prior is None else MIN_GUIDED, options.members)
    data = data.of_precision(precision)
    train, holdout = data.with_role("train"), data.with_role("holdout")
    if len(train) < least:
        raise TrainingError(
            f"an accuracy predictor needs at least {least} subnets measured in {precision}, "
            f"not {len(train)}; evaluate more"
        )
    if np.ptp(train.accuracy) == 0:  # easy images; the predictor says just that, and other budgets decide
        progress(0, 1, f"all {len(train)} subnets are equally accurate: nothing tells them apart but what they cost")
    rng = np.random.default_rng(seed)
    fold = rng.permutation(len(train)) % options.members
    traits = Traits.of(space, train.population)
    processes = [
        _process(traits, train.population[fold != m], train.accuracy[fold != m], prior) for m in range(options.members)
    ]
    predictor, linear = _imitated(space, processes, train.population, options.imitation, precision, rng, progress)
    others = wide_population(space, _CHECKED, rng)
    imitation = predictor.predict(others) - np.mean([process.predict(others) for process in processes], axis=0)
    by_fold = predictor_of_members(predictor, train)[fold, np.arange(len(train))]
    judged = holdout if len(holdout) > 1 else train
    predicted = predictor.predict(judged.population)
    report = FitReport(
        rmse=rmse(predicted, judged.accuracy) if len(holdout) > 1 else rmse(by_fold, train.accuracy),
        tau=kendall_tau(predicted, judged.accuracy) if len(holdout) > 1 else kendall_tau(by_fold, train.accuracy),
        linear_tau=kendall_tau(linear.predict(judged.population), judged.accuracy),
        fold_rmse=rmse(by_fold, train.accuracy),
        fold_tau=kendall_tau(by_fold, train.accuracy),
        imitation_rmse=float(np.sqrt(np.mean(imitation**2))),
        ceiling=ceiling_of(judged.bits, seed),
        train=len(train),
        holdout=len(holdout),
        curve=learning_curve(space, train, holdout, seed) if len(holdout) > 1 and prior is None else (),
    )
    return replace(predictor, figures=report.figures()), report


def _process(traits: Traits, population: Population, accuracy: Float, prior: Prior | None) -> _Process:
    if prior is None:
        return GaussianProcess.fit(traits, population, accuracy)
    return GuidedProcess.fit(traits, population, accuracy, prior)


def _imitated(
    space: SearchSpace,
    processes: Sequence[_Process],
    seen: Population,
    options: ImitationOptions,
    precision: str,
    rng: np.random.Generator,
    progress: Progress,
) -> tuple[AccuracyPredictor, AccuracyPredictor]:
    """The predictor whose members imitate the processes, and the same without its networks."""
    layout = FeatureLayout.of(space)
    population = np.concatenate([seen, wide_population(space, options.rows, rng)])
    inputs = _Inputs.of(layout, layout.one_hot(population).astype(np.float64))
    x = inputs.of_rows(layout.one_hot(population).astype(np.float64))
    targets = np.stack([process.predict(population) for process in processes])
    slope, offset = fit_lines(x, targets)
    rest = targets - (slope @ x.T + offset[:, None])
    scale = float(rest.std())  # 0 where nothing is left to the networks: then they count for nothing
    layers = fit_networks(x, rest / (scale or 1.0), options, rng, progress)
    nothing = [(np.zeros_like(w), np.zeros_like(b)) for w, b in layers]
    return (
        inputs.fold_in(layout, layers, scale, slope, offset, precision),
        inputs.fold_in(layout, nothing, scale, slope, offset, precision),
    )


def predictor_of_members(predictor: AccuracyPredictor, data: AccuracySet) -> Float:
    """Each member's prediction, float64 [members, n]."""
    members = [
        replace(
            predictor,
            weights=tuple(w[m : m + 1] for w in predictor.weights),
            biases=tuple(b[m : m + 1] for b in predictor.biases),
            linear=predictor.linear[m : m + 1],
        )
        for m in range(predictor.members)
    ]
    return np.stack([member.predict(data.population) for member in members])


@dataclass(frozen=True)
class _Inputs:
    """What the fit sees: centred one-hot genes and standardised sums, as one matrix on the one-hot genes.

    Attributes:
        matrix: float64 [features, inputs].
        centre: float64 [inputs].

    """

    matrix: Float
    centre: Float

    @classmethod
    def of(cls, layout: FeatureLayout, one_hot: Float) -> _Inputs:
        sums = sums_of_genes(layout)
        spread = (one_hot @ sums).std(axis=0)
        varying = spread > 1e-9
        matrix = np.concatenate([np.eye(layout.size), sums[:, varying] / spread[varying]], axis=1)
        return cls(matrix, (one_hot @ matrix).mean(axis=0))

    def of_rows(self, one_hot: Float) -> Float:
        rows: Float = one_hot @ self.matrix - self.centre
        return rows

    def fold_in(
        self,
        layout: FeatureLayout,
        layers: list[tuple[Float, Float]],
        scale: float,
        slope: Float,
        offset: Float,
        precision: str,
    ) -> AccuracyPredictor:
        """The predictor on raw one-hot genes that equals networks (times scale) plus ridges on these inputs."""
        weights, biases = [w for w, _ in layers], [b for _, b in layers]
        biases[0] = biases[0] - np.einsum("i,mih->mh", self.centre, weights[0])
        weights[0] = np.einsum("fi,mih->mfh", self.matrix, weights[0])
        weights[-1] = weights[-1] * scale
        biases[-1] = biases[-1] * scale + (offset - slope @ self.centre)[:, None]
        return AccuracyPredictor(
            layout,
            tuple(w.astype(np.float32) for w in weights),
            tuple(b.astype(np.float32) for b in biases),
            (slope @ self.matrix.T).astype(np.float32),
            precision,
        )
