"""Modelled milliseconds rest on published figures of the same core, and never pretend to more."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas_edge.mcu.boards import core_names
from nas_edge.mcu.timing import Published, core_timing, published
from nas_edge.mcu.timing.networks import NETWORKS
from nas_edge.memory import Layer


def figure(core: str, ms: float, factor: float, stack: str = "a stack") -> Published:
    return Published(core, "a board", stack, "resnet-8", 1e8, ms, "somewhere@1", factor)


def test_every_published_figure_names_its_source_and_a_network_that_was_counted() -> None:
    assert len(published()) > 100
    for one in published():
        assert "@" in one.source
        assert one.network in NETWORKS
        assert 0.2 < one.factor < 5, one


@pytest.mark.parametrize("core", core_names())
def test_nine_of_ten_published_figures_lie_within_the_interval_that_they_made(core: str) -> None:
    timing = core_timing(core)
    mine = [one for one in published() if one.core == core]
    cycles = [one.ms / 1e3 * one.clock_hz / one.factor for one in mine]
    inside = 0
    for one, own in zip(mine, cycles, strict=True):
        low, high = timing.bounds(own, one.clock_hz)
        inside += low * (1 - 1e-9) <= one.ms <= high * (1 + 1e-9)
    assert inside >= 0.9 * len(mine)
    assert timing.figures == len(mine)


def test_a_core_without_published_figures_is_given_a_wide_interval_and_says_so() -> None:
    timing = core_timing("cortex-m55")
    assert "nothing is published of cortex-m55" in timing.describe()
    low, high = timing.bounds(1e6, 1e8)
    assert high / low > 3


def test_the_point_does_not_follow_other_peoples_kernels() -> None:
    slow = core_timing("cortex-m4", [figure("cortex-m4", 1.0, 3.0)])
    fast = core_timing("cortex-m4", [figure("cortex-m4", 1.0, 0.9)])
    assert slow.factor == fast.factor == core_timing("cortex-m4").factor


@given(st.lists(st.floats(0.3, 4.0), min_size=1, max_size=60))
def test_nine_of_ten_published_factors_lie_within_the_interval_and_below_the_bound(factors: list[float]) -> None:
    timing = core_timing("cortex-m4", [figure("cortex-m4", 1.0, factor) for factor in factors])
    assert timing.low <= timing.factor <= timing.high
    inside = sum(timing.low <= factor <= timing.high for factor in factors)
    assert inside >= 0.9 * len(factors) - 1
    bound = timing.factor * math.exp(1.2816 * timing.log_error) * (1 + 1e-9)
    assert sum(factor <= bound for factor in factors) >= 0.9 * len(factors)


def test_other_cores_say_nothing_of_a_core() -> None:
    mine = [figure("cortex-m4", 1.0, 2.0)]
    assert core_timing("cortex-m4", [*mine, figure("cortex-m7", 1.0, 9.0)]) == core_timing("cortex-m4", mine)


def test_milliseconds_follow_the_clock() -> None:
    timing = core_timing("cortex-m4")
    assert math.isclose(timing.ms(2e6, 1e8), 2 * timing.ms(2e6, 2e8))


@pytest.mark.parametrize(
    ("name", "macs"),
    [("resnet-8", 12_501_632), ("ds-cnn", 2_656_768), ("mobilenet-v1-0.25-96", 7_489_664)],
)
def test_the_published_networks_have_the_macs_that_mlperf_tiny_states(name: str, macs: int) -> None:
    layers: tuple[Layer, ...] = NETWORKS[name]()
    assert sum(layer.macs for layer in layers) == macs
