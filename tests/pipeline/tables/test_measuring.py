"""A table is measured, checked and written in one go, resumes where it was killed, and a first contact is kept."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nas_edge import resources
from nas_edge.errors import NasEdgeError, SpaceError, TableError, UnknownNameError
from nas_edge.latency import LatencyPredictor, read_table, write_table
from nas_edge.latency.check import check_table
from nas_edge.pipeline.devices.targets import Target, load_target
from nas_edge.pipeline.searching.flow import search_flow
from nas_edge.pipeline.searching.request import SearchRequest
from nas_edge.pipeline.tables.finding import FoundTable, load_table_for
from nas_edge.pipeline.tables.measuring import JOURNAL, first_contact, measure_table
from nas_edge.pipeline.tables.work import ANCHORS
from nas_edge.profiling import Protocol
from nas_edge.spaces import SearchSpace
from tests.stand import FakeBench

FAST = Protocol(min_rounds=2, rounds=2, max_rounds=2, repeats=3, max_repeats=3, visit_ms=0.1, warmups=1)


@pytest.fixture
def space(tiny_space: SearchSpace) -> SearchSpace:
    return tiny_space.restrict([32], w=(1.0,))


@pytest.fixture
def local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Target:
    monkeypatch.setattr(resources, "roots", lambda: (tmp_path,))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "local.yaml"
    path.write_text("format: 1\ndescription: this\ndevice: {kind: local}\nruntime: onnxruntime\nprecision: fp32\n")
    return load_target(str(path))


def test_a_measured_table_is_complete_checked_and_found_again(
    space: SearchSpace, local: Target, tmp_path: Path
) -> None:
    seen: list[str] = []
    made = measure_table(
        [(space, 5)], out=tmp_path / "latency_tables", protocol=FAST, calibration=4, holdout=3,
        progress=lambda done, total, text: seen.append(text),
    )  # fmt: skip
    assert made.report.coverage == 1
    assert made.report.holdout is not None
    assert made.report.holdout.networks == 3
    assert read_table(made.path).header.figures["holdout"] == made.report.holdout.to_json()
    assert not (made.path / JOURNAL).exists()
    assert len(made.measurements) == len(made.table.blocks) + 7
    assert seen
    found = load_table_for(local)
    assert found.path == made.path
    assert found.own
    assert found.notes == ()
    prediction = LatencyPredictor.of(found.table, space, 5).predict(space.sample(5, np.random.default_rng(0)))
    assert (prediction.exact_share == 1).all()
    assert prediction.interval == "jackknife+"


def test_a_killed_measurement_goes_on_where_it_was(space: SearchSpace, tmp_path: Path) -> None:
    class Killed(BaseException):
        pass

    journal = tmp_path / "here" / "onnxruntime-fp32" / JOURNAL

    def kill() -> float:
        if len(journal.read_text().splitlines()) > 15:  # some way into the measurement, however fast the machine
            raise Killed
        return 1.0

    options = {"out": tmp_path, "target": "here", "calibration": 2, "holdout": 0}
    with pytest.raises(Killed):
        measure_table([(space, 5)], protocol=FAST, reference=kill, **options)  # type: ignore[arg-type]
    visits = journal.read_text().splitlines()[1:]
    assert visits
    assert not (journal.parent / "table.yaml").exists()  # nothing half-written
    done = measure_table([(space, 5)], protocol=FAST, reference=lambda: 1.0, **options)  # type: ignore[arg-type]
    first = json.loads(visits[0])
    assert list(done.measurements[first["name"]].visits[0].samples_ms) == first["samples_ms"]
    assert not journal.exists()


def test_beginning_anew_forgets_the_journal(space: SearchSpace, tmp_path: Path) -> None:
    journal = tmp_path / "here" / "onnxruntime-fp32" / JOURNAL
    journal.parent.mkdir(parents=True)
    journal.write_text("not a journal\n")
    options = {"out": tmp_path, "target": "here", "calibration": 2, "holdout": 0, "protocol": FAST}
    with pytest.raises(NasEdgeError, match="journal"):
        measure_table([(space, 5)], **options)  # type: ignore[arg-type]
    assert measure_table([(space, 5)], resume=False, **options).report.coverage == 1  # type: ignore[arg-type]


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_two_spaces_are_measured_in_one_sitting_and_a_third_is_appended(
    space: SearchSpace, tmp_path: Path, precision: str
) -> None:
    small, other = SearchSpace.named("mbv3-32").restrict([20]), SearchSpace.named("mcu").restrict([32], w=(0.5,))
    # The third shares no block with the others: only blocks that are timed again tell how the machine has changed.
    options = {"out": tmp_path, "target": "here", "precision": precision, "protocol": FAST, "calibration": 3}
    both = measure_table([(space, 5), (small, 10)], holdout=2, **options)  # type: ignore[arg-type]
    assert [report.coverage for report in both.reports] == [1, 1]
    assert len(both.table.networks) == 10
    assert both.table.header.space["also"][0]["name"] == "mbv3-32"
    assert both.table.header.figures["holdout_by_space"].keys() == {"tiny", "mbv3-32"}
    assert both.table.header.reference_kernel
    more = measure_table([(other, 2)], holdout=0, append=True, **options)  # type: ignore[arg-type]
    assert more.merged is not None
    assert more.merged.shared == ANCHORS
    assert 0.5 < more.merged.drift < 2
    assert more.report.coverage == 1
    table = read_table(more.path)
    assert len(table.networks) == 13
    assert {network.space for network in table.networks} == {"tiny", "mbv3-32", "mcu"}
    assert [one["name"] for one in table.header.space["also"]] == ["mbv3-32", "mcu"]
    assert check_table(table, space, 5).coverage == check_table(table, small, 10).coverage == 1


def test_a_second_sitting_says_how_far_it_differs_from_the_first(space: SearchSpace, tmp_path: Path) -> None:
    options = {"out": tmp_path, "target": "here", "protocol": FAST, "calibration": 3, "holdout": 0}
    first = measure_table([(space, 5)], **options)  # type: ignore[arg-type]
    assert first.table.header.sittings == {}
    second = measure_table([(space, 5)], **options)  # type: ignore[arg-type]
    found = read_table(second.path).header.sittings
    assert (found["networks"], found["sittings"], found["pairs"]) == (3, 2, 1)
    assert 0 < found["log_error"] < 1
    third = measure_table([(space, 5)], **options)  # type: ignore[arg-type]
    assert third.table.header.sittings["pairs"] == 2


def test_probes_are_measured_beside_the_blocks_of_the_space(space: SearchSpace, tmp_path: Path) -> None:
    made = measure_table([(space, 5)], out=tmp_path, target="here", protocol=FAST, calibration=3, holdout=0, probes=8)
    bare = measure_table([(space, 5)], out=tmp_path / "bare", target="here", protocol=FAST, calibration=3, holdout=0)
    assert len(made.table.blocks) == len(bare.table.blocks) + 8
    assert made.report.coverage == 1


def test_nothing_is_appended_to_a_table_of_another_machine_or_to_none(space: SearchSpace, tmp_path: Path) -> None:
    options = {"out": tmp_path, "target": "here", "calibration": 2, "holdout": 0, "protocol": FAST}
    with pytest.raises(TableError, match="no table to append to"):
        measure_table([(space, 5)], append=True, **options)  # type: ignore[arg-type]
    made = measure_table([(space, 5)], **options)  # type: ignore[arg-type]
    header = replace(made.table.header, origin=replace(made.table.header.origin, machine="another"))
    write_table(replace(made.table, header=header), made.path)
    with pytest.raises(TableError, match="was measured on another, not on this one"):
        measure_table([(space, 5)], append=True, **options)  # type: ignore[arg-type]


def test_an_unknown_runtime_or_an_unwritable_directory_costs_no_measuring(space: SearchSpace, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="onnxruntime"):
        measure_table([(space, 5)], runtime="onnxruntim", out=tmp_path)
    with pytest.raises(SpaceError, match="runs fp32, int8"):
        measure_table([(space, 5)], precision="fp16", out=tmp_path)
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").write_text("")
    with pytest.raises(NasEdgeError, match="file"):
        measure_table([(space, 5)], out=tmp_path / "file")


def test_a_cold_search_meets_a_device_in_cold_runs(
    stand: Path, bench: FakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    regimes = []

    def met(target: Target, space: SearchSpace, num_classes: int, *, regime: str, **_: object) -> FoundTable:
        regimes.append(regime)
        found = load_table_for(target, regime)
        return replace(found, own=True, path=stand)

    monkeypatch.setattr("nas_edge.pipeline.tables.measuring.first_contact", met)
    search_flow(
        SearchRequest(target="board", bundle="tiny", latency_ms=3.0, evaluations=500, verify=True, regime="cold")
    )
    assert regimes == ["cold"]


def test_a_first_contact_in_cold_runs_is_kept_as_such(local: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Protocol, "quick", lambda: FAST)
    monkeypatch.setattr("nas_edge.pipeline.tables.measuring.FIRST_CONTACT_SPAN_S", 0.0)
    met = first_contact(local, SearchSpace.named("lite0").restrict([64]), 6, networks=3, regime="cold")
    assert met.table.header.regime == "cold"
    assert load_table_for(local, "cold").path == met.path
    assert not load_table_for(local).own


def test_a_first_contact_is_kept_in_the_cache_and_used_from_then_on(local: Target) -> None:
    space = SearchSpace.named("lite0").restrict([64, 80])
    assert not load_table_for(local).own
    met = first_contact(local, space, 6, networks=4, protocol=FAST)
    assert met.own
    assert met.path is not None
    assert "4 networks measured on this device" in met.notes[0]
    found = load_table_for(local)
    assert found.own
    assert found.path == met.path
    predictor = LatencyPredictor.of(found.table, space, 6)
    assert predictor.networks == 4
    measured = [network.ms for network in found.table.networks]
    rows = np.stack([space.from_json(network.arch) for network in found.table.networks])
    assert np.abs(predictor.point(rows) / np.array(measured) - 1).mean() < 0.5
    assert (predictor.predict(rows).exact_share == 0).all()
