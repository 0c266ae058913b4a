"""YAML pipelines: validated before anything runs, resumable after anything broke."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import pytest
import typer

from nas_edge.cli.main import app
from nas_edge.errors import BudgetError, ConfigError, UnknownNameError
from nas_edge.pipeline.running.pipelines import open_pipeline, read_pipeline
from nas_edge.pipeline.running.steps import Step

ROOT = Path(__file__).resolve().parents[3]
SEARCH = "{target: board, bundle: tiny, latency: 2ms, evaluations: 500"


@pytest.mark.parametrize("path", sorted((ROOT / "pipelines").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_pipeline_is_valid(path: Path) -> None:
    assert read_pipeline(path)


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ("  - search: {latancy: 5ms}\n", r"p\.yaml:3: unknown key 'latancy'; did you mean 'latency'"),
        ("  - search: {latency: 5mss}\n", r"p\.yaml:3: .*latency '5mss' has no unit that latency knows"),
        ("  - search:\n      latency: -3ms\n", r"p\.yaml:4: .*must be positive"),
        ("  - search: {limit: [macs below 3]}\n", r"p\.yaml:3: .*is not a bound; write it like"),
        ("  - search: {resolutions: big}\n", r"p\.yaml:3: "),
        ("  - seek: {}\n", r"p\.yaml:3: unknown key 'seek'"),
        ("  - {search: {}, export: {}}\n", r"p\.yaml:3: steps\.0: a step is one of"),
        ("  []\n", r"p\.yaml:2: steps: "),
    ],
)
def test_a_mistake_is_told_with_file_and_line_before_anything_runs(tmp_path: Path, steps: str, message: str) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(f"format: 1\nsteps:\n{steps}")
    with pytest.raises(ConfigError, match=message):
        open_pipeline(str(path), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("flow", [name for name in Step.model_fields if name not in ("table", "alone")])
def test_a_step_has_the_options_of_its_command(flow: str) -> None:
    command = typer.main.get_command(app).commands[flow]
    options = {str(option.name) for option in command.params if isinstance(option, typer.core.TyperOption)}
    options -= {"json_output", "debug", "out", "resume"}  # of a command line, or the step's own
    options -= {"quick", "thorough"}  # which `effort` says
    options -= {"per_target", "alone", "bundle"} if flow in ("train", "evaluate") else {"per_target"}
    options -= {"arch", "measure", "subnets", "study", "epochs", "workers", "cluster"} if flow == "evaluate" else set()
    model = get_args(Step.model_fields[flow].annotation)[0]
    assert options <= set(model.model_fields)


def test_a_network_trained_alone_has_the_options_of_its_command_and_is_a_run_for_later_steps(stand: Path) -> None:
    Path("p.yaml").write_text(
        f"format: 1\nsteps:\n  - search: {SEARCH}}}\n"
        "  - alone: {as: searched, epochs: 2, recipe: {batch_size: 12, mixup: 0.0}}\n"
        "  - evaluate: {run: searched}\n"
        "  - alone: {as: named, arch: smallest, bundle: tiny, epochs: 1, recipe: {batch_size: 12}}\n"
        "  - alone: {run: searched, arch: smallest, epochs: 1}\n"
    )
    pipeline = open_pipeline("p.yaml", Path("out"))
    *steps, wrong = pipeline.pending()
    searched, alone, evaluated, named = [pipeline.run(step) for step in steps]
    network = json.loads(Path(searched.data["run"], "arch.json").read_text())
    assert alone.data["arch"] == {key: network[key] for key in alone.data["arch"]}
    assert alone.data["recipe"]["batch_size"] == 12
    assert (alone.data["trained"]["epochs"], named.data["trained"]["epochs"]) == (2, 1)
    assert evaluated.data["subject"] == alone.data["run"] == "out/2-alone"
    assert evaluated.data["accuracy"] == pytest.approx(alone.data["accuracy"]["measured"], abs=1e-4)
    assert named.data["macs"] < alone.data["macs"]
    with pytest.raises(ConfigError, match="takes arch or run, not both"):
        pipeline.run(wrong)


def test_options_of_a_step_reach_the_search(stand: Path) -> None:
    Path("p.yaml").write_text(f"format: 1\nsteps:\n  - search: {SEARCH}, limit: ['macs<=1G'], objective: macs}}\n")
    pipeline = open_pipeline("p.yaml", Path("out"))
    (report,) = [pipeline.run(step) for step in pipeline.pending()]
    asked = json.loads(Path(report.data["run"], "result.json").read_text())["request"]
    assert asked["limits"] == [["macs", "<=", 1e9]]
    assert asked["objective"] == "macs"


def test_pipelines_are_found_by_path_and_by_name(stand: Path) -> None:
    (stand / "pipelines").mkdir()
    (stand / "pipelines" / "mine.yaml").write_text(f"format: 1\nsteps:\n  - search: {SEARCH}}}\n")
    for name in ("mine", "pipelines/mine.yaml"):
        assert len(open_pipeline(name).steps) == 1
    with pytest.raises(UnknownNameError, match="unknown pipeline 'mime'; did you mean mine"):
        open_pipeline("mime")


def test_later_steps_work_on_the_runs_of_earlier_ones(stand: Path) -> None:
    Path("p.yaml").write_text(
        f"format: 1\nsteps:\n  - search: {SEARCH}, as: small}}\n  - search: {SEARCH}, seed: 1}}\n"
        "  - evaluate: {run: small}\n  - export:\n"
    )
    pipeline = open_pipeline("p.yaml", Path("out"))
    reports = [pipeline.run(step) for step in pipeline.pending()]
    assert [report.title for report in reports] == ["search small", "search", "evaluate", "export"]
    assert reports[2].data["subject"] == "out/1-search"
    assert reports[3].data["run"] == "out/2-search"
    assert Path("out/2-search/onnx-fp32/model.onnx").is_file()
    assert not list(pipeline.pending())
    assert [step["step"] for step in pipeline.to_json()["steps"]] == [report.title for report in reports]


def test_a_pipeline_that_broke_off_goes_on_after_the_steps_it_finished(stand: Path) -> None:
    Path("p.yaml").write_text(f"format: 1\nsteps:\n  - search: {SEARCH}}}\n  - search: {SEARCH}, macs: 1}}\n")
    pipeline = open_pipeline("p.yaml", Path("out"))
    first, second = pipeline.pending()
    done = pipeline.run(first)
    with pytest.raises(BudgetError):
        pipeline.run(second)
    resumed = open_pipeline("p.yaml", resume=Path("out"))
    assert [(step.title, step.data) for step in resumed.done] == [(done.title, done.data)]
    assert list(resumed.pending()) == [second]
    assert not Path("out/2-search").exists()


def test_a_pipeline_that_broke_off_in_its_first_step_goes_on_there(stand: Path) -> None:
    Path("p.yaml").write_text(f"format: 1\nsteps:\n  - search: {SEARCH}}}\n")
    begun = open_pipeline("p.yaml", out=Path("out"))
    resumed = open_pipeline("p.yaml", resume=Path("out"))
    assert resumed.directory == begun.directory
    assert list(resumed.pending()) == list(begun.pending())


def test_what_an_interrupted_search_has_so_far_is_not_for_later_steps(
    stand: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nas_edge.search.strategies.random import RandomSearch

    long = SEARCH.replace("500", "4000")
    Path("p.yaml").write_text(f"format: 1\nsteps:\n  - search: {long}, strategy: random}}\n")
    pipeline = open_pipeline("p.yaml", Path("out"))
    told, calls = RandomSearch.tell, iter(range(100))

    def interrupted(self: RandomSearch, *args: object) -> None:
        if next(calls) == 1:
            raise KeyboardInterrupt
        told(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(RandomSearch, "tell", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pipeline.run(next(iter(pipeline.pending())))
    monkeypatch.setattr(RandomSearch, "tell", told)
    resumed = open_pipeline("p.yaml", resume=Path("out"))
    report = resumed.run(next(iter(resumed.pending())))
    assert "interrupted" not in report.data
    assert not list(resumed.pending())


def test_a_pipeline_that_has_changed_is_not_resumed(stand: Path) -> None:
    Path("p.yaml").write_text(f"format: 1\nsteps:\n  - search: {SEARCH}}}\n")
    pipeline = open_pipeline("p.yaml", Path("out"))
    pipeline.run(next(iter(pipeline.pending())))
    Path("p.yaml").write_text(f"format: 1\nsteps:\n  - search: {SEARCH}, seed: 1}}\n")
    with pytest.raises(ConfigError, match="has changed since"):
        open_pipeline("p.yaml", resume=Path("out"))
    with pytest.raises(ConfigError, match="is not the directory of a pipeline"):
        open_pipeline("p.yaml", resume=Path("."))
    assert json.loads(Path("out/pipeline.json").read_text())["format"] == 1


def test_a_step_without_a_run_to_work_on_says_what_to_do(stand: Path) -> None:
    Path("p.yaml").write_text("format: 1\nsteps:\n  - export: {}\n")
    pipeline = open_pipeline("p.yaml", Path("out"))
    with pytest.raises(ConfigError, match="put a search before it"):
        pipeline.run(next(iter(pipeline.pending())))
