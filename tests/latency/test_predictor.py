"""A population is priced at once, with a bound that holds and a share that is true."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from nas_edge.errors import TableError
from nas_edge.latency import ASSUMED, JACKKNIFE, LatencyPredictor, LatencyTable
from nas_edge.latency.check import spearman
from nas_edge.latency.plan import distinct_blocks, full_space
from nas_edge.origin import Origin, OriginKind
from nas_edge.spaces import SearchSpace

from .toy import make_table, network_ms

LITE0 = SearchSpace.named("lite0")
TABLE = make_table(LITE0, calibration=12, holdout=0)
PREDICTOR = LatencyPredictor.of(TABLE, LITE0, 10)


def truth(space: SearchSpace, population: np.ndarray, num_classes: int = 10) -> np.ndarray:
    return np.array([network_ms(space.lower(row, num_classes)) for row in population])


def test_networks_are_predicted_to_the_noise_of_their_table() -> None:
    population = LITE0.sample(60, np.random.default_rng(1))
    prediction, ms = PREDICTOR.predict(population), truth(LITE0, population)
    assert np.abs(prediction.point / ms - 1).mean() < 0.02
    assert spearman(prediction.point, ms) > 0.98
    assert (prediction.low <= prediction.point).all()
    assert (prediction.point <= prediction.high).all()
    assert (ms <= prediction.high).mean() > 0.75
    assert prediction.interval == JACKKNIFE
    assert (prediction.exact_share == 1).all()


def test_at_confidence_one_half_all_bounds_are_the_point() -> None:
    population = LITE0.sample(5, np.random.default_rng(2))
    prediction = PREDICTOR.predict(population, 0.5)
    assert (prediction.low == prediction.high).all()
    assert (prediction.point == PREDICTOR.point(population)).all()


@pytest.mark.parametrize("confidence", [0.49, 1.0, 2.0, float("nan")])
def test_a_confidence_that_is_none_is_refused(confidence: float) -> None:
    with pytest.raises(ValueError, match="confidence"):
        PREDICTOR.predict(LITE0.sample(1, np.random.default_rng(0)), confidence)


def test_a_higher_confidence_never_lowers_the_bound() -> None:
    population = LITE0.sample(20, np.random.default_rng(3))
    bounds = [PREDICTOR.predict(population, p).high for p in (0.5, 0.7, 0.9, 0.95, 0.99)]
    assert all((a <= b + 1e-12).all() for a, b in itertools.pairwise(bounds))


def test_nothing_and_a_great_many_are_priced_as_well() -> None:
    empty = PREDICTOR.predict(np.zeros((0, len(LITE0.genes)), np.int8))
    assert empty.point.shape == empty.high.shape == (0,)
    population = LITE0.sample(70_000, np.random.default_rng(4))  # more than one chunk
    whole = PREDICTOR.predict(population)
    assert (PREDICTOR.predict(population[-10:]).high == whole.high[-10:]).all()


def test_without_whole_networks_the_point_is_the_plain_sum_and_the_interval_is_assumed() -> None:
    table = make_table(LITE0, calibration=0)
    population = LITE0.sample(5, np.random.default_rng(5))
    prediction = LatencyPredictor.of(table, LITE0, 10).predict(population)
    sums = [sum(table.blocks[b].ms for b in LITE0.lower(row, 10)) for row in population]
    assert prediction.point == pytest.approx(sums)
    assert prediction.interval == ASSUMED
    assert (prediction.high > 1.1 * prediction.point).all()


def test_blocks_that_the_table_lacks_are_modelled_and_said() -> None:
    partial = make_table(LITE0.restrict([64, 96, 128, 160]), calibration=12, holdout=0)
    predictor = LatencyPredictor.of(partial, LITE0, 10)
    inside = LITE0.restrict([96]).sample(20, np.random.default_rng(6))
    outside = LITE0.restrict([112]).sample(20, np.random.default_rng(7))
    seen, modelled = predictor.predict(inside), predictor.predict(outside)
    assert (seen.exact_share == 1).all()
    assert (modelled.exact_share < 0.5).all()
    assert np.abs(modelled.point / truth(LITE0, outside) - 1).mean() < 0.05
    assert (modelled.high / modelled.point).mean() > (seen.high / seen.point).mean()
    assert predictor.describe()["model"] == "table"
    assert set(predictor.missing) == set(distinct_blocks(LITE0, 10)) - set(partial.blocks)


def test_modelling_can_be_refused() -> None:
    partial = make_table(LITE0.restrict([64]), calibration=0)
    with pytest.raises(TableError, match=r"lacks .* of the 449 blocks of space 'lite0'"):
        LatencyPredictor.of(partial, LITE0, 10, allow_modelled=False)


def test_too_few_blocks_to_model_others_are_an_error() -> None:
    few = LatencyTable(TABLE.header, dict(list(TABLE.blocks.items())[:5]))
    with pytest.raises(TableError, match="too few"):
        LatencyPredictor.of(few, LITE0, 10)


def test_a_table_of_nothing_stands_on_a_prior_with_a_wide_interval() -> None:
    header = replace(TABLE.header, origin=Origin(OriginKind.MODELLED), device={"class": "gpu"})
    predictor = LatencyPredictor.of(LatencyTable(header, {}), LITE0, 10)
    prediction = predictor.predict(np.stack([LITE0.smallest(), LITE0.largest()]))
    assert prediction.interval == ASSUMED
    assert (prediction.exact_share == 0).all()
    assert (prediction.high > 2.9 * prediction.point).all()
    assert prediction.point[0] < prediction.point[1]
    assert predictor.describe()["model"] == "prior"


def test_another_number_of_classes_prices_the_table_s_networks_with_their_own_classifier() -> None:
    predictor = LatencyPredictor.of(TABLE, LITE0, 1000)
    population = LITE0.sample(30, np.random.default_rng(8))
    error = predictor.point(population) / truth(LITE0, population, 1000) - 1
    assert np.abs(error).mean() < 0.05
    assert predictor.networks == 12


def test_another_space_is_calibrated_by_the_networks_that_there_are() -> None:
    other = SearchSpace.named("mcu")
    predictor = LatencyPredictor.of(TABLE, other, 10)
    prediction = predictor.predict(other.sample(10, np.random.default_rng(9)))
    assert predictor.networks == 12
    assert (prediction.exact_share < 0.5).all()
    assert np.isfinite(prediction.high).all()


def test_a_restricted_space_has_the_predictions_of_the_whole_one() -> None:
    small = LITE0.restrict([64, 80])
    population = small.sample(10, np.random.default_rng(10))
    restricted = LatencyPredictor.of(TABLE, small, 10)
    assert (restricted.predict(population).high == PREDICTOR.predict(population).high).all()
    assert full_space(small).resolutions == LITE0.resolutions


@pytest.mark.parametrize("calibration", [0, 12])
def test_what_a_restriction_leaves_out_is_priced_as_in_the_whole_space_once_it_is_asked_for(calibration) -> None:
    table = make_table(LITE0, calibration=calibration)
    small = LITE0.restrict([64, 80])
    population = LITE0.sample(30, np.random.default_rng(10))
    rows, others = population[:15], population[15:]
    whole, restricted = (LatencyPredictor.of(table, space, 10) for space in (LITE0, small))
    for a, b in ((whole, restricted), (whole.later(), restricted.later())):
        for confidence in (0.5, 0.9):
            there, here = a.predict(population, confidence), b.predict(population, confidence)
            for name in ("low", "point", "high", "exact_share"):
                assert (getattr(there, name) == getattr(here, name)).all()
    learned = [predictor.recalibrated(rows, 1.2 * whole.point(rows)).point(others) for predictor in (whole, restricted)]
    assert (learned[0] == learned[1]).all()


def test_blocks_of_resolutions_that_are_left_out_are_not_missing() -> None:
    small = LITE0.restrict([64, 80])
    kept = set(distinct_blocks(small, 10))
    partial = replace(TABLE, blocks={block: entry for block, entry in TABLE.blocks.items() if block in kept})
    predictor = LatencyPredictor.of(partial, small, 10, allow_modelled=False)
    assert predictor.missing == ()
    assert predictor.model is None
    prediction = predictor.predict(small.sample(10, np.random.default_rng(0)))
    assert (prediction.exact_share == 1).all()
    # Of other resolutions it says what is modelled.
    assert (predictor.predict(LITE0.largest()[None]).exact_share < 1).all()


def test_networks_of_a_space_with_fewer_resolutions_are_skipped_not_fatal() -> None:
    smaller = SearchSpace(LITE0.template.with_resolutions((64, 96)))
    predictor = LatencyPredictor.of(TABLE, smaller, 10)
    assert 0 <= predictor.networks < 12
    assert np.isfinite(predictor.point(smaller.sample(3, np.random.default_rng(0)))).all()


def test_measured_networks_draw_the_prediction_towards_them() -> None:
    rng = np.random.default_rng(11)
    near = LITE0.mutate(np.repeat(LITE0.sample(1, rng), 3, axis=0), rng, 0.05)
    drifted = 1.1 * PREDICTOR.point(near)  # the device has become slower since the table
    once = PREDICTOR.recalibrated(near[:1], drifted[:1])
    twice = once.recalibrated(near[1:], drifted[1:])
    errors = [np.abs(p.point(near) / drifted - 1).mean() for p in (PREDICTOR, once, twice)]
    assert errors[0] > errors[1]
    assert errors[2] < errors[0] / 5
    assert errors[1] < errors[0] / 4
    assert (once.networks, twice.networks) == (13, 15)
    assert (twice.predict(near).high > PREDICTOR.predict(near).high).all()


def test_a_device_that_has_become_slower_since_is_predicted_everywhere_not_only_where_it_was_measured() -> None:
    rng = np.random.default_rng(13)
    population = LITE0.sample(40, rng)
    slower = 1.08 * truth(LITE0, population)
    learned = PREDICTOR.recalibrated(population[:4], slower[:4])
    prediction = learned.predict(population[4:])
    assert np.abs(prediction.point / slower[4:] - 1).mean() < 0.025
    assert (prediction.high / prediction.point).mean() < 1.1  # drift is not noise


def test_a_predictor_that_was_only_assumed_learns_from_the_first_measured_network() -> None:
    table = make_table(LITE0, calibration=0)
    predictor = LatencyPredictor.of(table, LITE0, 10)
    rows = LITE0.sample(2, np.random.default_rng(12))
    learned = predictor.recalibrated(rows, truth(LITE0, rows))
    assert learned.interval == JACKKNIFE
    assert learned.point(rows) == pytest.approx(truth(LITE0, rows), rel=0.1)
