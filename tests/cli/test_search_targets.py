"""`nas-edge search --per-target` (what fails for one target does not hide what the others came to), and its help."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from nas_edge.cli.main import invoke
from nas_edge.search.strategies.base import _BUILT_IN


def test_the_help_names_every_strategy(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["search", "--help"]) == 0
    assert set(_BUILT_IN) <= set(re.findall(r"\w+", capsys.readouterr().out))


TWO = [
    "search", "--target", "board", "--latency", "2ms", "--target", "jetson", "--latency", "0.001ms", "--bundle", "tiny",
    "--evaluations", "500", "--per-target", "--no-verify",
]  # fmt: skip


def test_one_target_that_cannot_be_met_does_not_hide_the_other(stand: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(TWO) == 2
    captured = capsys.readouterr()
    assert "== board" in captured.out
    assert "budget 2.00 ms  predicted" in captured.out
    assert captured.out.rstrip().splitlines()[-2] == "== jetson"
    assert captured.out.rstrip().splitlines()[-1].startswith("error      latency <= ")
    assert captured.err.startswith("error: jetson: latency <= 0.0010 ms cannot be met: the least")
    assert captured.err.count("\n") == 1
    assert len([run for run in Path("runs").iterdir() if run.is_dir()]) == 1


def test_as_json_the_failed_one_is_in_the_same_object(stand: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke([*TWO, "--json"]) == 2
    first, second = json.loads(capsys.readouterr().out)["runs"]
    assert first["target"] == "board"
    assert Path(first["run"]).is_dir()
    assert second["target"] == "jetson"
    assert "cannot be met" in second["error"]


def test_the_same_mistake_for_every_target_is_told_once(stand: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [word if word != "tiny" else "tinny" for word in TWO]
    assert invoke(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("did you mean tiny") == 1


def test_interrupted_at_the_second_the_first_is_shown(
    stand: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from nas_edge.pipeline.searching import flow

    whole = flow.search_flow

    def cut(request, progress, spread):
        if request.target == "jetson":
            raise KeyboardInterrupt
        return whole(request, progress)

    monkeypatch.setattr(flow, "search_flow", cut)
    assert invoke(TWO) == 130
    out = capsys.readouterr().out
    assert "budget 2.00 ms  predicted" in out
    assert out.rstrip().endswith("interrupted before anything was found")
