"""Whole comparisons on a table, where the truth is known."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nas_edge.errors import BudgetError, ConfigError, FormatError, MissingExtraError, QuantityError, UnknownNameError
from nas_edge.pipeline.comparing import flow as comparing
from nas_edge.pipeline.comparing.flow import compare_flow
from nas_edge.pipeline.comparing.problem import NoiseFloor
from nas_edge.pipeline.comparing.request import CompareRequest, parse_budget, parse_strategy
from nas_edge.search import FunctionMetric
from nas_edge.spaces.tabular import TabularSpace
from tests.tables import write_benchmark

SMALL = "evolution:initial=60:children=30:population=20"


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> Path:
    return write_benchmark(tmp_path_factory.mktemp("table") / "bench.csv", genes=6)


@pytest.fixture
def request_(table, tmp_path) -> CompareRequest:
    return CompareRequest(
        (SMALL, "random:batch=50"), tmp_path / "out", ("5ms", "7ms"), seeds=6, evaluations=200, space=str(table),
        baseline="random:batch=50", plot=False,
    )  # fmt: skip


def best_within(table: Path, limit: float) -> float:
    space = TabularSpace.read(table)
    accuracy, latency = space.figure("accuracy").values, space.figure("latency").values
    return float(accuracy[latency <= limit].max())


def test_every_run_is_in_the_table_with_its_regret_against_the_known_optimum(request_, table):
    report = compare_flow(request_)
    rows = list(csv.DictReader((request_.out / "compare.csv").open()))
    assert len(rows) == 2 * 2 * 6
    for row in rows:
        assert int(row["evaluations"]) == 200
        best = best_within(table, float(row["budget"].removesuffix("ms")))
        assert float(row["regret"]) == pytest.approx(best - float(row["accuracy"]), abs=1e-6)
        assert float(row["regret"]) >= 0
    assert report.analysis.optima["5ms"].value == pytest.approx(best_within(table, 5.0))
    assert report.analysis.optima["5ms"].exact


def test_the_summary_says_what_the_runs_do(request_):
    report = compare_flow(request_)
    summary = json.loads((request_.out / "summary.json").read_text())
    rows = list(csv.DictReader((request_.out / "compare.csv").open()))
    for row in summary["rows"]:
        mine = {
            r["seed"]: float(r["accuracy"])
            for r in rows
            if (r["strategy"], r["budget"]) == (row["strategy"], row["budget"])
        }
        assert row["spread"]["median"] == pytest.approx(np.median(list(mine.values())))
        if row["against"]:
            others = {
                r["seed"]: float(r["accuracy"])
                for r in rows
                if (r["strategy"], r["budget"]) == ("random:batch=50", row["budget"])
            }
            assert row["against"]["wins"] == sum(mine[s] > others[s] for s in mine)
            assert row["p_holm"] >= row["against"]["p"]
    assert [row["strategy"] for row in summary["overall"]] == list(request_.compared)
    text = "\n".join(report.lines())
    assert "won/tied/lost" in text
    assert "optimum" in text
    json.dumps(report.to_json(), allow_nan=False)


def test_evolution_beats_random_search_at_equal_evaluations(request_):
    report = compare_flow(replace(request_, seeds=10))
    evolution, random = report.analysis.overall
    assert evolution.spread.median > random.spread.median
    assert evolution.against.wins >= 8
    assert evolution.against.p < 0.05


def test_random_search_is_added_as_the_baseline(request_):
    report = compare_flow(replace(request_, strategies=(SMALL,), baseline="random", budgets=("7ms",), seeds=2))
    assert [row.strategy for row in report.analysis.rows] == [SMALL, "random"]
    assert report.analysis.rows[1].against is None
    assert report.analysis.overall == ()
    assert any("no p below" in note for note in report.analysis.notes)


def test_the_same_comparison_gives_the_same_files(request_, tmp_path):
    pytest.importorskip("matplotlib")
    names = ("compare.csv", "summary.json", "anytime.png", "anytime.svg")
    contents = []
    for out in (tmp_path / "a", tmp_path / "b"):
        compare_flow(replace(request_, out=out, plot=True, seeds=2))
        contents.append([(out / name).read_bytes() for name in names])
    assert contents[0] == contents[1]


def test_finished_runs_are_not_repeated_and_new_ones_are_added(request_, monkeypatch):
    first = compare_flow(request_)
    done = []
    once = comparing.run_once
    monkeypatch.setattr(comparing, "run_once", lambda p, c, key, *rest: done.append(key) or once(p, c, key, *rest))
    again = compare_flow(request_)
    assert (done, again.repeated) == ([], 24)
    assert again.summary() == first.summary()
    compare_flow(replace(request_, strategies=(*request_.strategies, "random"), budgets=("7ms",)))
    assert {key.strategy for key in done} == {"random"}
    assert len(done) == 6


def test_a_comparison_that_is_cut_off_goes_on(request_, monkeypatch):
    whole = compare_flow(replace(request_, out=request_.out.with_name("whole")))
    once, calls = comparing.run_once, []

    def interrupted(problem, constraint, key, *rest):
        calls.append(key)
        if len(calls) == 8:
            raise KeyboardInterrupt
        return once(problem, constraint, key, *rest)

    monkeypatch.setattr(comparing, "run_once", interrupted)
    with pytest.raises(KeyboardInterrupt):
        compare_flow(request_)
    report = compare_flow(request_)
    assert report.repeated == 7
    assert report.summary() == whole.summary()


def test_a_comparison_that_was_killed_goes_on(request_, table):
    command = (
        "from pathlib import Path; from nas_edge.pipeline.comparing.flow import compare_flow as go;"
        "from nas_edge.pipeline.comparing.request import CompareRequest as R;"
        f"go(R({request_.strategies!r}, Path({str(request_.out)!r}), {request_.budgets!r}, seeds=6, evaluations=200,"
        f" space={str(table)!r}, baseline='random:batch=50', plot=False))"
    )
    process = subprocess.Popen([sys.executable, "-c", command])
    runs, limit = request_.out / "runs", time.monotonic() + 30
    while len(list(runs.glob("*.json"))) < 3 and time.monotonic() < limit:
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert 3 <= len(list(runs.glob("*.json"))) < 24
    report = compare_flow(request_)
    assert report.repeated >= 3
    assert report.summary() == compare_flow(replace(request_, out=request_.out.with_name("whole"))).summary()


def test_another_comparison_in_the_same_directory_is_refused(request_, table):
    compare_flow(replace(request_, seeds=1))
    with pytest.raises(ConfigError, match="holds a comparison with evaluations 200, not 300"):
        compare_flow(replace(request_, seeds=1, evaluations=300))
    other = write_benchmark(table.with_name("bench2.csv"), genes=6, seed=1)
    with pytest.raises(ConfigError, match="holds a comparison with space 'bench', not 'bench2'"):
        compare_flow(replace(request_, seeds=1, space=str(other)))
    damaged = next((request_.out / "runs").glob("*.json"))
    damaged.write_text('{"value": "x"}')
    with pytest.raises(FormatError, match="delete it to repeat the run"):
        compare_flow(replace(request_, seeds=1))


def test_anytime_curves_of_several_objectives_are_hypervolumes_that_rise_to_the_table_s(request_, monkeypatch):
    drawn = {}
    monkeypatch.setattr("nas_edge.report.plots.plot_anytime", lambda panels, label, paths, title: drawn.update(
        panels=panels, label=label, title=title
    ))  # fmt: skip
    request = replace(
        request_, objectives=("accuracy", "latency"), strategies=("nsga2:population=20",), budgets=(), plot=True
    )
    report = compare_flow(request)
    (panel,) = drawn["panels"]
    assert drawn["label"] == "hypervolume, share of the box"
    assert "median of 6 seeds" in drawn["title"]
    for curve, row in zip(panel.curves, report.analysis.rows, strict=True):
        known = curve.median[np.isfinite(curve.median)]
        assert (np.diff(known) >= -1e-12).all()
        assert len(np.unique(known)) > 5
        assert known[-1] == pytest.approx(row.spread.median)
    # Kept runs have their curves as well.
    before = drawn["panels"][0].curves[0].median
    compare_flow(request)
    assert np.array_equal(drawn["panels"][0].curves[0].median, before, equal_nan=True)


def test_several_objectives_are_compared_by_hypervolume(request_):
    report = compare_flow(
        replace(
            request_, strategies=("nsga2:population=20", "random:batch=50"), budgets=(), seeds=4, evaluations=150,
            objectives=("accuracy", "latency"),
        )
    )  # fmt: skip
    assert report.analysis.value == "hypervolume of accuracy, latency"
    for row in report.analysis.rows:
        assert 0 < row.spread.low <= row.spread.median <= row.spread.high <= 1
    nsga2, random = report.analysis.rows
    assert nsga2.spread.median > random.spread.median
    assert any("change with what is compared" in note for note in report.analysis.notes)


def test_least_latency_is_compared_the_right_way_round(request_, table):
    report = compare_flow(
        replace(request_, budgets=("accuracy>=0.8",), objectives=("latency",), strategies=("exhaustive",), seeds=2,
                evaluations=729)
    )  # fmt: skip
    space = TabularSpace.read(table)
    least = space.figure("latency").values[space.figure("accuracy").values >= 0.8].min()
    exhaustive, random = report.analysis.rows
    assert not report.analysis.maximise
    assert exhaustive.spread.median == pytest.approx(least)
    assert exhaustive.regret == pytest.approx(0, abs=1e-12)
    assert random.regret >= 0
    assert exhaustive.against.losses == 0


def test_a_budget_that_nothing_meets_is_told_before_anything_is_run(request_):
    with pytest.raises(BudgetError, match="cannot be met"):
        compare_flow(replace(request_, budgets=("7ms", "1us")))
    assert not request_.out.exists()


def test_without_matplotlib_the_extra_is_named_before_anything_is_run(request_, monkeypatch):
    monkeypatch.setattr("nas_edge.report.plots.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"nas-edge\[report\]"):
        compare_flow(replace(request_, plot=True))
    assert not request_.out.exists()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"strategies": ()}, ConfigError, "nothing to compare"),
        ({"strategies": ("evolutoin",)}, UnknownNameError, "did you mean evolution"),
        ({"strategies": ("evolution:nich=3",)}, UnknownNameError, "did you mean niches"),
        ({"strategies": ("evolution:niches=many",)}, ConfigError, "niches must be int, not 'many'"),
        ({"strategies": ("random", "random")}, ConfigError, "random is there twice"),
        ({"budgets": ("5ms", "5ms")}, ConfigError, "5ms is there twice"),
        ({"budgets": ("5",)}, QuantityError, "no unit"),
        ({"budgets": ("speed<=5",)}, UnknownNameError, "unknown metric 'speed'"),
        ({"budgets": ("<=",)}, QuantityError, "is not a limit"),
        ({"seeds": 0}, QuantityError, "seeds must be 1 to 200"),
        ({"evaluations": 1}, QuantityError, "at least 2"),
        ({"objectives": ("size",)}, UnknownNameError, "unknown metric 'size'"),
        ({"resolutions": (32,)}, ConfigError, "--resolutions is of networks"),
        ({"space": None, "accuracy_predictor": "zero-cost:zen", "evaluations": 2001}, ConfigError, "at most 2000"),
        ({"space": "none.csv"}, FormatError, "none.csv: cannot be read"),
    ],
)
def test_bad_input_is_one_clear_error(request_, change, error, message):
    with pytest.raises(error, match=message):
        compare_flow(replace(request_, **change))


def test_budgets_and_strategies_are_read_as_written():
    metrics = {
        name: FunctionMetric(name, unit, np.zeros_like)
        for name, unit in [
            ("latency", "ms"),
            ("macs", "MACs"),
            ("sram", "bytes"),
            ("accuracy", "%"),
            ("energy", "mJ"),
            ("top1", ""),
        ]
    }
    read = [
        parse_budget(t, metrics)
        for t in (
            "15ms",
            "macs <= 60M",
            "sram<=256KB",
            "accuracy>=92%",
            "accuracy>=92",
            "energy<=0.3J",
            "top1>=92%",
            "top1>=0.92",
        )
    ]
    assert [str(c) for c in read] == [
        "latency <= 15", "macs <= 6e+07", "sram <= 262144", "accuracy >= 92", "accuracy >= 92",
        "energy <= 300", "top1 >= 0.92", "top1 >= 0.92",
    ]  # fmt: skip
    assert parse_strategy("evolution:crossover=0.25:niches=2") == ("evolution", {"crossover": 0.25, "niches": 2})


def test_strategies_are_compared_on_a_bundle_and_the_predictors_error_is_told(stand):
    pytest.importorskip("torch")
    request = CompareRequest(
        ("exhaustive", "random"), Path("out"), ("latency<=1s", "macs<=400k"), seeds=2, evaluations=400, bundle="tiny",
        target="board", plot=False,
    )  # fmt: skip
    report = compare_flow(request)
    by_strategy = {(row.strategy, row.budget): row for row in report.analysis.rows}
    assert by_strategy["exhaustive", "macs<=400k"].regret == pytest.approx(0, abs=1e-12)
    assert report.problem.about["bundle"] == "tiny"
    assert report.problem.noise is None  # the stand's predictor says nothing of its quality
    assert {"accuracy_predictor.npz", "table, fp32"} <= set(report.problem.inputs)


def test_strategies_that_look_inside_the_surrogates_are_called_so(stand):
    request = CompareRequest(
        ("exact",), Path("out"), ("macs<=400k",), seeds=2, evaluations=50, bundle="tiny", target="board", plot=False,
        objectives=("params",),
    )  # fmt: skip
    assert any("as done by exact," in note for note in compare_flow(request).analysis.notes)
    others = compare_flow(replace(request, out=Path("others"), strategies=("random",)))
    assert not any("looking inside" in note for note in others.analysis.notes)


def test_the_default_is_compared_as_auto(request_):
    request = replace(request_, strategies=("auto",), seeds=1, evaluations=100)
    auto, _ = compare_flow(request).analysis.rows[:2]
    assert auto.strategy == "auto"
    assert auto.spread.median is not None
    with pytest.raises(ConfigError, match="options are of a strategy with a name"):
        parse_strategy("auto:population=3")


def test_differences_below_the_predictors_error_are_called_so(request_, monkeypatch):
    known = comparing.problem_of
    monkeypatch.setattr(comparing, "problem_of", lambda r: replace(known(r), noise=NoiseFloor(0.5, 0.2)))
    report = compare_flow(replace(request_, seeds=3))
    note = next(n for n in report.analysis.notes if "off by 0.5000" in n)
    assert "2 of 2 median differences from random:batch=50 are smaller" in note
    assert report.summary()["noise"] == {"rmse": 0.5, "label_noise": 0.2}
    monkeypatch.setattr(comparing, "problem_of", lambda r: replace(known(r), noise=NoiseFloor(1e-9)))
    report = compare_flow(replace(request_, seeds=3))
    assert any("every median difference" in n for n in report.analysis.notes)
