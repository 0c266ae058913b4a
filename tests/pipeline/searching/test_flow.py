"""Search: budgets, verification, what is written and what is said."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from nas_edge import resources
from nas_edge.errors import BudgetError, ConfigError, DeviceError, SpaceError, UnknownNameError
from nas_edge.pipeline.bundle import load_bundle
from nas_edge.pipeline.running.directory import load_run
from nas_edge.pipeline.searching.flow import search_flow
from nas_edge.pipeline.searching.report import SearchReport
from nas_edge.pipeline.searching.request import SearchRequest
from nas_edge.pipeline.seeded import seeded_model
from nas_edge.spaces import SearchSpace
from tests.stand import MS_PER_BYTE, FakeBench

KEYS = {"run", "arch", "accuracy", "latency_ms", "verified", "macs", "params", "evaluations", "wall_s"}


def find(**options: object) -> SearchReport:
    given = {"target": "board", "bundle": "tiny", "latency_ms": 2.0, "evaluations": 2000, **options}
    return search_flow(SearchRequest(**given))  # type: ignore[arg-type]


def test_an_unverified_search_says_so_first_and_gives_the_verifying_command(stand: Path) -> None:
    report = find()
    first, second = report.lines()[:2]
    assert first.startswith("UNVERIFIED")
    assert (
        "nas-edge search --target board --latency 2ms --host USER@ADDRESS --bundle tiny --evaluations 2000 --verify"
        in first
    )
    assert second.startswith("budget 2.00 ms  predicted")
    assert "MEASURED" not in " ".join(report.lines())
    assert report.exit_code == 0


def test_json_has_the_promised_keys_and_the_bound_is_within_the_budget(stand: Path) -> None:
    data = find().to_json()
    assert set(data) == KEYS
    latency = data["latency_ms"]
    assert set(latency) == {"predicted", "low", "high", "measured", "origin"}
    assert latency["low"] < latency["predicted"] < latency["high"] <= 2.0
    assert (latency["measured"], data["verified"], data["accuracy"]["measured"]) == (None, False, None)
    assert latency["origin"] == "measured"
    json.dumps(data, allow_nan=False)


def test_half_confidence_is_the_point_estimate(stand: Path) -> None:
    latency = find(confidence=0.5).latency
    assert latency.predicted == latency.high <= 2.0
    assert latency.predicted > find().latency.predicted


def test_all_budgets_hold_together(stand: Path, tiny_space: SearchSpace) -> None:
    report = find(macs=250_000.0, params=9_000.0)
    assert report.macs <= 250_000
    assert report.params <= 9_000
    row = tiny_space.from_json(report.arch)
    assert tiny_space.macs(row[None], 3)[0] == report.macs


def test_the_search_finds_what_brute_force_finds(stand: Path, tiny_space: SearchSpace) -> None:
    report = find(latency_ms=None, macs=400_000.0)
    rows = tiny_space.enumerate()
    accuracy = load_bundle("tiny").accuracy_predictor().predict(rows)
    best = accuracy[tiny_space.macs(rows, 3) <= 400_000].max()
    assert report.accuracy.predicted == pytest.approx(best)


def test_resolutions_restrict_the_search(stand: Path) -> None:
    assert find(resolutions=(32,)).resolution == 32
    with pytest.raises(SpaceError, match="r cannot be 40; it can be 32, 48"):
        find(resolutions=(40,))


def test_a_budget_that_nothing_meets_is_told_with_the_least_there_is(stand: Path) -> None:
    with pytest.raises(BudgetError, match="cannot be met: the least"):
        find(latency_ms=0.01)
    assert not Path("runs").exists() or not list(Path("runs").iterdir())


def test_a_budget_that_changes_nothing_is_told_with_the_largest_that_does(stand: Path) -> None:
    note = next(line for line in find(latency_ms=500.0).lines() if "slack" in line)
    assert "the budget latency <= 500 ms is slack: any from" in note


def test_the_run_directory_holds_result_architecture_front_and_manifest(stand: Path) -> None:
    report = find(seed=3)
    run = load_run(report.run)
    assert {p.name for p in report.run.iterdir()} == {"result.json", "arch.json", "pareto.csv", "manifest.json"}
    assert (run.target, run.bundle, run.precision) == ("board", "tiny", "fp32")
    manifest = json.loads((report.run / "manifest.json").read_text())
    assert manifest["seeds"] == {"search": 3}
    assert set(manifest["inputs"]) == {
        "target",
        "bundle.yaml",
        "supernet.safetensors",
        "accuracy_predictor.npz",
        "table",
    }
    assert {"nas-edge", "python", "numpy", "torch", "onnxruntime"} <= set(manifest["versions"])
    assert set(manifest["files"]) == {"result.json", "arch.json", "pareto.csv"}


def test_the_front_is_not_dominated(stand: Path) -> None:
    with open(find().run / "pareto.csv", newline="") as handle:
        rows = list(csv.DictReader(handle))
    latency = np.array([float(row["latency_ms"]) for row in rows])
    accuracy = np.array([float(row["accuracy"]) for row in rows])
    assert (np.diff(latency) > 0).all()
    assert (np.diff(accuracy) > 0).all()
    assert json.loads(rows[0]["arch"])["r"] in (32, 48)


def test_the_same_seed_gives_the_same_run(stand: Path) -> None:
    first, second = find(seed=1), find(seed=1)
    assert (first.arch, first.accuracy, first.latency) == (second.arch, second.accuracy, second.latency)
    assert first.run != second.run


@pytest.mark.parametrize("factor", [0.8, 1.0, 1.25])
def test_a_verified_network_meets_the_budget_as_measured_however_wrong_the_table_is(
    stand: Path, bench: FakeBench, tiny_space: SearchSpace, factor: float
) -> None:
    bench.factor, limit_ms = factor, 2.2
    report = find(latency_ms=limit_ms, verify=True)
    assert report.verified
    assert report.latency.measured is not None
    assert report.latency.upper95 is not None
    assert report.latency.measured <= report.latency.upper95 <= limit_ms
    assert report.latency.origin == "measured"
    rows = tiny_space.enumerate()
    ms = np.array([factor * MS_PER_BYTE * len(seeded_model(tiny_space, row, 3)) for row in rows])
    best = load_bundle("tiny").accuracy_predictor().predict(rows)[ms * 1.002 <= limit_ms].max()
    assert report.accuracy.predicted > best - 0.02
    assert report.accuracy.measured is not None
    assert report.accuracy.images == 24
    assert "  MET" in report.lines()[0]
    assert "MEASURED" in report.lines()[1]
    assert report.exit_code == 0


def test_a_budget_that_is_measured_not_to_be_met_is_not_called_met(stand: Path, bench: FakeBench) -> None:
    bench.factor = 2.0
    report = find(latency_ms=2.0, verify=True, rounds=1)
    assert not report.verified
    assert report.exit_code == 1
    assert report.lines()[0].endswith("NOT MET")
    assert report.latency.upper95 is not None
    assert report.latency.upper95 > 2.0


def test_a_proxy_s_score_is_no_percentage_where_nothing_was_measured_to_be_met(stand: Path, bench: FakeBench) -> None:
    bench.factor = 2.0
    options = {"accuracy_predictor": "zero-cost:synflow", "evaluations": 60}
    report = find(latency_ms=2.0, verify=True, rounds=1, **options)
    assert report.lines()[0].endswith("NOT MET")
    assert re.fullmatch(r"accuracy   synflow score [\d.]+", report.lines()[1])
    front = find(latency_ms=2.0, pareto=("accuracy", "latency"), **options).lines()
    points = [line for line in front if line.startswith("front")]
    assert points
    assert all("accuracy synflow score" in line and "%" not in line for line in points)


def test_without_a_latency_budget_the_chosen_network_is_measured_all_the_same(stand: Path, bench: FakeBench) -> None:
    report = find(latency_ms=None, macs=400_000.0, verify=True)
    assert report.verified
    assert report.latency.measured is not None
    assert bench.timed == [("chosen",)]


def test_verifying_on_a_device_that_nobody_can_reach_is_refused_at_once(stand: Path) -> None:
    with pytest.raises(DeviceError, match="nothing says how its device is reached"):
        find(verify=True)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"latency_ms": None}, ConfigError, "needs a budget"),
        ({"confidence": 1.0}, ConfigError, "confidence"),
        ({"confidence": 0.4}, ConfigError, "confidence"),
        ({"target": "bord"}, UnknownNameError, "did you mean board"),
        ({"bundle": "tinny"}, UnknownNameError, "did you mean tiny"),
        ({"precision": ("int8",)}, ConfigError, "no accuracy measured in int8"),
        ({"statistic": "mode"}, UnknownNameError, "median"),
        ({"statistic": "p95"}, ConfigError, "add --verify"),
    ],
)
def test_bad_requests_are_refused_in_one_line(
    stand: Path, options: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        find(**options)


def test_a_directory_that_is_taken_is_not_written_into(stand: Path) -> None:
    (stand / "mine").mkdir()
    (stand / "mine" / "precious.txt").write_text("mine")
    with pytest.raises(ConfigError, match="exists already"):
        find(out=Path("mine"))
    assert [p.name for p in (stand / "mine").iterdir()] == ["precious.txt"]


def test_a_target_without_a_table_is_no_dead_end(stand: Path) -> None:
    (stand / "targets").mkdir()
    (stand / "targets" / "new.yaml").write_text(
        "format: 1\ndescription: new\nruntime: tensorrt\ndevice: {kind: none}\n"
    )
    report = find(target="new", latency_ms=50.0)
    assert report.latency.origin == "modelled"
    assert report.latency.interval == "assumed"
    assert any("no table of new" in note for note in report.notes)


@pytest.mark.parametrize("target", ["jetson", "jetson-agx-xavier"])
def test_a_target_whose_published_table_was_removed_still_answers_from_a_model(
    target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(Path(resources.__file__).parent.parent / "targets", tmp_path / "targets")
    monkeypatch.setattr(resources, "_PACKAGE", tmp_path / "package")  # no defaults but what lies here
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("NAS_EDGE_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    report = search_flow(SearchRequest(target=target, latency_ms=20.0, evaluations=2000))
    assert report.lines()[0].startswith("UNVERIFIED")
    assert report.latency.origin == "modelled"
    assert report.latency.interval == "assumed"
    assert report.latency.high <= 20.0
