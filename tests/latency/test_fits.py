"""NNLS, the parametric model and the calibration recover what made the data."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import nnls as reference_nnls

from nas_edge.latency.calibration import Third, fit_calibration, normal_quantile
from nas_edge.latency.nnls import RIDGE, nnls
from nas_edge.latency.parametric import MIN_ROWS, PRIOR_LOG_ERROR, features, fit_parametric, prior_model
from nas_edge.latency.plan import distinct_blocks
from nas_edge.spaces import BlockSpec, Kind, SearchSpace

from .toy import block_ms


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), rows=st.integers(3, 30), columns=st.integers(1, 8))
def test_nnls_is_as_good_as_somebody_elses(seed: int, rows: int, columns: int) -> None:
    rng = np.random.default_rng(seed)
    design, target = rng.standard_normal((rows, columns)), rng.standard_normal(rows)
    # Ours minimises with a hair of ridge on scaled columns; as rows of their own any solver can be given it.
    ridge = np.sqrt(RIDGE) * np.diag(np.linalg.norm(design, axis=0))
    whole, aim = np.vstack([design, ridge]), np.concatenate([target, np.zeros(columns)])
    ours, (_, theirs) = nnls(design, target), reference_nnls(whole, aim)
    assert (ours >= 0).all()
    assert np.linalg.norm(whole @ ours - aim) <= theirs + 1e-5


def test_nnls_of_nothing_is_zero() -> None:
    assert nnls(np.zeros((4, 3)), np.ones(4)).tolist() == [0, 0, 0]


def test_all_features_are_finite_and_non_negative() -> None:
    for name in ("lite0", "mbv3-32", "mcu"):
        design = features(distinct_blocks(SearchSpace.named(name), 10))
        assert np.isfinite(design).all()
        assert (design >= 0).all()


def test_the_model_prices_resolutions_that_it_has_not_seen() -> None:
    space = SearchSpace.named("lite0")
    seen = distinct_blocks(space.restrict([64, 96, 128, 160]), 10)
    unseen = [b for b in distinct_blocks(space, 10) if b not in set(seen)]
    model = fit_parametric({block: block_ms(block) for block in seen})
    assert model is not None
    ratio = model.predict(unseen) / np.array([block_ms(b) for b in unseen])
    assert np.abs(np.log(ratio)).mean() < 0.05
    assert 0 < model.log_error(Kind.INVERTED_RESIDUAL) < 0.2


def test_a_launch_bound_device_is_modelled_by_the_greater_part() -> None:
    blocks = distinct_blocks(SearchSpace.named("lite0"), 10)
    truth = {b: max(0.3 * (2 + b.expands), b.macs / 3e6) for b in blocks if b.kind is Kind.INVERTED_RESIDUAL}
    model = fit_parametric(truth)
    assert model is not None
    assert model.own[Kind.INVERTED_RESIDUAL].overlapped
    assert np.abs(model.predict(list(truth)) / np.array(list(truth.values())) - 1).mean() < 0.05


def test_what_a_pixel_costs_whatever_its_channels_is_known_for_other_widths() -> None:
    """In 8 bits the patches of a stem are gathered one by one, and that is nearly all of its time."""
    stages = SearchSpace.named("lite0").template

    def times(*widths: float) -> dict[BlockSpec, float]:
        space = SearchSpace(replace(stages, widths=widths))
        blocks = distinct_blocks(space, 10)
        return {b: 1e-4 * b.out_height * b.out_width if b.kind is Kind.STEM else block_ms(b) for b in blocks}

    model = fit_parametric(times(1.0, 1.5))
    assert model is not None
    wanted = {b: ms for b, ms in times(0.5).items() if b.kind is Kind.STEM}
    ratio = model.predict(list(wanted)) / np.array(list(wanted.values()))
    assert ratio.min() > 0.6  # other layers tell what a multiply-add costs, by which alone it would be 0.4


def test_of_two_forms_that_fit_alike_the_sum_is_kept() -> None:
    blocks = [b for b in distinct_blocks(SearchSpace.named("lite0"), 10) if b.kind is Kind.INVERTED_RESIDUAL]
    model = fit_parametric({b: b.macs / 3e6 for b in blocks})  # no launches at all: both forms are right
    assert model is not None
    assert not model.launch_bound


def test_few_rows_make_no_model_and_a_lone_kind_is_priced_by_the_pool() -> None:
    blocks = distinct_blocks(SearchSpace.named("lite0").restrict([64, 128]), 10)
    assert fit_parametric({b: block_ms(b) for b in blocks[: MIN_ROWS - 1]}) is None
    model = fit_parametric({b: block_ms(b) for b in blocks if b.kind is Kind.INVERTED_RESIDUAL})
    assert model is not None
    assert (model.predict([BlockSpec(Kind.POOLING, 5, 5, 1280, 1280, 1280, groups=1280)]) > 0).all()


def test_a_prior_grows_with_macs_and_is_never_free() -> None:
    model = prior_model("cpu")
    blocks = sorted(distinct_blocks(SearchSpace.named("lite0"), 10), key=lambda b: b.macs)
    prices = model.predict(blocks)
    assert (prices > 0).all()
    assert prices[-1] > 10 * prices[0]
    assert model.log_error(Kind.STEM) == PRIOR_LOG_ERROR
    assert prior_model("no such class").predict(blocks)[0] == prices[0]


def made_networks(m: int, rng: np.random.Generator, noise: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    sums, megabytes = rng.uniform(1, 10, m), rng.uniform(2, 14, m)
    return sums, megabytes, (0.1 + 0.9 * sums + 0.03 * megabytes) * np.exp(noise * rng.standard_normal(m))


def test_calibration_recovers_its_three_terms() -> None:
    sums, megabytes, ms = made_networks(10, np.random.default_rng(0))
    fit = fit_calibration(sums, megabytes, ms)
    assert fit is not None
    assert fit.coefficients == pytest.approx([0.1, 0.9, 0.03], rel=1e-2, abs=1e-3)
    assert fit.point(fit.work(sums, megabytes)) == pytest.approx(ms, rel=1e-3)


@pytest.mark.parametrize(("m", "terms"), [(1, 1), (2, 1), (3, 2), (5, 2), (6, 3)])
def test_few_networks_support_few_terms(m: int, terms: int) -> None:
    fit = fit_calibration(*made_networks(m, np.random.default_rng(1), 0.001))
    assert fit is not None
    assert (fit.coefficients != 0).sum() == terms
    assert fit.networks == m


def test_one_wild_network_does_not_bend_the_fit() -> None:
    sums, megabytes, ms = made_networks(15, np.random.default_rng(2), 0.005)
    ms[3] *= 1.5
    fit = fit_calibration(sums, megabytes, ms)
    assert fit is not None
    error = np.abs(fit.point(fit.work(sums, megabytes)) / (0.1 + 0.9 * sums + 0.03 * megabytes) - 1)
    assert error.mean() < 0.02


def test_no_networks_make_no_calibration() -> None:
    assert fit_calibration(np.zeros(0), np.zeros(0), np.zeros(0)) is None


@pytest.mark.parametrize("confidence", [0.8, 0.9])
def test_bounds_hold_as_often_as_they_say(confidence: float) -> None:
    rng = np.random.default_rng(3)
    held, below, cases = 0, 0, 0
    for _ in range(60):
        fit = fit_calibration(*made_networks(12, rng, 0.03))
        assert fit is not None
        sums, megabytes, ms = made_networks(50, rng, 0.03)
        low, high = fit.bound(fit.work(sums, megabytes), confidence)
        assert (low <= high).all()
        held += int((ms <= high).sum())
        below += int((ms >= low).sum())
        cases += 50
    assert confidence - 0.04 < held / cases < confidence + 0.09
    assert confidence - 0.04 < below / cases < confidence + 0.09


def test_a_confidence_beyond_the_networks_goes_beyond_their_extremes() -> None:
    rng = np.random.default_rng(4)
    fit = fit_calibration(*made_networks(5, rng, 0.02))
    assert fit is not None
    sums, megabytes = np.array([5.0]), np.array([6.0])
    bounds = [fit.bound(fit.work(sums, megabytes), p)[1][0] for p in (0.8, 0.95, 0.99)]
    assert bounds == sorted(bounds)
    assert bounds[0] < bounds[2]


def test_the_normal_quantile_is_that_of_the_textbooks() -> None:
    assert normal_quantile(0.9) == pytest.approx(1.2816, abs=1e-4)


def test_large_networks_that_outgrow_the_cache_bend_the_calibration() -> None:
    rng = np.random.default_rng(5)
    sums, megabytes = rng.uniform(0.2, 2, 20), rng.uniform(2, 14, 20)
    ms = (0.02 + 0.85 * sums + 0.08 * sums**2) * np.exp(0.01 * rng.standard_normal(20))
    fit = fit_calibration(sums, megabytes, ms)
    assert fit is not None
    assert fit.third is Third.CURVE
    assert np.abs(fit.point(fit.work(sums, megabytes)) / ms - 1).mean() < 0.02
    beyond = fit.point(np.array([2.0, 4.0, 6.0]))
    assert np.diff(beyond)[0] == pytest.approx(np.diff(beyond)[1], rel=0.1)  # straight, not a parabola


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), m=st.integers(1, 12), noise=st.floats(0, 1))
def test_whatever_was_measured_a_calibration_rises_with_the_sum(seed: int, m: int, noise: float) -> None:
    rng = np.random.default_rng(seed)
    sums, megabytes = rng.uniform(0.5, 5, m), rng.uniform(1, 10, m)
    fit = fit_calibration(sums, megabytes, sums * np.exp(noise * rng.standard_normal(m)))
    assert fit is not None
    grid = np.linspace(0.01, 20, 100)
    points = fit.point(grid)
    low, high = fit.bound(grid, 0.9)
    assert (points > 0).all()
    assert (np.diff(points) > -1e-9).all()
    assert np.isfinite(high).all()
    assert (low <= high).all()
    assert (np.diff(low) > -1e-9).all()
    assert (np.diff(high) > -1e-9).all()
