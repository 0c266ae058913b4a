"""A prior's line with a process on top: exact where the prior is right, put aside where it is wrong."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from nas_edge.accuracy import AccuracySet, rmse
from nas_edge.errors import TrainingError
from nas_edge.spaces import Population, SearchSpace
from nas_edge.training.fitting.accuracy_fit import FitOptions, fit_accuracy_predictor
from nas_edge.training.fitting.distilling import ImitationOptions
from nas_edge.training.fitting.gaussian_process import GaussianProcess, Traits
from nas_edge.training.fitting.guided import MIN_GUIDED, GuidedProcess

SPACE = SearchSpace.named("mcu-tiny")
QUICK = FitOptions(imitation=ImitationOptions(rows=500, steps=100))


def score(population: Population) -> NDArray[np.float64]:
    """A figure that no sum of genes is."""
    figures: NDArray[np.float64] = np.sin(population.astype(np.float64) @ np.arange(1, population.shape[1] + 1))
    return figures[:, None]


def some(count: int, seed: int) -> Population:
    rows = np.unique(SPACE.sample(4 * count, np.random.default_rng(seed)), axis=0)
    chosen: Population = rows[np.random.default_rng(seed).permutation(len(rows))[:count]]
    return chosen


def test_ten_labels_are_enough_where_accuracy_is_a_rising_line_of_the_prior() -> None:
    rows, fresh = some(10, 0), some(200, 1)

    def truth(population: Population) -> NDArray[np.float64]:
        return 0.7 + 0.1 * score(population)[:, 0]

    process = GuidedProcess.fit(Traits.of(SPACE, rows), rows, truth(rows), score)
    assert process.slopes == pytest.approx([0.1])
    assert rmse(process.predict(fresh), truth(fresh)) < 1e-6
    assert rmse(GaussianProcess.fit(Traits.of(SPACE, rows), rows, truth(rows)).predict(fresh), truth(fresh)) > 0.03


def test_a_prior_that_promises_most_for_the_worst_is_put_aside_not_turned_round() -> None:
    rows, fresh = some(30, 0), some(50, 1)
    traits, labels = Traits.of(SPACE, rows), 0.7 - 0.1 * score(rows)[:, 0]
    process = GuidedProcess.fit(traits, rows, labels, score)
    assert process.slopes == pytest.approx([0.0])
    assert process.predict(fresh) == pytest.approx(GaussianProcess.fit(traits, rows, labels).predict(fresh))


def test_figures_of_any_scale_and_constant_ones_do_no_harm() -> None:
    rows = some(20, 0)

    def figures(population: Population) -> NDArray[np.float64]:
        return np.concatenate([1e9 * score(population) - 1e12, np.full((len(population), 1), 7.0)], axis=1)

    labels = 0.7 + 0.1 * score(rows)[:, 0]
    process = GuidedProcess.fit(Traits.of(SPACE, rows), rows, labels, figures)
    assert process.slopes == pytest.approx([1e-10, 0.0], rel=1e-3)
    assert rmse(process.predict(some(50, 1)), 0.7 + 0.1 * score(some(50, 1))[:, 0]) < 1e-3


def test_with_a_prior_a_predictor_is_fitted_to_half_as_many_subnets() -> None:
    rows, images, rng = some(MIN_GUIDED, 0), 400, np.random.default_rng(0)

    def figures(population: Population) -> NDArray[np.float64]:
        return np.log(SPACE.macs(population, 10))[:, None]

    accuracy = 0.2 + 0.05 * figures(rows)[:, 0]
    bits = rng.random((len(rows), images, 1)) < accuracy[:, None, None]
    data = AccuracySet.of_bits(rows, bits, ["train"] * len(rows))
    predictor, report = fit_accuracy_predictor(SPACE, data, options=QUICK, prior=figures)
    assert (report.train, report.holdout, report.curve) == (MIN_GUIDED, 0, ())
    assert predictor.members == 5
    assert np.isfinite(predictor.predict(some(50, 1))).all()
    with pytest.raises(TrainingError, match="at least 20 subnets"):
        fit_accuracy_predictor(SPACE, data, options=QUICK)
    with pytest.raises(TrainingError, match="at least 10 subnets"):
        fit_accuracy_predictor(SPACE, data.select(np.arange(len(rows)) > 0), options=QUICK, prior=figures)
