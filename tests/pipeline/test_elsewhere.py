"""Measuring on another machine, end to end: a real sshd on loopback, the agent, ONNX Runtime there."""

import json
import shutil
import sys
from pathlib import Path

import pytest

from nas_edge.cli.main import invoke
from nas_edge.pipeline.devices.adding import Wishes, add_target
from nas_edge.pipeline.devices.targets import load_target
from nas_edge.pipeline.tables.finding import load_table_for
from nas_edge.spaces import SearchSpace
from nas_edge.spaces.onnx_blocks import build_onnx
from tests.conftest import ROOT
from tests.devices.sshd import *  # noqa: F403 - fixtures


@pytest.fixture(autouse=True)
def own_lock(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("run")))


@pytest.fixture
def there(stand, stand_template, ssh_home, monkeypatch):
    """A target over ssh; tables of this machine are left out, so that it has to be met."""
    Path("targets").mkdir()
    shutil.copy(ROOT / "targets" / "local.yaml", "targets")
    monkeypatch.setattr("nas_edge.resources.roots", lambda: (Path.cwd(), stand_template))
    yield add_target("there", Wishes(host=ssh_home.address, python=sys.executable, directory=str(ssh_home.tmp)))
    assert list(ssh_home.tmp.iterdir()) == []


def answer(capsys, *arguments):
    capsys.readouterr()
    code = invoke([*arguments, "--json"])
    captured = capsys.readouterr()
    assert code == 0, captured.err
    return json.loads(captured.out)


def network(tmp_path, name="lite0"):
    space = SearchSpace.named(name)
    path = tmp_path / "net.onnx"
    path.write_bytes(build_onnx(space.lower(space.smallest(), 6)).SerializeToString())
    return path


def test_a_network_is_profiled_there(there, tmp_path, capsys):
    found = answer(capsys, "profile", str(network(tmp_path)), "--target", "there", "--quick")
    assert found["latency_ms"]["median"] > 0
    assert found["target"] == "there"
    assert found["runtime"].startswith("onnxruntime ")
    assert found["origin"]["kind"] == "measured"


@pytest.mark.slow
def test_figures_from_there_are_those_from_here(there, tmp_path, capsys):
    """Loopback is this machine: the two ways of measuring must agree, within what one of them varies by itself."""
    path = str(network(tmp_path))
    far, near = [], []
    for _ in range(3):
        far.append(answer(capsys, "profile", path, "--target", "there")["latency_ms"]["median"])
        near.append(answer(capsys, "profile", path, "--target", "local")["latency_ms"]["median"])
    with capsys.disabled():
        print(f"\nms there {far}, here {near}")
    assert sorted(far)[1] == pytest.approx(sorted(near)[1], rel=0.06)


@pytest.mark.slow
def test_a_table_is_measured_there_and_used(there, stand, capsys):
    found = answer(
        capsys,
        "table",
        "measure",
        "--target",
        "there",
        "--bundle",
        "tiny",
        "--quick",
        "--networks",
        "6",
        "--holdout",
        "4",
    )
    assert Path(found["table"]) == Path("latency_tables/there/onnxruntime-fp32")
    assert found["coverage"] == 1
    shown = answer(capsys, "table", "show", "--target", "there")
    assert shown["origin"]["kind"] == "measured"
    assert not list(Path("latency_tables").rglob("journal*"))


@pytest.mark.slow
def test_a_device_without_a_table_is_met_and_a_search_verified_on_it(there, capsys):
    budget = ("search", "--target", "there", "--bundle", "tiny", "--latency", "1ms", "--evaluations", "2000")
    capsys.readouterr()
    assert invoke([*budget, "--out", "mine"]) == 0
    said = capsys.readouterr().out
    assert "first contact: a few networks were timed, once; kept in " in said
    assert "MEASURED" in said.splitlines()[0]
    assert said.splitlines()[0].endswith("MET")
    found = load_table_for(load_target("there"))
    assert found.own
    assert found.table.header.reference_quiet_ms > 0
    assert invoke([*budget, "--no-verify", "--out", "again"]) == 0
    said = capsys.readouterr().out
    assert "UNVERIFIED" in said
    assert "were timed, once" not in said


@pytest.mark.slow
def test_the_embedded_bundle_is_searched_for_a_host(there, ssh_home, capsys):
    capsys.readouterr()
    arguments = ("search", "--target", "there", "--host", ssh_home.address, "--latency", "3ms", "--out", "mine")
    assert invoke(arguments) == 0
    said = capsys.readouterr().out
    assert "first contact" in said
    result = json.loads(Path("mine/result.json").read_text())
    assert result["latency_ms"]["measured"] <= 3
    assert invoke(["profile", "mine", "--host", ssh_home.address, "--json"]) == 0
    profiled = json.loads(capsys.readouterr().out)
    assert profiled["latency_ms"]["median"] <= 3 * 1.03
