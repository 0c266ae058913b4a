"""TensorRT from search to table, over a real sshd where the stand-in `trtexec` of these tests is in the PATH."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from nas_edge.cli.main import invoke
from nas_edge.pipeline.bundle import load_bundle
from nas_edge.pipeline.devices.adding import Wishes, add_target
from nas_edge.pipeline.exporting.flow import ExportWishes, export_flow
from nas_edge.pipeline.searching.flow import search_flow
from nas_edge.pipeline.searching.request import SearchRequest
from nas_edge.runtimes.model_precision import model_precision
from tests.devices.sshd import *  # noqa: F403 - fixtures
from tests.runtimes.stand_in import install_trtexec


@pytest.fixture(autouse=True)
def own_lock(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("run")))


@pytest.fixture
def jetson(stand, ssh_home, tmp_path, monkeypatch):
    """A target over ssh that runs TensorRT; what was built is logged."""
    program = install_trtexec(tmp_path / "bin")
    log = tmp_path / "built"
    monkeypatch.setattr("nas_edge.runtimes.tensorrt._FIND", f"echo {program}")
    Path(program).write_text(Path(program).read_text().replace("exec ", f"STAND_IN_LOG={log} exec "))
    wishes = Wishes(like="jetson-tx2", host=ssh_home.address, directory=str(ssh_home.tmp))
    add_target("my-jetson", wishes)
    yield log
    assert list(ssh_home.tmp.iterdir()) == []


@pytest.fixture
def run(stand):
    return search_flow(SearchRequest(target="board", bundle="tiny", latency_ms=2.0, evaluations=1000)).run


def answer(capsys, *arguments):
    capsys.readouterr()
    code = invoke([*arguments, "--json"])
    captured = capsys.readouterr()
    assert code == 0, captured.err
    return json.loads(captured.out)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_an_export_holds_the_right_form_and_the_line_that_builds_it(run, precision):
    report = export_flow(run, "tensorrt", precision)
    model = report.model.read_bytes()
    assert model_precision(model) == precision
    assert onnx.load_from_string(model).opset_import[0].version == 13
    lines = "\n".join(report.lines())
    assert "trtexec --onnx=model.onnx --saveEngine=model.plan --noTF32" in lines
    assert (f" --{precision}" in lines) == (precision != "fp32")
    assert "no engine was built: name the device" in lines
    assert (report.quantisation is None) == (precision == "fp32")
    card = (report.directory / "model_card.md").read_text()
    assert "TensorRT 11" in card or precision == "fp32"
    json.dumps(report.to_json(), allow_nan=False)


def test_the_example_builds_an_engine_and_classifies_a_picture(run, tmp_path):
    folder = export_flow(run, "tensorrt", "fp16").directory
    picture = next((Path(load_bundle("tiny").header["data"]["spec"])).rglob("*.png"))
    for version in ("8.5", "11.0"):
        (folder / "model.plan").unlink(missing_ok=True)
        done = subprocess.run(
            [sys.executable, folder / "example.py", picture], capture_output=True, text=True, check=False,
            env={**os.environ, "TRTEXEC": install_trtexec(tmp_path / version, version)},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert any(name in done.stdout for name in ("apple", "brick", "cloud"))


def test_an_engine_is_built_on_a_device_that_is_named(run, jetson):
    report = export_flow(run, "tensorrt", "int8", wishes=ExportWishes(target="my-jetson"))
    assert report.plan is not None
    assert report.plan.stat().st_size > 0
    assert "on my-jetson (TensorRT 10.3.0), for it alone" in report.notes[0]


def test_a_profile_tells_layers_and_copies(run, jetson, capsys):
    export_flow(run, "tensorrt", "fp32")
    found = answer(capsys, "profile", str(run), "--target", "my-jetson", "--quick", "--per-layer")
    assert found["runtime"] == "tensorrt 10.3.0"
    assert "tensorrt-fp32" in found["artefact"]
    assert found["latency_ms"]["with_copies"] > found["latency_ms"]["median"] > 0
    assert {"b00.conv", "b01.depthwise"} <= {layer["name"] for layer in found["layers"]}


def test_the_doctor_knows_a_device_with_trtexec(jetson, capsys):
    found = answer(capsys, "targets", "doctor", "my-jetson")
    checks = {check["name"]: check for check in found["checks"]}
    assert checks["runtime"]["text"].startswith("tensorrt 10.3.0: ")
    assert checks["network"]["verdict"] == "ok"


@pytest.mark.slow
def test_a_table_is_measured_and_goes_on_after_a_reboot(jetson, ssh_home, capsys, monkeypatch):
    """The device goes down in the middle: what was built and measured until then is not built or measured again."""
    command = ("table", "measure", "--target", "my-jetson", "--bundle", "tiny", "--quick", "--networks", "4",
               "--holdout", "2", "--resolutions", "32", "--probes", "0")  # fmt: skip
    from nas_edge.errors import DeviceError
    from nas_edge.runtimes.tensorrt import TensorRtSession

    visits, timed = [0], TensorRtSession._timed

    def dies(self, runs, warmup_ms):
        visits[0] += 1
        if visits[0] > 12:
            raise DeviceError("device 'my-jetson': it was cut off and did not come back within 60 s")
        return timed(self, runs, warmup_ms)

    monkeypatch.setattr(TensorRtSession, "_timed", dies)
    capsys.readouterr()
    assert invoke(list(command)) == 1
    said = capsys.readouterr().err
    assert "are kept in" in said
    assert "building" in said
    built = len(jetson.read_text().splitlines())
    assert built > 10
    monkeypatch.setattr(TensorRtSession, "_timed", timed)
    found = answer(capsys, *command)
    assert len(jetson.read_text().splitlines()) == built
    assert found["coverage"] > 0
    shown = answer(capsys, "table", "show", "--target", "my-jetson")
    assert shown["origin"]["kind"] == "measured"
    header = Path("latency_tables/my-jetson/tensorrt-fp32/table.yaml").read_text()
    assert "class: gpu" in header
    assert Path("latency_tables/my-jetson/tensorrt-fp32/blocks.csv").is_file()
    assert np.isfinite(found["wall_s"])


@pytest.mark.slow
def test_a_device_without_a_table_is_met_and_a_search_verified_on_it(jetson, capsys):
    """Times are ONNX Runtime's on this machine, whatever the budget: that it ends, and says what it measured."""
    command = ("search", "--target", "my-jetson", "--bundle", "tiny", "--latency", "20ms", "--evaluations", "500")
    capsys.readouterr()
    assert invoke([*command, "--out", "mine"]) == 0, capsys.readouterr().err
    said = capsys.readouterr().out
    assert "MEASURED" in said.splitlines()[0]
    result = json.loads(Path("mine/result.json").read_text())
    assert 0 < result["latency_ms"]["measured"] <= 20
    assert "tensorrt" in said
