"""Blocks that a table lacks: likes tell of likes, doubt grows with distance, traits that no row has are told of."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas_edge.errors import SpaceError, TableError
from nas_edge.latency import BlockEntry, LatencyPredictor, LatencyTable, TableHeader
from nas_edge.latency.block_model import fit_block_model
from nas_edge.latency.drift import network_times, sitting_drift
from nas_edge.latency.energy import EnergyPredictor, has_energy
from nas_edge.latency.network_predictor import NetworkPredictor
from nas_edge.latency.plan import distinct_blocks
from nas_edge.spaces import Activation, BlockSpec, Kind, SearchSpace

from .toy import block_ms, make_table, network_ms

LITE0 = SearchSpace.named("lite0")


def odd_ms(block: BlockSpec) -> float:
    """What no formula foresees: wide middles run slower, smoothly, and one width is bad."""
    slow = 1.0 + 0.2 * np.sin(2 * np.log(block.mid_channels)) + 0.15 * (block.in_channels == 80)
    return block_ms(block) * float(slow)


def test_what_neighbours_share_is_carried_to_the_blocks_between_them() -> None:
    known = distinct_blocks(LITE0.restrict([64, 96, 128, 160]), 10)
    wanted = [b for b in distinct_blocks(LITE0, 10) if b not in set(known)]
    model = fit_block_model({b: odd_ms(b) for b in known})
    assert model is not None
    ms, _ = model.predict(wanted)
    plain = model.parametric.predict(wanted)
    truth = np.array([odd_ms(b) for b in wanted])
    assert np.abs(ms / truth - 1).mean() < 0.02
    assert np.abs(ms / truth - 1).mean() < 0.5 * np.abs(plain / truth - 1).mean()


def test_doubt_grows_with_the_distance_from_what_was_measured() -> None:
    known = {b: block_ms(b) for b in distinct_blocks(LITE0.restrict([64, 80]), 10)}
    model = fit_block_model(known)
    assert model is not None
    block = next(b for b in known if b.kind is Kind.INVERTED_RESIDUAL and b.height > 8)
    farther = [replace(block, height=block.height * k, width=block.width * k) for k in (1, 2, 4, 8)]
    errors = model.predict(farther)[1]
    assert (np.diff(errors) > 0).all()


def test_a_squeeze_that_no_row_has_is_priced_by_what_other_tables_say() -> None:
    model = fit_block_model({b: block_ms(b) for b in distinct_blocks(LITE0, 10)})
    assert model is not None
    plain = next(b for b in distinct_blocks(LITE0, 10) if b.kind is Kind.INVERTED_RESIDUAL and b.expands)
    other = replace(plain, se=True, activation=Activation.H_SWISH)
    (own, new), (sure, doubtful) = model.predict([plain, other])
    assert 1.15 * own < new < 2.0 * own
    assert doubtful > sure + 0.03


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 1000), confidence=st.sampled_from([0.5, 0.8, 0.9, 0.99]),
    calibration=st.sampled_from([0, 2, 12]), complete=st.booleans(), later=st.booleans(),
)  # fmt: skip
def test_every_bound_is_a_rising_function_of_a_sum_over_terms(
    seed: int, confidence: float, calibration: int, complete: bool, later: bool
) -> None:
    space = LITE0 if complete else LITE0.restrict([64, 96])
    predictor = LatencyPredictor.of(make_table(space, calibration=calibration, holdout=0), LITE0, 10)
    predictor = predictor.later() if later else predictor
    population = LITE0.sample(40, np.random.default_rng(seed))
    costs, function = predictor.additive(confidence)
    assert function(costs.sum(population)) == pytest.approx(predictor.predict(population, confidence).high)
    grid = function(np.linspace(costs.sum(population).min() / 3, 3 * costs.sum(population).max(), 300))
    assert (np.diff(grid) >= -1e-12).all()


def test_another_sitting_widens_the_interval_by_what_the_header_states() -> None:
    table = make_table(LITE0, calibration=20, holdout=0, noise=0.01)
    stated = replace(table, header=replace(table.header, sittings={"log_error": 0.08}))
    population = LITE0.sample(30, np.random.default_rng(1))
    same, assumed, wide = (
        p.predict(population)
        for p in (
            LatencyPredictor.of(table, LITE0, 10), LatencyPredictor.of(table, LITE0, 10).later(),
            LatencyPredictor.of(stated, LITE0, 10).later(),
        )
    )  # fmt: skip
    assert (same.high < assumed.high).all()
    assert (assumed.high < wide.high).all()
    assert (same.point == wide.point).all()
    assert np.log(wide.high / wide.point).mean() == pytest.approx(1.2816 * 0.08, rel=0.2)
    bad = replace(table, header=replace(table.header, sittings={"log_error": "much"}))
    with pytest.raises(TableError, match="log_error"):
        LatencyPredictor.of(bad, LITE0, 10).later()


def test_sittings_that_differ_are_found_to_differ() -> None:
    rng = np.random.default_rng(2)
    quiet = {f"n{i}": float(ms) for i, ms in enumerate(rng.uniform(1, 10, 20))}
    still = [{n: ms * float(np.exp(0.002 * rng.standard_normal())) for n, ms in quiet.items()} for _ in range(8)]
    moving = [{n: ms * shift for n, ms in quiet.items()} for shift in (1.0, 1.1, 0.92, 1.15)]
    assert sitting_drift(still)["log_error"] < 0.015
    found = sitting_drift(moving)
    assert 0.08 < found["log_error"] < 0.2
    assert found["shift_percent"] == pytest.approx(100 * (1.15 / 0.92 - 1), abs=0.1)
    assert (found["networks"], found["sittings"]) == (20, 4)
    with pytest.raises(TableError, match="two of them"):
        sitting_drift([quiet, {"another": 1.0}])
    assert len(network_times(make_table(LITE0, calibration=5, holdout=3))) == 8


def test_explicit_blocks_are_priced_as_the_search_prices_them() -> None:
    table = make_table(LITE0, calibration=12, holdout=0)
    population = LITE0.sample(10, np.random.default_rng(3))
    lowered = [LITE0.lower(row, 10) for row in population]
    ours = NetworkPredictor.of(table, LITE0).predict(lowered)
    theirs = LatencyPredictor.of(table, LITE0, 10).predict(population)
    for name in ("point", "low", "high", "exact_share"):
        assert getattr(ours, name) == pytest.approx(getattr(theirs, name))
    with pytest.raises(SpaceError, match="at least one"):
        NetworkPredictor.of(table).predict([()])


def test_networks_of_other_widths_and_sizes_lie_within_their_interval() -> None:
    template = replace(LITE0.template, widths=(0.75, 0.9, 1.25), resolutions=(112, 260))
    space = SearchSpace(template)
    lowered = [space.lower(row, 10) for row in space.sample(40, np.random.default_rng(4))]
    prediction = NetworkPredictor.of(make_table(LITE0, calibration=20, holdout=0), from_elsewhere=True).predict(lowered)
    truth = np.array([network_ms(blocks) for blocks in lowered])
    assert np.abs(prediction.point / truth - 1).max() < 0.1
    assert ((prediction.low <= truth) & (truth <= prediction.high)).mean() > 0.9
    assert (prediction.exact_share < 0.5).all()


def test_energies_are_priced_as_times_are() -> None:
    table = make_table(LITE0.restrict([64, 96, 128]), calibration=0)
    assert not has_energy(table)
    with pytest.raises(TableError, match="holds no energies"):
        EnergyPredictor.of(table, LITE0, 10)
    blocks = {b: BlockEntry(e.ms, energy_mj=20 * e.ms) for b, e in table.blocks.items()}
    energetic = LatencyTable(TableHeader("e", "x", device={"class": "gpu"}), blocks)
    population = LITE0.sample(20, np.random.default_rng(5))
    energy, latency = (P.of(energetic, LITE0, 10) for P in (EnergyPredictor, LatencyPredictor))
    assert energy.predict(population).high == pytest.approx(20 * latency.predict(population).high, rel=1e-6)
    assert energy.interval == "assumed"
    costs, function = energy.additive(0.9)
    assert function(costs.sum(population)) == pytest.approx(energy.predict(population).high)
    assert energy.describe()["missing_blocks"] > 0
    assert energy.point(population) == pytest.approx(energy.predict(population).point)
