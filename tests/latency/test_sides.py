"""Effects of input sizes: found where networks of one size agree and sizes differ, and nowhere else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nas_edge.latency import LatencyPredictor, LatencyTable
from nas_edge.latency.lowering import input_sides, network_sides
from nas_edge.latency.network_predictor import NetworkPredictor
from nas_edge.latency.sides import SideEffects, fit_sides
from nas_edge.spaces import SearchSpace, TermIndex

from .toy import make_table

LITE0 = SearchSpace.named("lite0")
SIDES = np.repeat([64, 96, 128], 8)


def test_sizes_that_differ_are_found_and_drawn_towards_none() -> None:
    rng = np.random.default_rng(0)
    effect = np.repeat([0.04, 0.0, -0.03], 8)
    found = fit_sides(SIDES, effect + 0.003 * rng.standard_normal(24), np.ones(24))
    assert found.logs[64] == pytest.approx(0.04, abs=0.006)
    assert found.logs[128] == pytest.approx(-0.03, abs=0.006)
    assert abs(found.logs[96]) < 0.006
    assert found.factors(np.array([64, 77, 0])) == pytest.approx([np.exp(found.logs[64]), 1.0, 1.0])
    assert 1.0 <= found.optimism < 1.5
    noisy = fit_sides(SIDES, effect + 0.03 * rng.standard_normal(24), np.ones(24))
    assert abs(noisy.logs.get(64, 0.0)) < 0.06


def test_scatter_alone_is_no_effect_on_average() -> None:
    rng = np.random.default_rng(1)
    largest = [
        max([abs(log) for log in fit_sides(SIDES, 0.02 * rng.standard_normal(24), np.ones(24)).logs.values()] or [0.0])
        for _ in range(200)
    ]
    assert np.mean(np.array(largest) == 0) > 0.4
    assert np.mean(largest) < 0.006


@pytest.mark.parametrize("count", [0, 5, 14])
def test_few_networks_or_sizes_have_none(count: int) -> None:
    logs = np.where(SIDES == 64, 0.1, 0.0)
    assert fit_sides(SIDES[:count], logs[:count], np.ones(count)) == SideEffects()
    assert fit_sides(np.repeat([64, 96], 12), logs, np.ones(24)) == SideEffects()


def test_one_wild_network_is_no_effect_of_its_size() -> None:
    logs = 0.004 * np.random.default_rng(2).standard_normal(24)
    logs[3] = 0.5
    assert abs(fit_sides(SIDES, logs, np.ones(24)).logs.get(64, 0.0)) < 0.01


def test_entries_know_the_inputs_of_their_networks() -> None:
    terms = LITE0.terms(10)
    inputs, index = input_sides(LITE0, terms), TermIndex.of(terms, len(LITE0.genes))
    rows = LITE0.sample(30, np.random.default_rng(3))
    sides = network_sides([LITE0.lower(row, 10) for row in rows])
    at = inputs[index.locate(rows)]
    assert ((at == sides[:, None]) | (at == 0)).all()
    assert (at == sides[:, None]).any(axis=1).all()


def skewed(noise: float) -> LatencyTable:
    """Networks at 112 pixels take 4 % more than their blocks say, at 128 pixels 3 % less."""
    table = make_table(LITE0, calibration=40, holdout=20, noise=noise)
    factor = {112: 1.04, 128: 0.97}
    networks = tuple(replace(n, ms=factor.get(int(n.arch["r"]), 1.0) * n.ms) for n in table.networks)
    return replace(table, networks=networks)


def test_a_predictor_learns_them_and_prices_explicit_blocks_alike() -> None:
    table = skewed(0.003)
    predictor = LatencyPredictor.of(table, LITE0, 10)
    rows = np.stack([LITE0.from_json(n.arch) for n in table.holdout_networks()])
    ms = np.array([n.ms for n in table.holdout_networks()])
    plain = replace(predictor, interval_of=replace(predictor.interval_of, effects=SideEffects()), _works={})
    errors = [np.abs(np.log(p.point(rows) / ms)).mean() for p in (plain, predictor)]
    assert errors[1] < 0.012
    assert errors[1] < errors[0]
    explicit = NetworkPredictor.of(table, LITE0).predict([LITE0.lower(row, 10) for row in rows])
    assert explicit.high == pytest.approx(predictor.predict(rows).high)
    costs, function = predictor.additive(0.9)
    assert function(costs.sum(rows)) == pytest.approx(predictor.predict(rows).high)


def test_networks_from_elsewhere_have_no_effects_of_sizes() -> None:
    table = skewed(0.003)
    assert NetworkPredictor.of(table, from_elsewhere=True).interval_of.effects == SideEffects()
    assert NetworkPredictor.of(table, LITE0).interval_of.effects.logs[112] > 0.015
