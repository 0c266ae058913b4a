"""What searches measured is kept and improves the predictor of its machine."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nas_edge.latency import LatencyPredictor, read_table
from nas_edge.pipeline.devices.targets import load_target
from nas_edge.pipeline.searching.flow import search_flow
from nas_edge.pipeline.searching.request import SearchRequest
from nas_edge.pipeline.seeded import seeded_model
from nas_edge.pipeline.tables.finding import load_table_for
from nas_edge.pipeline.tables.keeping import improved, keep, kept_path, quiet_value
from nas_edge.profiling import Protocol
from nas_edge.spaces import SearchSpace
from tests.stand import FakeBench


@pytest.fixture
def predictor(stand: Path, tiny_space: SearchSpace) -> LatencyPredictor:
    return LatencyPredictor.of(load_table_for(load_target("board")).table, tiny_space, 3)


def measured(space: SearchSpace, rows, factor: float):
    models = {str(i): seeded_model(space, row, 3) for i, row in enumerate(rows)}
    return list(FakeBench(factor).measure(models, Protocol.default(), "fp32").values())


def test_a_machine_that_was_measured_is_predicted_better(predictor, tiny_space: SearchSpace) -> None:
    rng = np.random.default_rng(0)
    rows, others = tiny_space.sample(12, rng), tiny_space.sample(40, rng)
    taken = measured(tiny_space, rows, 1.3)
    machine = taken[0].origin.machine
    assert improved(predictor, machine) == (predictor, None)
    keep(predictor.table.header, tiny_space, 3, list(rows), taken)
    better, path = improved(predictor, machine)
    assert path == kept_path(predictor.table.header, machine)
    truth = np.array([one.median_ms for one in measured(tiny_space, others, 1.3)])
    errors = [np.abs(p.point(others) / truth - 1).mean() for p in (predictor, better)]
    assert errors[1] < 0.2 * errors[0]
    assert improved(predictor, "another machine")[1] is None


def test_networks_are_kept_once_each_the_latest_figure(predictor, tiny_space: SearchSpace) -> None:
    rows = list(tiny_space.sample(5, np.random.default_rng(1)))
    for factor in (1.0, 1.5):
        taken = measured(tiny_space, rows, factor)
        keep(predictor.table.header, tiny_space, 3, rows, taken)
    better, _ = improved(predictor, taken[0].origin.machine)
    assert better.extra is not None
    assert len(better.extra[1]) == len({row.tobytes() for row in rows})
    assert better.extra[1][0] == pytest.approx(taken[0].median_ms, rel=1e-6)


def test_times_are_kept_at_one_quiet_value_of_the_reference_kernel(predictor, tiny_space: SearchSpace) -> None:
    rows = list(tiny_space.sample(4, np.random.default_rng(2)))
    taken = [replace(one, reference_kernel="k") for one in measured(tiny_space, rows, 1.0)]
    keep(predictor.table.header, tiny_space, 3, rows, taken)
    machine = taken[0].origin.machine
    assert quiet_value(predictor.table.header, machine, "k") == taken[0].reference_quiet_ms
    assert quiet_value(predictor.table.header, machine, "another kernel") is None
    # The same machine, its clock at half the speed: all takes twice as long, the kernel too.
    slow = [replace(one, reference_quiet_ms=2 * one.reference_quiet_ms) for one in measured(tiny_space, rows, 2.0)]
    keep(predictor.table.header, tiny_space, 3, rows, [replace(one, reference_kernel="k") for one in slow])
    better, _ = improved(predictor, machine)
    assert better.extra[1] == pytest.approx([one.median_ms for one in taken], rel=1e-6)


def test_networks_measured_again_say_how_far_sittings_differ(predictor, tiny_space: SearchSpace) -> None:
    rows = list(tiny_space.sample(6, np.random.default_rng(4)))
    for factor in (1.0, 1.1):
        taken = measured(tiny_space, rows, factor)
        keep(predictor.table.header, tiny_space, 3, rows, taken)
    kept = read_table(kept_path(predictor.table.header, taken[0].origin.machine))
    assert kept.header.sittings["shift_percent"] == pytest.approx(10, abs=0.1)
    assert kept.header.sittings["pairs"] == 1


def test_an_emulator_s_times_are_not_kept(predictor, tiny_space: SearchSpace) -> None:
    rows = list(tiny_space.sample(3, np.random.default_rng(5)))
    taken = [replace(one, device=replace(one.device, emulator="qemu")) for one in measured(tiny_space, rows, 1.0)]
    keep(predictor.table.header, tiny_space, 3, rows, taken)
    assert not kept_path(predictor.table.header, taken[0].origin.machine).exists()


def test_times_of_cold_runs_are_not_kept_among_hot_ones(predictor, tiny_space: SearchSpace) -> None:
    rows = list(tiny_space.sample(3, np.random.default_rng(6)))
    cold = Protocol.default().for_regime("cold")
    taken = [replace(one, protocol=cold) for one in measured(tiny_space, rows, 1.0)]
    keep(predictor.table.header, tiny_space, 3, rows, taken)
    assert not kept_path(predictor.table.header, taken[0].origin.machine).exists()
    header = replace(predictor.table.header, regime="cold")
    keep(header, tiny_space, 3, rows, taken)
    assert read_table(kept_path(header, taken[0].origin.machine)).header.regime == "cold"


def test_a_damaged_cache_stands_in_nobodys_way(predictor, tiny_space: SearchSpace) -> None:
    rows = list(tiny_space.sample(4, np.random.default_rng(3)))
    taken = measured(tiny_space, rows, 1.0)
    machine = taken[0].origin.machine
    keep(predictor.table.header, tiny_space, 3, rows, taken)
    path = kept_path(predictor.table.header, machine)
    (path / "networks.csv").write_text("rubbish")
    assert improved(predictor, machine) == (predictor, None)
    keep(predictor.table.header, tiny_space, 3, rows, taken)
    assert improved(predictor, machine)[1] == path
    shutil.rmtree(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("a file in the way")
    keep(predictor.table.header, tiny_space, 3, rows, taken)


def test_a_second_search_needs_fewer_rounds(stand: Path, bench: FakeBench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.factor = 1.25
    taken = measured(SearchSpace.named("lite0"), [SearchSpace.named("lite0").smallest()], 1.0)
    monkeypatch.setattr(FakeBench, "machine", taken[0].origin.machine)
    first, second = (
        search_flow(SearchRequest(target="board", bundle="tiny", latency_ms=2.2, evaluations=2000, verify=True))
        for _ in range(2)
    )
    assert second.verified
    assert second.rounds <= first.rounds
    error = [abs(report.latency.predicted / report.latency.measured - 1) for report in (first, second)]
    assert error[1] < error[0]
    manifest = (second.run / "manifest.json").read_text()
    assert "networks measured before on board" in manifest
