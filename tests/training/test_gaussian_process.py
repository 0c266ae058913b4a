"""The process that accuracies are learnt by, beside formulas and functions known beforehand."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import check_grad

from nas_edge.accuracy import rmse
from nas_edge.spaces import Population, SearchSpace
from nas_edge.training.fitting import gaussian_process
from nas_edge.training.fitting.distilling import ImitationOptions, fit_lines, fit_networks, wide_population
from nas_edge.training.fitting.gaussian_process import GaussianProcess, Traits

SPACE = SearchSpace.named("mcu-tiny")


def truth(population: Population) -> NDArray[np.float64]:
    """Saturating in MACs, with an effect of one gene."""
    curve: NDArray[np.float64] = 0.95 - 0.3 * (SPACE.macs(population, 10) / 1e5) ** -0.4
    return curve - 0.02 * (population[:, SPACE.columns["s1.1.k"]] == 1)


def test_the_gradient_of_the_likelihood_is_its_slope() -> None:
    population = SPACE.sample(30, np.random.default_rng(0))
    traits = Traits.of(SPACE, population)
    seen = traits(population)
    parts = gaussian_process._parts(traits.groups, seen, seen)
    count = 2 * len(traits.groups) + 3
    mean, deviation = np.full(count, -0.2), np.full(count, 1.3)
    labels = np.random.default_rng(1).normal(size=30)

    def part(which: int):  # type: ignore[no-untyped-def]
        return lambda at: gaussian_process._loss(at, labels, parts, mean, deviation)[which]

    for seed in range(3):
        assert check_grad(part(0), part(1), np.random.default_rng(seed).normal(0, 0.5, count)) < 1e-4


def test_noise_is_told_from_the_function_and_averaged_out() -> None:
    rng = np.random.default_rng(0)
    population, fresh = SPACE.sample(250, rng), SPACE.sample(300, rng)
    labels = truth(population) + rng.normal(0, 0.01, 250)
    process = GaussianProcess.fit(Traits.of(SPACE, population), population, labels)
    assert 0.007 < process.noise < 0.013
    assert rmse(process.predict(fresh), truth(fresh)) < 0.005


def test_clean_labels_are_met() -> None:
    population = SPACE.sample(200, np.random.default_rng(0))
    fresh = SPACE.sample(200, np.random.default_rng(1))
    process = GaussianProcess.fit(Traits.of(SPACE, population), population, truth(population))
    assert rmse(process.predict(fresh), truth(fresh)) < 0.002


def test_traits_do_not_hold_constant_genes_against_anything() -> None:
    space = SPACE.restrict([28])
    population = space.sample(40, np.random.default_rng(0))
    assert np.isfinite(Traits.of(space, population)(population)).all()
    process = GaussianProcess.fit(Traits.of(space, population), population, truth(population))
    assert np.isfinite(process.predict(space.sample(10, np.random.default_rng(1)))).all()


def test_a_wide_population_reaches_the_corners_and_is_valid() -> None:
    space = SearchSpace.named("lite0")
    population = wide_population(space, 2000, np.random.default_rng(0))
    assert population.shape == (2000, len(space.genes))
    assert space.is_valid(population).all()
    macs, uniform = space.macs(population, 10), space.macs(space.sample(2000, np.random.default_rng(0)), 10)
    assert macs.min() < uniform.min()
    assert macs.max() > uniform.max()


def test_networks_imitate_what_lines_cannot() -> None:
    rng = np.random.default_rng(0)
    x, fresh = rng.normal(size=(4000, 6)), rng.normal(size=(500, 6))

    def curves(rows: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.stack([np.tanh(rows[:, 0] * rows[:, 1]), np.abs(rows[:, 2]) - 0.8])

    slope, offset = fit_lines(x, curves(x))
    line = slope @ fresh.T + offset[:, None]
    layers = fit_networks(x, curves(x), ImitationOptions(steps=1500), np.random.default_rng(0))
    outputs = np.broadcast_to(fresh, (2, *fresh.shape))
    for i, (weight, bias) in enumerate(layers):
        outputs = (np.maximum(outputs, 0) if i else outputs) @ weight + bias[:, None]
    for member in range(2):
        error = rmse(outputs[member, :, 0], curves(fresh)[member])
        assert error < 0.1
        assert error < rmse(line[member], curves(fresh)[member]) / 4


def test_lines_are_found_though_choices_sum_to_one() -> None:
    rng = np.random.default_rng(0)
    x = np.eye(3)[rng.integers(0, 3, 100)]
    slope, offset = fit_lines(x, np.stack([x @ [1.0, 2.0, 4.0], np.full(100, 7.0)]))
    assert np.allclose(np.eye(3) @ slope[0] + offset[0], [1.0, 2.0, 4.0], atol=1e-4)
    assert np.allclose(np.eye(3) @ slope[1] + offset[1], 7.0, atol=1e-4)


def test_what_a_label_is_missed_by_is_what_the_others_say_of_it() -> None:
    population = SPACE.sample(25, np.random.default_rng(0))
    traits, labels = Traits.of(SPACE, population), truth(population)
    process = GaussianProcess.fit(traits, population, labels)
    seen, scaled = traits(population), (labels - process.centre) / process.spread
    kernel = gaussian_process._kernel(process.at, gaussian_process._parts(traits.groups, seen, seen))[0]
    noisy = kernel + (np.exp(2 * process.at[-1]) + gaussian_process._JITTER) * np.eye(25)
    for i in range(25):
        others = np.arange(25) != i
        said = kernel[i, others] @ np.linalg.solve(noisy[np.ix_(others, others)], scaled[others])
        assert process.left_out[i] == pytest.approx(process.spread * (scaled[i] - said), rel=1e-3, abs=1e-6)
