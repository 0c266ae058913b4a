import numpy as np
import pytest

from nas_edge.accuracy import AccuracySet, FeatureLayout, kendall_tau
from nas_edge.errors import TrainingError
from nas_edge.spaces import SearchSpace
from nas_edge.training.fitting.accuracy_fit import FitOptions, fit_accuracy_predictor, sums_of_genes
from nas_edge.training.fitting.distilling import ImitationOptions

SPACE = SearchSpace.named("lite0")
QUICK = FitOptions(imitation=ImitationOptions(rows=200, steps=30))


def truth(population):
    """Saturating in MACs and parameters, with a quirk of each gene that depth amplifies."""
    macs, params = SPACE.macs(population, 6) / 1e6, SPACE.params(population, 6) / 1e6
    quirk = FeatureLayout.of(SPACE).one_hot(population) @ np.random.default_rng(5).normal(0, 0.004, 82)
    depth = SPACE.depths(population).sum(axis=1)
    return 0.93 - 0.25 * macs**-0.7 - 0.03 * params**-0.5 + quirk * depth / 15


def measured(n, images, seed=0):
    rng = np.random.default_rng(seed)
    population = SPACE.sample(n, rng)
    # The same images are hard for all subnets.
    hardness = rng.normal(0, 0.02, images)
    bits = rng.random((n, images, 1)) < (truth(population)[:, None] + hardness)[:, :, None]
    return AccuracySet.of_bits(population, bits, ["holdout" if i % 4 == 0 else "train" for i in range(n)])


def test_the_fit_reaches_nine_tenths_of_the_ceiling_s_tau():
    data = measured(400, 8000)
    predictor, report = fit_accuracy_predictor(SPACE, data)
    assert report.tau > 0.9 * report.ceiling.tau
    assert (report.train, report.holdout) == (300, 100)
    fresh = SPACE.sample(500, np.random.default_rng(9))
    assert kendall_tau(predictor.predict(fresh), truth(fresh)) > 0.8
    assert predictor.figures["tau"] == report.tau


def test_networks_improve_on_the_linear_part_where_labels_are_clean():
    rng = np.random.default_rng(0)
    population = SPACE.sample(500, rng)
    images = 10**7
    correct = np.round(truth(population) * images).astype(np.int64)
    roles = ("train",) * 300 + ("holdout",) * 200
    ones = np.ones(500, np.int64)
    data = AccuracySet(population, correct, images * ones, ones, roles, ("fp32",) * 500)
    _, report = fit_accuracy_predictor(SPACE, data)
    assert report.ceiling is None
    assert report.tau > report.linear_tau + 0.01
    assert report.tau > 0.9


def test_the_same_seed_fits_the_same_predictor():
    data, options = measured(60, 500), QUICK
    first, second = (fit_accuracy_predictor(SPACE, data, options=options, seed=3)[0] for _ in range(2))
    assert np.array_equal(first.predict(data.population), second.predict(data.population))


def test_without_held_out_subnets_the_folds_judge():
    data = measured(60, 500)
    data = AccuracySet.of_bits(data.population, data.bits, ("train",) * 60)
    _, report = fit_accuracy_predictor(SPACE, data, options=QUICK)
    assert report.holdout == 0
    assert (report.rmse, report.tau) == (report.fold_rmse, report.fold_tau)


def test_sums_of_genes_are_depths_and_totals():
    space = SearchSpace.named("mcu")
    population = space.sample(20, np.random.default_rng(0))
    layout = FeatureLayout.of(space)
    sums = layout.one_hot(population) @ sums_of_genes(layout)
    depths = space.depths(population)
    assert any(np.allclose(column, depths.sum(axis=1)) for column in sums.T)
    assert any(np.allclose(column, depths[:, 1]) for column in sums.T)


def test_too_few_subnets_are_refused():
    with pytest.raises(TrainingError, match="at least 20"):
        fit_accuracy_predictor(SPACE, measured(20, 50))
    with pytest.raises(TrainingError, match="not 0"):
        fit_accuracy_predictor(SPACE, measured(100, 50), precision="int8")


def test_where_all_subnets_are_equally_accurate_the_predictor_says_so():
    # Images so easy that every subnet knows them all: hours of training must not end without a bundle.
    data, told = measured(100, 50), []
    flat = AccuracySet.of_bits(data.population, np.ones_like(data.bits), data.roles)
    predictor, report = fit_accuracy_predictor(
        SPACE, flat, options=QUICK, progress=lambda done, total, text: told.append(text)
    )
    assert np.allclose(predictor.predict(SPACE.sample(200, np.random.default_rng(1))), 1.0, atol=1e-6)
    assert np.isfinite(list(report.figures().values())).all()
    assert (report.tau, report.curve) == (0.0, ())
    assert any("equally accurate" in text for text in told)


def test_a_handful_of_search_images_makes_a_predictor_without_a_ceiling():
    data = measured(40, 3)
    predictor, report = fit_accuracy_predictor(SPACE, data, options=QUICK)
    assert report.ceiling is None
    assert "ceiling_tau" not in predictor.figures


def test_the_learning_curve_falls_and_ends_where_all_subnets_are_used():
    data = measured(160, 400)
    _, report = fit_accuracy_predictor(SPACE, data, options=QUICK)
    counts = [point.subnets for point in report.curve]
    assert counts == [round(share * report.train) for share in (0.25, 0.5, 1.0)]
    assert report.curve[0].rmse > report.curve[-1].rmse
    assert report.curve[0].tau < report.curve[-1].tau
    assert report.curve[-1].rmse == pytest.approx(report.rmse, rel=0.5)
