"""The predictor of another precision: fp32 plus what pairs say, and nothing where they say nothing."""

from __future__ import annotations

import numpy as np
import pytest

from nas_edge.accuracy import AccuracyPredictor, AccuracySet, FeatureLayout, rmse
from nas_edge.errors import SpaceError, TrainingError
from nas_edge.spaces import SearchSpace
from nas_edge.training.fitting.accuracy_fit import sums_of_genes
from nas_edge.training.fitting.paired_fit import fit_paired_predictor

SPACE = SearchSpace.named("lite0")
IMAGES = 20_000


@pytest.fixture(scope="module")
def base() -> AccuracyPredictor:
    """Exact for fp32: 0.9 and a little more for each pixel and block."""
    layout = FeatureLayout.of(SPACE)
    slope = (sums_of_genes(layout) @ np.full(sums_of_genes(layout).shape[1], 1e-4)).astype(np.float32)
    zero = np.zeros((3, layout.size, 1), np.float32)
    return AccuracyPredictor(layout, (zero,), (np.full((3, 1), 0.8, np.float32),), np.repeat(slope[None], 3, axis=0))


def pairs(base: AccuracyPredictor, n: int, loss, seed: int = 0) -> AccuracySet:
    rows = SPACE.sample(n, np.random.default_rng(seed))
    plain = base.predict(rows)
    correct = np.concatenate([plain * IMAGES, (plain - loss(rows)) * IMAGES]).round().astype(np.int64)
    roles = ["holdout" if i % 4 == 0 else "train" for i in range(n)]
    return AccuracySet(
        np.concatenate([rows, rows]), correct, np.full(2 * n, IMAGES), np.ones(2 * n, np.int64), tuple(roles * 2),
        ("fp32",) * n + ("int8",) * n,
    )  # fmt: skip


def by_resolution(rows: np.ndarray) -> np.ndarray:
    """Small images lose more."""
    return 0.02 - 0.002 * rows[:, SPACE.columns["r"]]


def test_a_loss_that_follows_the_genes_is_learned_from_few_pairs(base: AccuracyPredictor) -> None:
    corrected, report = fit_paired_predictor(SPACE, base, pairs(base, 60, by_resolution), "int8")
    fresh = SPACE.sample(500, np.random.default_rng(9))
    truth = base.predict(fresh) - by_resolution(fresh)
    assert rmse(corrected.predict(fresh), truth) < 0.2 * rmse(base.predict(fresh), truth)
    assert report.explained > 0.8
    assert report.rmse < report.uncorrected_rmse
    assert report.mean_change == pytest.approx(-by_resolution(fresh).mean(), abs=0.002)
    assert (report.train, report.holdout) == (45, 15)
    assert corrected.precision == "int8"
    assert corrected.figures["tau"] == report.tau


def test_a_loss_without_a_pattern_becomes_a_constant(base: AccuracyPredictor) -> None:
    noise = np.random.default_rng(1)
    corrected, report = fit_paired_predictor(
        SPACE, base, pairs(base, 60, lambda rows: 0.01 + noise.normal(0, 0.003, len(rows))), "int8"
    )
    fresh = SPACE.sample(500, np.random.default_rng(9))
    shift = corrected.predict(fresh) - base.predict(fresh)
    assert report.explained < 0.3
    assert shift == pytest.approx(-0.01, abs=0.004)


def test_subnets_without_a_partner_do_not_count(base: AccuracyPredictor) -> None:
    data = pairs(base, 24, by_resolution)
    alone = data.select(np.array([p == "int8" or i % 2 == 0 for i, p in enumerate(data.precisions)]))
    with pytest.raises(TrainingError, match="at least 20 subnets measured in fp32 and int8, not"):
        fit_paired_predictor(SPACE, base, alone, "int8")


def test_a_predictor_of_another_space_is_refused(base: AccuracyPredictor) -> None:
    with pytest.raises(SpaceError, match="lite0"):
        fit_paired_predictor(SearchSpace.named("mcu"), base, pairs(base, 60, by_resolution), "int8")
