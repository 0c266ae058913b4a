"""Fitting the accuracy predictor to a few hundred measured subnets. Numpy: the problem is too small for anything else.

Each member is a ridge regression plus a small network for what that leaves over, fitted to all subnets but one fold;
the fold decides the ridge's strength and when the network's training stops (at once where it brings nothing). Beside
the one-hot genes both see sums over each stage and over the network (depth, kernels, ratios, log resolution): with
few and noisy subnets that is what generalises. The sums are linear in the genes, so they are folded into the weights.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas_edge.accuracy import (
    AccuracyPredictor,
    AccuracySet,
    FeatureLayout,
    NoiseCeiling,
    kendall_tau,
    noise_ceiling,
    rmse,
)
from nas_edge.errors import TrainingError
from nas_edge.progress import Progress, silent
from nas_edge.spaces import SearchSpace

Float = NDArray[np.float64]

MIN_SUBNETS = 20


@dataclass(frozen=True)
class FitOptions:
    """How the ensemble is fitted.

    Attributes:
        members: networks, one a fold.
        hidden: units of the hidden layers.
        steps: most full-batch Adam steps of the networks.
        learning_rate: of Adam.
        weight_decay: decoupled, on the networks' weights.
        patience: steps without a better fold error before a network's training ends.

    """

    members: int = 5
    hidden: tuple[int, ...] = (64,)
    steps: int = 600
    learning_rate: float = 3e-3
    weight_decay: float = 3e-2
    patience: int = 150


@dataclass(frozen=True)
class FitReport:
    """How good the predictor is on subnets it was not fitted to.

    Attributes:
        rmse: on the held-out subnets, as a fraction of 1.
        tau: Kendall's tau on the held-out subnets.
        linear_tau: the same of the ridge regressions alone.
        fold_rmse, fold_tau: of each training subnet by the member that did not see it.
        ceiling: what their labels' noise lets a perfect predictor reach; None without the single answers.
        train, holdout: numbers of subnets.

    """

    rmse: float
    tau: float
    linear_tau: float
    fold_rmse: float
    fold_tau: float
    ceiling: NoiseCeiling | None
    train: int
    holdout: int

    @property
    def share_of_ceiling(self) -> float | None:
        """Tau over the ceiling's tau; None where there is none."""
        return self.tau / self.ceiling.tau if self.ceiling and self.ceiling.tau > 0 else None

    def figures(self) -> dict[str, float]:
        """As plain figures, to be stored with the predictor."""
        plain = {"rmse": self.rmse, "tau": self.tau, "linear_tau": self.linear_tau, "fold_rmse": self.fold_rmse}
        plain |= {"fold_tau": self.fold_tau, "train": float(self.train), "holdout": float(self.holdout)}
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
    seed: int = 0,
    progress: Progress = silent,
) -> tuple[AccuracyPredictor, FitReport]:
    """Fit an ensemble to the "train" subnets of one precision and judge it on the "holdout" ones.

    Args:
        space: of the subnets.
        data: measured subnets.
        options: how to fit.
        precision: which of the subnets' precisions to predict.
        seed: of folds and initial weights.
        progress: called now and then.

    Returns:
        The predictor, its figures inside, and the report.

    Raises:
        TrainingError: fewer than 20 subnets to fit to, or all equally accurate.

    """
    options = options or FitOptions()
    data = data.of_precision(precision)
    train, holdout = data.with_role("train"), data.with_role("holdout")
    if len(train) < max(MIN_SUBNETS, options.members):
        raise TrainingError(
            f"an accuracy predictor needs at least {MIN_SUBNETS} subnets measured in {precision}, "
            f"not {len(train)}; evaluate more"
        )
    if np.ptp(train.accuracy) == 0:
        raise TrainingError(f"all {len(train)} subnets are equally accurate: there is nothing to predict")
    rng = np.random.default_rng(seed)
    layout = FeatureLayout.of(space)
    inputs = _Inputs.of(layout, layout.one_hot(train.population).astype(np.float64))
    x, y = inputs.of_rows(layout.one_hot(train.population).astype(np.float64)), train.accuracy
    fold = rng.permutation(len(train)) % options.members
    ridges = [_ridge(x[fold != m], y[fold != m], x[fold == m], y[fold == m]) for m in range(options.members)]
    slope, offset = np.stack([ridge[0] for ridge in ridges]), np.array([ridge[1] for ridge in ridges])
    rest = y - (slope @ x.T + offset[:, None])
    scale = float(rest.std()) or 1.0
    layers = _train_networks(x, rest / scale, fold, options, rng, progress)
    predictor = inputs.fold_in(layout, layers, scale, slope, offset, precision)
    seen = predictor_of_members(predictor, train)
    by_fold = seen[fold, np.arange(len(train))]
    linear = inputs.fold_in(layout, [(np.zeros_like(w), np.zeros_like(b)) for w, b in layers], scale, slope, offset, "")
    judged = holdout if len(holdout) > 1 else train
    predicted = predictor.predict(judged.population)
    report = FitReport(
        rmse=rmse(predicted, judged.accuracy) if len(holdout) > 1 else rmse(by_fold, y),
        tau=kendall_tau(predicted, judged.accuracy) if len(holdout) > 1 else kendall_tau(by_fold, y),
        linear_tau=kendall_tau(linear.predict(judged.population), judged.accuracy),
        fold_rmse=rmse(by_fold, y),
        fold_tau=kendall_tau(by_fold, y),
        ceiling=noise_ceiling(judged.bits, seed=seed) if judged.bits is not None and len(judged) > 2 else None,
        train=len(train),
        holdout=len(holdout),
    )
    return replace(predictor, figures=report.figures()), report


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


def _ridge(x: Float, y: Float, x_fold: Float, y_fold: Float) -> tuple[Float, float]:
    """Slope [inputs] and offset; the strength with the least leave-one-out and fold error together."""
    centre, mean = x.mean(axis=0), float(y.mean())
    left, singular, right = np.linalg.svd(x - centre, full_matrices=False)
    projected = left.T @ (y - mean)
    best: tuple[float, Float] | None = None
    for strength in np.geomspace(1e-2, 1e4, 37):
        kept = singular**2 / (singular**2 + strength)
        residual = y - mean - left @ (kept * projected)
        leverage = (left**2) @ kept + 1 / len(y)
        slope = right.T @ (singular / (singular**2 + strength) * projected)
        errors = np.append(residual / (1 - leverage), y_fold - mean - (x_fold - centre) @ slope)
        error = float(np.mean(errors**2))
        if best is None or error < best[0]:
            best = error, slope
    assert best is not None
    return best[1], mean - float(centre @ best[1])


def _train_networks(
    x: Float, y: Float, fold: NDArray[Any], options: FitOptions, rng: np.random.Generator, progress: Progress
) -> list[tuple[Float, Float]]:
    """All members at once; of each the weights that were best on its fold.

    Args:
        x: [n, inputs].
        y: [members, n], what each member is to learn.
        fold: [n], the member that does not see the row.
        options: as given.
        rng: for the initial weights.
        progress: called now and then.

    """
    members, n = y.shape
    unseen = fold == np.arange(members)[:, None]
    weight_of = ~unseen / (~unseen).sum(axis=1, keepdims=True)
    sizes = [x.shape[1], *options.hidden, 1]
    length = float(np.sqrt((x**2).sum(axis=1).mean()))
    x = x / length
    # Rows of length one: the first layer needs no division by its number of inputs to give units of variance one.
    spreads = [1.0, *(np.sqrt(2 / size) for size in sizes[1:])]
    layers = [
        (rng.normal(0, spread, (members, a, b)), np.zeros((members, b)))
        for a, b, spread in zip(sizes, sizes[1:], spreads, strict=False)
    ]
    # A network that starts from zero output is left out of its member unless its fold gets better by it.
    layers[-1] = (layers[-1][0] * 0.0, layers[-1][1])
    moments = [[(np.zeros_like(p), np.zeros_like(p)) for p in layer] for layer in layers]
    best = [(w.copy(), b.copy()) for w, b in layers]
    best_error = np.full(members, np.inf)
    best_step = np.zeros(members, int)
    for step in range(options.steps + 1):
        outputs = [np.broadcast_to(x, (members, *x.shape))]
        for i, (w, b) in enumerate(layers):
            inner = np.matmul(outputs[-1], w) + b[:, None]
            outputs.append(np.maximum(inner, 0) if i < len(layers) - 1 else inner)
        residual = outputs[-1][:, :, 0] - y
        error = (residual**2 * unseen).sum(axis=1) / unseen.sum(axis=1)
        better = error < best_error * (1 - 1e-3)
        best_error = np.where(better, error, best_error)
        best_step = np.where(better, step, best_step)
        for (w, b), (kept_w, kept_b) in zip(layers, best, strict=True):
            kept_w[better], kept_b[better] = w[better], b[better]
        if step - best_step.max() > options.patience or step == options.steps:
            break
        if step % 50 == 0:
            progress(step, options.steps, f"fitting the accuracy predictor to {n} subnets")
        slope = (2 * residual * weight_of)[:, :, None]
        decay = options.learning_rate * options.weight_decay
        for i in reversed(range(len(layers))):
            w, b = layers[i]
            gradients = (np.matmul(outputs[i].transpose(0, 2, 1), slope), slope.sum(axis=1))
            if i:
                slope = np.matmul(slope, w.transpose(0, 2, 1)) * (outputs[i] > 0)
            for parameter, gradient, moment in zip((w, b), gradients, moments[i], strict=True):
                _adam(parameter, gradient, moment, step + 1, options.learning_rate)
            w *= 1 - decay
    return [(w / length if i == 0 else w, b) for i, (w, b) in enumerate(best)]


def _adam(parameter: Float, gradient: Float, moment: tuple[Float, Float], step: int, rate: float) -> None:
    """One step of Adam (Kingma and Ba, 2015), in place."""
    first, second = moment
    first += 0.1 * (gradient - first)
    second += 0.001 * (gradient**2 - second)
    parameter -= rate * (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
