"""A device without a table starts from the most similar one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from nas_edge.latency import LatencyPredictor, NetworkEntry, Role, TableHeader
from nas_edge.latency.nearest import Wanted, distance, nearest, transfer
from nas_edge.latency.plan import plan_networks
from nas_edge.origin import Origin, OriginKind
from nas_edge.spaces import Precision, SearchSpace

from .toy import make_table, network_ms

LITE0 = SearchSpace.named("lite0")
AMD = {"class": "cpu", "vendor": "AuthenticAMD", "family": 26, "model": 2}


def header(
    runtime: str = "onnxruntime", threads: int = 1, precision: Precision = Precision.FP32, **device: object
) -> TableHeader:
    return TableHeader("t", runtime, threads=threads, precision=precision, device=AMD | device)


def test_the_same_cpu_runtime_and_threads_are_at_no_distance() -> None:
    assert distance(header(), Wanted("onnxruntime", device=AMD)) == 0


def test_a_like_cpu_comes_before_other_runtimes_precisions_and_classes() -> None:
    tables = {
        "gpu": header(**{"class": "gpu"}),
        "int8": header(precision=Precision.INT8),
        "runtime": header("litert"),
        "vendor": header(vendor="GenuineIntel"),
        "threads": header(threads=4),
        "model": header(model=3),
    }
    wanted = Wanted("onnxruntime", device=AMD)
    order = []
    while tables:
        best = nearest(tables, wanted)
        assert best is not None
        order.append(best)
        del tables[best]
    assert order == ["model", "threads", "vendor", "runtime", "int8", "gpu"]
    assert nearest({}, wanted) is None


def measured_elsewhere(factor: float) -> list[NetworkEntry]:
    return [
        NetworkEntry(
            p.name, "lite0", 10, LITE0.to_json(p.arch), Role.CALIBRATION, factor * network_ms(LITE0.lower(p.arch, 10))
        )
        for p in plan_networks(LITE0, 10, 12, 0, seed=5)
    ]


def new_header() -> TableHeader:
    return TableHeader("new", "onnxruntime", origin=Origin(OriginKind.MODELLED), device={"class": "cpu"})


def test_a_dozen_networks_carry_a_table_over_to_a_slower_device() -> None:
    table = make_table(LITE0, calibration=12, noise=0.02)
    carried = transfer(table, new_header(), LITE0, measured_elsewhere(2.5))
    predictor = LatencyPredictor.of(carried, LITE0, 10)
    population = LITE0.sample(40, np.random.default_rng(0))
    prediction = predictor.predict(population)
    truth = 2.5 * np.array([network_ms(LITE0.lower(row, 10)) for row in population])
    assert np.abs(prediction.point / truth - 1).mean() < 0.03
    assert prediction.interval == "jackknife+"
    assert (prediction.exact_share == 0).all()  # nothing but networks was measured there
    assert (truth <= prediction.high).mean() > 0.7


def test_without_any_table_the_networks_correct_a_prior() -> None:
    carried = transfer(None, new_header(), LITE0, measured_elsewhere(1.0))
    predictor = LatencyPredictor.of(carried, LITE0, 10)
    population = LITE0.sample(40, np.random.default_rng(1))
    truth = np.array([network_ms(LITE0.lower(row, 10)) for row in population])
    assert np.abs(predictor.point(population) / truth - 1).mean() < 0.15
    assert (predictor.predict(population).exact_share == 0).all()
    assert predictor.describe()["transfer"]["networks"] == 12


def test_the_figures_of_another_precision_are_kept_under_the_wanted_one() -> None:
    table = make_table(LITE0.restrict([64]), calibration=2)
    carried = transfer(table, replace(new_header(), precision=Precision.INT8), LITE0, ())
    assert {block.precision for block in carried.blocks} == {Precision.INT8}
    assert all(entry.origin is OriginKind.MODELLED for entry in carried.blocks.values())
