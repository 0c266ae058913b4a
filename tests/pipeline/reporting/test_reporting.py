"""What a report says is what the run recorded; what it did not record is called not known."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
import typer

from nas_edge.cli import compare as compare_command
from nas_edge.cli import report as report_command
from nas_edge.errors import ConfigError, FormatError
from nas_edge.pipeline.reporting import chance
from nas_edge.pipeline.reporting.checklist import checklist_flow
from nas_edge.pipeline.reporting.facts import read_facts
from nas_edge.pipeline.reporting.summary import report_flow
from nas_edge.pipeline.searching.flow import search_flow
from nas_edge.pipeline.searching.request import SearchRequest
from tests.stand import FakeBench
from tests.tables import write_benchmark

QUESTIONS = [*(f"1{x}" for x in "abcde"), *(f"2{x}" for x in "abcdefgh"), *(f"3{x}" for x in "abc")]


def search(**options: object) -> Path:
    given = {
        "target": "board",
        "bundle": "tiny",
        "latency_ms": 2.0,
        "evaluations": 500,
        "strategy": "evolution",
        "out": Path("run"),
    }
    given |= options
    return search_flow(SearchRequest(**given)).run  # type: ignore[arg-type]


def edited(run: Path, **changes: object) -> Path:
    """The run with fields of its result changed, or (None) taken away."""
    result = json.loads((run / "result.json").read_text()) | changes
    (run / "result.json").write_text(json.dumps({k: v for k, v in result.items() if v is not None}))
    return run


def answers(report) -> dict[str, tuple[str, str]]:
    return {item["number"]: (item["answer"], item["evidence"]) for item in report.to_json()["items"]}


def run_line(command: str) -> None:
    """Run a command line that a report gives."""
    app = typer.Typer(pretty_exceptions_enable=False)
    for module in (compare_command, report_command):
        module.register(app)
    words = shlex.split(command)
    assert words[0] == "nas-edge"
    app(args=words[1:], standalone_mode=False)


def test_every_figure_of_an_unverified_run_has_its_origin(stand):
    run = search()
    result = json.loads((run / "result.json").read_text())
    figures = {f["figure"]: f for f in report_flow(run).to_json()["figures"]}
    assert figures["accuracy, predicted"]["value"] == f"{100 * result['accuracy']['predicted']:.2f} %"
    assert figures["accuracy, predicted"]["origin"].startswith("modelled")
    assert figures["latency on board, predicted"]["origin"].startswith("from figures measured; table (board")
    assert not any("measured" in name for name in figures)
    assert all(f["origin"] for f in figures.values())
    text = "\n".join(report_flow(run).lines())
    assert all(f"| {name} |" in text for name in figures)


def test_a_verified_run_says_what_was_measured_and_where(stand, bench: FakeBench):
    bench.factor = 0.9
    run = search(verify=True)
    figures = {f["figure"]: f for f in report_flow(run).to_json()["figures"]}
    assert "95 % upper limit" in figures["latency on board, measured"]["origin"]
    assert "search split" in figures["accuracy, measured"]["origin"]
    unknown = checklist_flow(run).to_json()["not_known"]
    assert not any("meets its budget" in text or "true accuracy" in text for text in unknown)


def test_the_checklist_answers_every_question_and_is_kept_in_the_run(stand):
    run = search()
    report = checklist_flow(run)
    assert list(answers(report)) == QUESTIONS
    text = (run / "checklist.md").read_text()
    assert text == report.text
    assert re.findall(r"^- \*\*(\d\w) ", text, re.MULTILINE) == QUESTIONS
    assert {answer for answer, _ in answers(report).values()} <= {"yes", "partly", "no", "not known", "does not apply"}
    assert "true accuracy" in text
    assert "nothing was measured" in text
    found = answers(report)
    assert "seed 0" in found["1e"][1]
    assert '"population": ' in found["1e"][1]  # defaults are spelled out
    assert "made for tests" in found["2a"][1]
    assert "training of the supernet: not known" in found["3b"][1]


def test_random_search_is_run_once_and_then_taken_from_the_run(stand, monkeypatch):
    run = search(evaluations=300)
    first = checklist_flow(run)
    found = first.to_json()["random_search"]
    assert found["seeds"] == chance.SEEDS == found["wins"] + found["ties"] + found["losses"]
    assert found["evaluations"] == 300
    assert found["median"] >= found["random_median"]
    monkeypatch.setattr(chance, "run_once", None)  # would fail if called
    assert checklist_flow(run).to_json() == first.to_json()


@pytest.mark.parametrize("number", ["2c", "2f"])
def test_the_commands_that_it_gives_run(stand, number):
    strategies = {"2c": ("evolution", {"initial": 50, "children": 20}), "2f": ("random", {})}
    name, options = strategies[number]
    run = search(evaluations=120, macs=400_000.0, fix=("k=3",), strategy=name, options=options)
    command = re.search("`(nas-edge compare [^`]*)`", answers(checklist_flow(run))[number][1])[1]
    run_line(f"{command} --seeds 1 --no-plot")
    summary = json.loads(Path("compared/summary.json").read_text())
    assert summary["evaluations"] == 120
    assert summary["rows"][0]["budget"] == "2ms&macs<=400000"
    assert summary["problem"]["fix"] == ["k=3"]
    if number == "2c":
        assert len(summary["rows"]) > 2
        assert "initial=50:children=20:" in summary["rows"][1]["strategy"]


def test_a_run_of_a_table_has_its_regret(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table = write_benchmark(Path("bench.csv"), genes=5)
    run = search_flow(
        SearchRequest(space=str(table), limits=(("latency", "<=", 5.0),), evaluations=60, out=Path("run"), seed=1)
    ).run
    figures = {f["figure"]: f["value"] for f in report_flow(run).to_json()["figures"]}
    assert float(figures["optimum"]) - float(figures["accuracy"]) == pytest.approx(float(figures["regret"]), abs=1e-5)
    found = answers(checklist_flow(run))
    assert found["1a"][0] == "does not apply"
    assert found["2h"][0] == "yes"
    assert "its optimum known" in found["2h"][1]
    assert "the trace (evaluations, best so far) is in result.json" in found["2e"][1]
    assert json.loads((run / "result.json").read_text())["trace"][-1][1] == pytest.approx(float(figures["accuracy"]))
    command = re.search("`(nas-edge compare [^`]*)`", found["2c"][1])[1]
    run_line(f"{command} --seeds 1 --no-plot")


def test_a_front_is_shown_with_its_knee(stand):
    run = search_flow(SearchRequest(target="board", bundle="tiny", pareto=("latency", "accuracy"), verify=False)).run
    lines = report_flow(run).lines()
    assert "| accuracy | latency |  |" in lines
    assert sum(line.endswith("| knee |") for line in lines) == 1


def test_what_is_missing_is_called_not_known(stand):
    run = edited(search(), request=None, bundle="vanished")
    (run / "manifest.json").unlink()
    report = checklist_flow(run)
    found, unknown = answers(report), " ".join(report.to_json()["not_known"])
    assert found["1a"][0] == "not known"
    assert found["2f"] == ("no", found["2f"][1])
    assert "the run kept no request" in found["2f"][1]
    assert found["3c"][0] == "no"
    for text in ("manifest.json is not there", "kept no request", "'vanished' cannot be read", "on which machine"):
        assert text in unknown
    assert "vanished" in report_flow(run).text


def test_a_proxy_is_no_accuracy_and_is_not_searched_again(stand):
    run = search()
    request = json.loads((run / "result.json").read_text())["request"]
    edited(run, request=request | {"accuracy_predictor": "zero-cost:synflow"}, accuracy_source="given predictor")
    figures = {f["figure"]: f["origin"] for f in report_flow(run).to_json()["figures"]}
    assert figures["score of zero-cost:synflow"] == "zero-cost proxy: no accuracy"
    assert "builds a network" in answers(checklist_flow(run))["2f"][1]


def test_directories_that_are_no_runs_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="is not the directory of a search"):
        read_facts(tmp_path)
    (tmp_path / "result.json").write_text('{"format": 9}')
    with pytest.raises(FormatError, match="'format: 1' is expected"):
        read_facts(tmp_path)
