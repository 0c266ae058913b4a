"""The command line: what is printed where, exit codes, bad input."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from nas_edge.cli.common import columns, parse_resolutions, shown_progress
from nas_edge.cli.main import app, invoke, main
from nas_edge.data.loading import dataset_names
from nas_edge.errors import ConfigError
from nas_edge.spaces.presets import preset_names
from tests.stand import FakeBench

COMMANDS = [
    ["train"], ["finetune"], ["evaluate"], ["search"], ["export"], ["profile"], ["run"], ["table", "measure"],
    ["table", "show"], ["table", "check"], ["table", "predict"], ["table", "import"], ["table", "diff"],
    ["table", "merge"], ["table", "plan"], ["table", "transfer"], ["compare"], ["report"], ["targets", "list"],
    ["targets", "show"], ["targets", "add"], ["targets", "doctor"], ["zoo", "list"], ["zoo", "pull"], ["zoo", "import"],
]  # fmt: skip
SEARCH = ["search", "--target", "board", "--bundle", "tiny", "--latency", "2ms", "--evaluations", "500"]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help_with_an_example_and_the_common_options(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke([*command, "--help"]) == 0
    text = capsys.readouterr().out
    assert "Example" in text
    assert f"nas-edge {' '.join(command)}" in text
    assert "--json" in text
    assert "--debug" in text


def test_the_help_of_train_names_every_preset_and_every_data_set() -> None:
    command = typer.main.get_command(app).commands["train"]
    told = {str(option.name): str(getattr(option, "help", "")) for option in command.params}
    assert all(name in told["space"] for name in preset_names())
    assert all(name in told["data"] for name in dataset_names())


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["--version"]) == 0
    assert capsys.readouterr().out.startswith("nas-edge 0.")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["search", "--latency", "20"], "latency '20' has no unit"),
        (["search", "--latency", "20mss"], "latency '20mss' has no unit that latency knows"),
        (["search", "--latency", "-3ms"], "latency '-3ms' must be positive"),
        (["search", "--macs", "many"], "macs 'many' is not a quantity"),
        (["search", "--params", "2X"], "params '2X' has no unit that params knows"),
        (["search", "--resolutions", "big"], "resolutions 'big'"),
        (["search"], "a search needs a budget"),
        (["search", "--target", "jetsn", "--latency", "5ms"], "did you mean jetson"),
        (["search", "--target", "board", "--bundle", "tinny", "--latency", "5ms"], "did you mean tiny"),
        (["search", "--resume", "runs/x", "--latency", "2ms"], "--latency does not go with --resume"),
        (["evaluate", "tiny", "--study", "alone", "--split", "test"], "--split does not go with --study"),
        (["evaluate", "tiny", "--measure", "int8", "--arch", "largest"], "--arch does not go with --measure"),
        (["evaluate", "tiny", "--workers", "2"], "--workers does not go with the accuracy of one network"),
        (["search", "--seed", "x"], "--seed"),
        (["search", "--colour", "red"], "No such option"),
        (["serch"], "No such command 'serch'"),
        (["targets", "show", "nothing"], "unknown target 'nothing'"),
        (["run", "nothing.yaml"], "unknown pipeline 'nothing.yaml'"),
        (["export", "nowhere"], "is not the directory of a search"),
        (["profile", "nowhere"], "is not the directory of a search"),
        (["evaluate", "nowhere"], "unknown bundle 'nowhere'"),
        (["table", "predict", "--arch", "none.json", "--bundle", "tiny"], "none.json: cannot be read"),
        (["table", "measure", "--target", "board", "--bundle", "tiny"], "nothing says how its device is reached"),
        (["table", "measure", "--space", "lite1", "--classes", "6"], "did you mean lite0"),
        (["train", "--data", "nowhere", "--out", "new"], "nowhere"),
        (["train", "--data", "images", "--space", "lite9", "--out", "new"], "did you mean lite0"),
        (["train", "--data", "images", "--out", "new", "--time-limit", "soon"], "duration 'soon'"),
        (["train", "--data", "images", "--out", "new", "--init-normalisation", "half"], "goes with --init FILE"),
        (["search", *SEARCH[1:], "--verify"], "nothing says how its device is reached"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_users_mistake_is_one_line_on_stderr_and_exit_2(
    stand: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    code = invoke(arguments)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert message in captured.err
    assert code == (1 if "device" in message else 2)
    assert not list(stand.rglob("*")), "nothing half-written"


def test_json_is_one_object_on_stdout_and_nothing_else(
    stand: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert invoke([*SEARCH, "--json"]) == 0
    captured = capsys.readouterr()
    data = json.loads(captured.out)
    assert captured.out.count("\n") == 1
    assert Path(data["run"]).is_dir()
    assert captured.err == ""


def test_a_search_for_a_person_begins_with_unverified(
    stand: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert invoke(SEARCH) == 0
    assert capsys.readouterr().out.startswith("UNVERIFIED")


def test_a_verified_search_ends_with_0_where_the_budget_is_met_and_1_where_not(
    stand: Path,
    bench: FakeBench,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert invoke([*SEARCH, "--verify"]) == 0
    assert "MET" in capsys.readouterr().out
    bench.factor = 3.0
    assert invoke([*SEARCH, "--verify", "--rounds", "1", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["verified"] is False


def test_the_jetson_answers_right_after_installation(
    stand: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert invoke(["search", "--target", "jetson", "--latency", "20ms", "--bundle", "tiny"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("UNVERIFIED")
    assert "nas-edge search --target jetson --latency 20ms --host USER@ADDRESS --bundle tiny --verify" in lines[0]
    text = "\n".join(lines)
    assert "model 100%" in text
    assert "networks are exported for tensorrt" in text


def test_other_commands_speak_json_as_well(stand: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def spoken(*arguments: str) -> dict[str, Any]:
        assert invoke([*arguments, "--json"]) == 0
        data: dict[str, Any] = json.loads(capsys.readouterr().out)
        return data

    run = spoken(*SEARCH)["run"]
    assert {target["name"] for target in spoken("targets", "list")["targets"]} >= {"local", "board", "jetson-tx2"}
    assert spoken("targets", "show", "jetson")["name"] == "jetson-tx2"
    assert spoken("table", "show", "--target", "board")["runtime"] == "onnxruntime"
    assert spoken("table", "predict", "--target", "board", "--bundle", "tiny", "--arch", f"{run}/arch.json")
    assert spoken("export", run)["parity"]["top1_agreement"] == 1.0
    assert spoken("evaluate", run)["images"] == 24
    Path("p.yaml").write_text(
        "format: 1\nsteps:\n  - search: {target: board, bundle: tiny, latency: 2ms}\n  - evaluate: {}\n"
    )
    assert [step["step"] for step in spoken("run", "p.yaml", "--out", "piped")["steps"]] == ["search", "evaluate"]


def test_a_pipeline_that_fails_says_how_to_go_on(stand: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("p.yaml").write_text(
        "format: 1\nsteps:\n  - search: {target: board, bundle: tiny, latency: 2ms}\n  - export: {format: savedmodel}\n"
    )
    assert invoke(["run", "p.yaml", "--out", "out"]) == 2
    captured = capsys.readouterr()
    assert "1/2 search" in captured.out
    assert "nas-edge run p.yaml --resume out" in captured.err
    assert "error: unknown export format 'savedmodel'" in captured.err


def test_no_command_at_all_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke([]) == 2
    assert "Commands:" in capsys.readouterr().err


def _raise(error: BaseException) -> Any:
    def flow(*arguments: object, **options: object) -> None:
        raise error

    return flow


def test_an_unexpected_failure_is_one_line_and_a_traceback_only_with_debug(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("nas_edge.pipeline.searching.flow.search_flow", _raise(ZeroDivisionError("oh\nno")))
    assert invoke(["search", "--latency", "5ms"]) == 1
    assert capsys.readouterr().err == "error: unexpected ZeroDivisionError: oh no; --debug shows where\n"
    assert invoke(["search", "--latency", "5ms", "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_a_full_disk_is_a_failure_in_one_line(
    stand: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("nas_edge.files.os.fsync", full)
    assert invoke(SEARCH) == 1
    assert "the disk is full" in capsys.readouterr().err
    assert not list((stand / "runs").iterdir())


def test_an_interrupt_is_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("nas_edge.pipeline.searching.flow.search_flow", _raise(KeyboardInterrupt()))
    assert invoke(["search", "--latency", "5ms"]) == 130
    assert capsys.readouterr().err == "error: interrupted\n"


def test_the_entry_point_exits_with_the_code() -> None:
    with pytest.raises(SystemExit) as caught:
        main(["targets", "show", "nothing"])
    assert caught.value.code == 2


def test_a_reader_that_goes_away_is_no_failure() -> None:
    script = "import sys\nfrom nas_edge.cli.main import main\nmain(['targets', 'list'])"
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait(timeout=60) == 0
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()


def test_progress_is_silent_for_short_work_and_plain_where_there_is_no_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = [0.0]
    monkeypatch.setattr("nas_edge.cli.common.time.monotonic", lambda: clock[0])
    with shown_progress() as progress:
        for second in range(0, 30, 2):
            clock[0] = float(second)
            progress(second, 30, "working [hard]")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 2
    assert captured.err.startswith("working [hard]: 33%, 20 s left")


def test_the_time_left_of_work_that_goes_on_is_reckoned_from_what_it_does_now(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = [0.0]
    monkeypatch.setattr("nas_edge.cli.common.time.monotonic", lambda: clock[0])
    with shown_progress() as progress:
        progress(0, 1000, "about to begin")
        for second in range(1, 12):
            clock[0] = float(second)
            progress(400 + second, 1000, "training")
    assert capsys.readouterr().err.splitlines()[-1] == "training: 41%, 9 min 50 s left"


def test_columns_line_up_and_resolutions_are_lists_of_sides() -> None:
    assert columns([("a", "b"), ("long", "c")]) == ["a     b", "long  c"]
    assert parse_resolutions("128, 96,96") == (96, 128)
    for text in ("", "1.5", "-3", "96;128", "0"):
        with pytest.raises(ConfigError, match="96,128,160"):
            parse_resolutions(text)
