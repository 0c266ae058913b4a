"""Run directories are whole or not there."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from nas_edge import resources
from nas_edge.errors import ConfigError, FormatError
from nas_edge.pipeline.running.directory import load_run, run_path, write_manifest, write_result, writing

RESULT = {"target": "local", "bundle": "tiny", "precision": "fp32", "arch": {"r": 32}}


def test_a_run_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> None:
        with writing(tmp_path / "run") as directory:
            write_result(directory, RESULT, {"r": 32})
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_a_run_reads_back(tmp_path: Path) -> None:
    with writing(tmp_path / "run") as directory:
        write_result(directory, RESULT, {"r": 32})
        (tmp_path / "input.txt").write_text("abc")
        write_manifest(directory, {"search": 1}, {"file": tmp_path / "input.txt"}, 1.5, ["search", "--seed", "1"])
    run = load_run(tmp_path / "run")
    assert (run.target, run.arch["r"]) == ("local", 32)
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["command"] == ["nas-edge", "search", "--seed", "1"]
    assert manifest["inputs"]["file"]["sha256"].startswith("ba7816bf")
    assert manifest["cost"] == {"wall_s": 1.5}


def test_runs_of_one_second_get_different_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    paths = []
    for _ in range(3):
        paths.append(run_path(None, "local"))
        paths[-1].mkdir()
    assert len(set(paths)) == 3
    assert all(path.parent == Path("runs") and "-local" in path.name for path in paths)


def test_an_empty_directory_may_be_given_for_a_run(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with writing(run_path(tmp_path / "run", "x")) as directory:
        write_result(directory, RESULT, {})
    assert load_run(tmp_path / "run").bundle == "tiny"


def test_a_file_in_the_way_is_told(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    with pytest.raises(ConfigError, match="exists already"):
        run_path(tmp_path / "runs", "x")
    with pytest.raises(ConfigError, match="a file is in the way"):
        run_path(tmp_path / "runs" / "deeper", "x")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_an_unwritable_directory_is_told_before_the_search(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(ConfigError, match="cannot be written"):
        run_path(tmp_path / "new" / "run", "x")


def test_results_that_lack_something_are_refused(tmp_path: Path) -> None:
    write_result(tmp_path, {"target": "local"}, {})
    with pytest.raises(FormatError, match="lacks bundle, precision, arch"):
        load_run(tmp_path)
    with pytest.raises(ConfigError, match=r"no result\.json"):
        load_run(tmp_path / "none")


def test_what_the_user_keeps_comes_before_the_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, here = tmp_path / "home", tmp_path / "here"
    for root in (home, here):
        (root / "targets").mkdir(parents=True)
        (root / "targets" / "both.yaml").write_text("")
    (home / "targets" / "one.yaml").write_text("")
    monkeypatch.setenv("NAS_EDGE_HOME", str(home))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(here)
    found = resources.names("targets", ".yaml")
    assert found["both"] == here / "targets" / "both.yaml"
    assert found["one"] == home / "targets" / "one.yaml"
    assert "local" in found
    assert resources.find("targets/nothing.yaml") is None
    assert resources.cache_directory() == tmp_path / "cache" / "nas-edge"
