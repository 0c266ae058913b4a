"""Weights beyond a cache cost time that smaller networks know nothing of."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nas_edge.latency import LatencyTable
from nas_edge.latency.network_predictor import NetworkPredictor
from nas_edge.latency.spill import Spill
from nas_edge.spaces import SearchSpace

from .toy import make_table

SPACE = SearchSpace.named("mcu").restrict([32], w=[0.5])
TABLE = make_table(SPACE, 12, noise=0.0)
MB = np.array([1.0, 2.0, 5.0])
SERVER = {"cache_bytes": 32 * 2**20}


def test_nothing_is_added_within_a_cache_nor_where_caches_are_not_known() -> None:
    spill = Spill.of(SERVER, MB, 0.0)
    assert spill.ms(np.array([0.0, 5.0, 12.7])).tolist() == [0, 0, 0]
    for device in ({}, {"cache_bytes": 0}, {"cache_bytes": "much"}):
        assert Spill.of(device, MB, 0.0).ms(np.array([100.0])).tolist() == [0]


def test_what_was_measured_is_not_added_again() -> None:
    """A small cache: the networks of the calibration are beyond it themselves, and what they cost is in its fit."""
    small = Spill.of({"cache_bytes": 2 * 2**20}, MB, 0.0)
    assert small.from_mb == 5.0
    assert Spill.of({"cache_bytes": 2 * 2**20}, MB, 0.015).ms_per_mb == pytest.approx(0.005)
    assert Spill.of({"cache_bytes": 2 * 2**20}, MB, 0.3).ms_per_mb == 0


def test_bounds_hold_that_it_is_an_assumption_and_points_lie_between() -> None:
    spill = Spill.of(SERVER, MB, 0.0)
    low, point, high = (spill.ms(np.array([50.0]), z)[0] for z in (-1.28, 0.0, 1.28))
    assert 0 < low < point < high
    assert spill.ms(np.array([50.0]), -9.0)[0] == 0


def test_a_larger_network_than_any_measured_is_predicted_slower_on_a_device_with_a_cache() -> None:
    def predicted(table: LatencyTable) -> NetworkPredictor:
        return NetworkPredictor.of(table, SPACE)

    cached = replace(TABLE, header=replace(TABLE.header, device={**TABLE.header.device, "cache_bytes": 2**16}))
    small, large = SPACE.lower(SPACE.smallest(), 10), SPACE.lower(SPACE.largest(), 10)
    known = [*small, *[block for _ in range(40) for block in large]]
    plain, spilt = (predicted(table).predict([small, known]) for table in (TABLE, cached))
    assert spilt.point[0] == plain.point[0]
    assert spilt.point[1] > plain.point[1]
    assert spilt.high[1] - plain.high[1] > spilt.point[1] - plain.point[1] > spilt.low[1] - plain.low[1] > 0
