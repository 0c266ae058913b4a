"""`nas-edge zoo`: lists what is published, and says in one line what went wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from nas_edge.cli import zoo
from nas_edge.errors import DeviceError, FormatError


def test_published_supernets_are_listed() -> None:
    listed = CliRunner().invoke(zoo.app, ["list"])
    assert listed.exit_code == 0
    assert "ofa-mbv3-w1.2" in listed.output
    named = CliRunner().invoke(zoo.app, ["list", "--json"])
    assert json.loads(named.output)["published"] == [
        "ofa-mbv3-w1.0",
        "ofa-mbv3-w1.2",
        "ofa-proxyless-w1.3",
        "ofa-mbv3-w1.0-d4-e6-k7",
        "ofa-mbv3-w1.0-d4-e6-k357",
        "ofa-mbv3-w1.0-d34-e6-k357",
        "ofa-mbv3-w1.0-d234-e6-k357",
        "ofa-mbv3-w1.0-d234-e46-k357",
        "ofa-accuracy-predictor",
    ]


def test_without_a_network_one_line_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NAS_EDGE_ZOO", "http://127.0.0.1:9")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    done = CliRunner().invoke(zoo.app, ["pull", "ofa-mbv3-w1.0", "--out", str(tmp_path / "out")])
    assert isinstance(done.exception, DeviceError)
    assert "cannot be fetched" in str(done.exception)
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    options = ["import", str(tmp_path / "none"), "--space", "mcu", "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(zoo.app, options)
    assert isinstance(done.exception, FormatError)
    assert "there is no such file" in str(done.exception)
