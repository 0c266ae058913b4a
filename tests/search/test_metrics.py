"""Metrics of targets, of memory, and of networks in several precisions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from nas_edge.errors import SpaceError, UnknownNameError
from nas_edge.search import Constraint, MetricContext, build_metrics, extreme, metric_names, search
from nas_edge.search.metrics import TargetSources
from nas_edge.search.mixed import build_mixed_metrics
from nas_edge.spaces import Precision, TermCosts
from tests.accuracy.test_predictor import random_predictor


@dataclass(frozen=True)
class Bounded:
    high: np.ndarray


@dataclass(frozen=True)
class Line:
    """A latency that rises with MACs: `a + b * sum`, known to be additive."""

    costs: TermCosts
    slope: float = 1.0

    def predict(self, population, confidence=0.9):
        return Bounded(self.function(self.costs.sum(population)) * (1 + confidence - 0.5))

    def function(self, sums):
        return 0.1 + self.slope * sums

    def additive(self, confidence):
        return self.costs, lambda sums: self.function(sums) * (1 + confidence - 0.5)


@pytest.fixture
def costs(tiny_space):
    return tiny_space.costs(lambda block: block.macs / 1e5, 4)


def context(space, costs, **more):
    board, phone = (TargetSources(latency=Line(costs, slope)) for slope in (1.0, 3.0))
    return MetricContext(space, 4, target=board, targets={"board": board, "phone": phone}, confidence=0.5, **more)


def test_every_metric_that_the_mission_names_is_registered():
    assert {"accuracy", "latency", "energy", "instructions", "macs", "params", "sram", "flash"} <= set(metric_names())


def test_a_metric_of_a_target_is_named_with_it(tiny_space, costs):
    built = build_metrics(["latency@board", "latency@phone"], context(tiny_space, costs))
    rows = tiny_space.sample(20, np.random.default_rng(0))
    assert [metric.name for metric in built.values()] == ["latency@board", "latency@phone"]
    assert built["latency@phone"](rows) == pytest.approx(3 * built["latency@board"](rows) - 0.2)
    with pytest.raises(UnknownNameError, match="jetson"):
        build_metrics(["latency@jetson"], context(tiny_space, costs))


def test_what_a_target_lacks_is_said(tiny_space, costs):
    for name in ("energy", "instructions"):
        with pytest.raises(SpaceError, match=f"{name} cannot be predicted"):
            build_metrics([name], context(tiny_space, costs))


def test_the_least_of_a_rising_function_of_a_sum_is_proven(tiny_space, costs):
    metric = build_metrics(["latency"], context(tiny_space, costs))["latency"]
    for least in (True, False):
        end = extreme(tiny_space, "latency", metric, least=least)
        everything = metric(tiny_space.enumerate())
        assert end.exact
        assert end.figure == pytest.approx(everything.min() if least else everything.max())


def test_memory_is_of_the_precision_of_the_network(tiny_space):
    rows = tiny_space.enumerate()
    built = {
        precision: build_metrics(["sram", "flash"], MetricContext(tiny_space, 4, precision=precision))
        for precision in (Precision.FP32, Precision.INT8)
    }
    for name in ("sram", "flash"):
        wide, narrow = (built[p][name](rows) for p in (Precision.FP32, Precision.INT8))
        assert (wide > narrow).all()
    assert built[Precision.FP32]["sram"](rows) == pytest.approx(4 * built[Precision.INT8]["sram"](rows))
    by_hand = [max(block.activation_bytes for block in tiny_space.lower(row, 4)) for row in rows[:50]]
    assert built[Precision.FP32]["sram"](rows[:50]) == pytest.approx(by_hand)


def test_each_row_is_judged_in_its_own_precision(tiny_space, costs):
    mixed = tiny_space.with_precisions([Precision.FP32, Precision.INT8])
    contexts = {
        precision: MetricContext(
            tiny_space, 4, random_predictor(tiny_space, seed=seed), TargetSources(Line(costs, slope)), confidence=0.5
        )
        for seed, (precision, slope) in enumerate([(Precision.FP32, 2.0), (Precision.INT8, 1.0)])
    }
    built = build_mixed_metrics(["accuracy", "latency", "macs"], contexts, mixed)
    rows = mixed.sample(100, np.random.default_rng(0))
    for i, precision in enumerate(mixed.precisions, 1):
        mine = rows[rows[:, 0] == i]
        assert built["accuracy"](mine) == pytest.approx(contexts[precision].accuracy.predict(mine[:, 1:]))
    assert built["macs"](rows) == pytest.approx(tiny_space.macs(rows[:, 1:], 4))
    everything = mixed.enumerate()
    latency, accuracy = built["latency"](everything), built["accuracy"](everything)
    limit = float(np.quantile(latency, 0.4))
    result = search(mixed, built, [Constraint("latency", "<=", limit)])
    assert result.figures["accuracy"] == pytest.approx(accuracy[latency <= limit].max())
    assert result.arch["p"] in ("fp32", "int8")
    with pytest.raises(SpaceError, match="int8"):
        build_mixed_metrics(["latency"], {Precision.FP32: contexts[Precision.FP32]}, mixed)


def test_several_objectives_give_the_front_of_brute_force_and_its_knee(tiny_space, costs):
    predictor = random_predictor(tiny_space, seed=1)
    built = build_metrics(["accuracy", "latency", "macs"], context(tiny_space, costs, accuracy=predictor))
    limit = float(np.quantile(built["macs"](tiny_space.enumerate()), 0.8))
    result = search(tiny_space, built, [Constraint("macs", "<=", limit)], objective=("accuracy", "latency"))
    rows = tiny_space.enumerate()
    rows = rows[built["macs"](rows) <= limit]
    accuracy, latency = built["accuracy"](rows), built["latency"](rows)
    better = ((accuracy[:, None] > accuracy) & (latency[:, None] <= latency)).any(axis=0) | (
        (accuracy[:, None] >= accuracy) & (latency[:, None] < latency)
    ).any(axis=0)
    assert np.unique(result.front_figures["accuracy"]) == pytest.approx(np.unique(accuracy[~better]))
    assert (np.diff(result.front_figures["latency"]) > 0).all()
    assert any((row == result.best).all() for row in result.front)


def test_least_latency_at_an_accuracy(tiny_space, costs):
    predictor = random_predictor(tiny_space, seed=1)
    built = build_metrics(["accuracy", "latency"], context(tiny_space, costs, accuracy=predictor))
    rows = tiny_space.enumerate()
    accuracy, latency = built["accuracy"](rows), built["latency"](rows)
    wanted = float(np.quantile(accuracy, 0.7))
    result = search(tiny_space, built, [Constraint("accuracy", ">=", wanted)], objective="latency")
    assert result.figures["latency"] == latency[accuracy >= wanted].min()
