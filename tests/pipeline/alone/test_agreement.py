"""Kendall's tau between two ways to get a network's accuracy, and what chance makes of it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kendalltau

from nas_edge.pipeline.alone.agreement import Agreement, subnets_by_quartile
from nas_edge.spaces import SearchSpace

IMAGES = 400


def answers(accuracy: np.ndarray, seed: int, views: int = 2) -> np.ndarray:
    """Right with the given chance, images being differently hard."""
    rng = np.random.default_rng(seed)
    return rng.random((len(accuracy), IMAGES, views)) < accuracy[:, None, None]


def test_tau_is_that_of_scipy_and_lies_in_its_intervals() -> None:
    true = np.linspace(0.6, 0.9, 12)
    inherited, alone = answers(true, 0), answers(true + 0.03, 1)
    found = Agreement.of(inherited, alone)
    expected = kendalltau(inherited.mean(axis=(1, 2)), alone.mean(axis=(1, 2))).statistic
    assert found.tau == pytest.approx(expected)
    for low, high in (found.over_subnets, found.over_images):
        assert low <= found.tau <= high
        assert low < high
    assert found.gap == pytest.approx(0.03, abs=0.02)


def test_ways_that_have_nothing_in_common_have_an_interval_about_zero() -> None:
    rng = np.random.default_rng(3)
    found = Agreement.of(answers(rng.uniform(0.5, 0.9, 12), 0), answers(rng.uniform(0.5, 0.9, 12), 1))
    low, high = found.over_subnets
    assert low < 0 < high


def test_noise_lowers_what_the_labels_allow() -> None:
    wide, narrow = np.linspace(0.5, 0.9, 12), np.linspace(0.70, 0.72, 12)
    clear = Agreement.of(answers(wide, 0), answers(wide, 1))
    blurred = Agreement.of(answers(narrow, 0), answers(narrow, 1))
    assert clear.ceiling > 0.85 > blurred.ceiling
    # Of 400 images in two independent views: sqrt(0.21 / 800) = 1.6 points.
    assert blurred.noise[0] == pytest.approx(0.016, abs=0.004)


def test_subnets_are_three_of_each_quartile_and_the_same_for_a_seed() -> None:
    space = SearchSpace.named("mcu-tiny")
    rows = subnets_by_quartile(space, 10, 3, 0)
    macs = space.macs(rows, 10)
    assert len(np.unique(rows, axis=0)) == 12
    assert (np.diff(macs) >= 0).all()
    pool = space.macs(space.sample(4000, np.random.default_rng(9)), 10)
    edges = np.quantile(pool, [0.25, 0.5, 0.75])
    assert np.abs(np.bincount(np.searchsorted(edges, macs), minlength=4) - 3).max() <= 1  # another sample's quartiles
    assert (rows == subnets_by_quartile(space, 10, 3, 0)).all()
    assert not np.array_equal(rows, subnets_by_quartile(space, 10, 3, 1))
