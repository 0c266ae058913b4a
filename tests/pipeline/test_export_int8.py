"""Weights of an int8 file have as many bits as the device can take, which is asked, not this machine."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from nas_edge.errors import NasEdgeError, UnknownNameError
from nas_edge.pipeline.devices.adding import Wishes, add_target
from nas_edge.pipeline.devices.targets import load_target
from nas_edge.pipeline.evaluate_flow import evaluate_flow
from nas_edge.pipeline.exporting.flow import ExportWishes, export_flow
from nas_edge.pipeline.exporting.int8 import form_of_run, form_on, targets_of
from nas_edge.pipeline.learning.finetuning import finetune_flow
from nas_edge.pipeline.running.directory import load_run
from nas_edge.pipeline.searching.flow import search_flow
from nas_edge.pipeline.searching.request import SearchRequest
from nas_edge.runtimes.onnx_runtime import OnnxRuntime
from nas_edge.runtimes.saturation import weight_bits
from nas_edge.runtimes.visits import RemoteRuntime
from tests.devices.sshd import *  # noqa: F403 - fixtures
from tests.devices.sshd import free_port
from tests.stand import BOARD


@pytest.fixture(autouse=True)
def own_lock(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("run")))


@pytest.fixture
def run(stand):
    return search_flow(SearchRequest(target="board", bundle="tiny", latency_ms=2.0, evaluations=1000)).run


@pytest.fixture
def there(stand, ssh_home):
    """A target over a real sshd, on which the agent runs ONNX Runtime."""
    return add_target("there", Wishes(host=ssh_home.address, python=sys.executable, directory=str(ssh_home.tmp)))


@pytest.fixture
def answered(monkeypatch):
    """How many bits the weights had of each int8 model that answered for a network."""
    from nas_edge.training.measuring import evaluate

    bits, make = [], evaluate.int8_model

    def noted(net, calibration, form):
        bits.append(form.weight_bits)
        return make(net, calibration, form)

    monkeypatch.setattr(evaluate, "int8_model", noted)
    return bits


def greatest_code(model: Path) -> int:
    """Of all weights of an int8 file."""
    codes = [numpy_helper.to_array(i) for i in onnx.load(model).graph.initializer if i.name.endswith("weight.code")]
    return max(int(np.abs(code.astype(int)).max()) for code in codes)


def say(name: str, line: str) -> None:
    Path("targets").mkdir(exist_ok=True)
    Path("targets", f"{name}.yaml").write_text(f"{BOARD}{line}\n")


def of(run: Path, **changes: object) -> Path:
    """The run, as if it were of other targets."""
    result = json.loads((run / "result.json").read_text()) | changes
    (run / "result.json").write_text(json.dumps(result))
    return run


@pytest.mark.parametrize("bits", [7, 8])
def test_a_device_out_of_reach_has_what_its_target_says(run, bits):
    say("board", f"int8_weight_bits: {bits}")
    report = export_flow(run, precision="int8")
    assert greatest_code(report.model) == 2 ** (bits - 1) - 1
    assert report.quantisation.weight_bits == bits
    assert f"int8 weights have {bits} bits, as the target board says; it was not asked" in report.notes
    assert ("the device's int8 sums overflow" in "\n".join(report.lines())) == (bits == 7)


def test_where_nobody_says_this_machine_stands_in_and_that_is_told_in_one_line(run):
    report = export_flow(run, precision="int8")
    (note,) = [note for note in report.notes if "int8 weights" in note]
    assert f"{weight_bits()} bits, as they may here: board was not asked whether its sums overflow" in note
    assert "--host" in note
    assert not any("int8 weights" in note for note in export_flow(run, precision="fp32").notes)


def test_a_run_of_a_device_whose_name_is_no_target_is_exported_all_the_same(run):
    report = export_flow(of(run, target="pi-10.0.0.9"), precision="int8")
    assert any("pi-10.0.0.9 was not asked" in note for note in report.notes)


def test_of_several_devices_the_weakest_decides(run):
    say("old", "int8_weight_bits: 7")
    say("board", "int8_weight_bits: 8")
    report = export_flow(of(run, targets={"board": {}, "old": {}}), precision="int8")
    assert greatest_code(report.model) == 63
    assert sum("int8 weights" in note for note in report.notes) == 2
    assert targets_of({"target": "a", "targets": {"a": {}, "b": {}}}, None) == ("a", "b")
    assert targets_of({"target": "a", "targets": {"a": {}, "b": {}}}, "c") == ("c",)
    named = export_flow(run, precision="int8", wishes=ExportWishes(target="board"))
    assert greatest_code(named.model) == 127


def test_a_device_that_can_be_reached_is_asked(run, there, ssh_home, answered, monkeypatch):
    report = export_flow(of(run, target="there"), precision="int8")
    assert "int8 weights as there said when it was asked" in report.notes
    assert greatest_code(report.model) == 2 ** (weight_bits() - 1) - 1
    monkeypatch.setattr(
        "nas_edge.runtimes.saturation.weight_bits_of", lambda runtime: 7 if isinstance(runtime, RemoteRuntime) else 8
    )
    report = export_flow(run, precision="int8")
    assert greatest_code(report.model) == 63
    assert "overflow" in "\n".join(report.lines())
    assert evaluate_flow(str(run), precision="int8").notes == ("int8 weights as there said when it was asked",)
    assert answered == [7]
    assert list(ssh_home.tmp.iterdir()) == []


def test_a_device_that_is_gone_is_told_and_one_that_was_named_must_answer(run, ssh_home):
    gone = f"device: {{kind: ssh, address: 'nobody@127.0.0.1:{free_port()}'}}"
    Path("targets").mkdir()
    Path("targets", "there.yaml").write_text(BOARD.replace("device: {kind: none}", gone))
    report = export_flow(of(run, target="there"), precision="int8")
    (note,) = [note for note in report.notes if "int8 weights" in note]
    assert "there was not asked" in note
    assert "\n" not in note
    with pytest.raises(NasEdgeError):
        export_flow(run, precision="int8", wishes=ExportWishes(target="there"))
    with pytest.raises(UnknownNameError, match="nowhere"):
        export_flow(run, precision="int8", wishes=ExportWishes(target="nowhere"))


@pytest.mark.parametrize("bits", [7, 8])
def test_an_evaluation_in_int8_is_of_the_file_for_the_device(run, answered, bits):
    say("board", f"int8_weight_bits: {bits}")
    exported, report = export_flow(run, precision="int8"), evaluate_flow(str(run), precision="int8")
    assert answered == [bits]
    assert report.accuracy == exported.quantisation.after
    assert report.notes == exported.notes == tuple(report.to_json()["notes"])
    assert report.lines()[-1] == f"note       {report.notes[0]}"


def test_nobody_is_asked_for_a_bundle_and_for_other_precisions(run, answered):
    assert evaluate_flow(str(run)).notes == ()
    assert evaluate_flow("tiny", precision="int8").notes == ()
    assert answered == [weight_bits()]


def test_training_for_int8_and_its_judging_are_of_the_file_for_the_device(run, answered):
    say("board", "int8_weight_bits: 7")
    report = finetune_flow(run, epochs=1, qat=True)
    assert answered == [7, 7]
    (note,) = report.notes
    assert "7 bits, as the target board says" in note
    assert report.lines()[-1] == f"note: {note}"
    assert report.to_json()["notes"] == [note]
    exported = export_flow(run, precision="int8").quantisation
    assert exported.after == pytest.approx((report.after if report.kept else report.before)[0], abs=1e-6)


def test_files_of_other_runtimes_have_8_bits_whatever_this_machine_takes(run, monkeypatch):
    monkeypatch.setattr("nas_edge.runtimes.saturation.weight_bits", lambda: 7)
    monkeypatch.setattr("nas_edge.runtimes.saturation.weight_bits_of", lambda runtime: 7)
    others = load_run(of(run, target="jetson", targets={"jetson": {}, "stm32f405": {}}))
    assert form_of_run(others)[0].weight_bits == 8
    assert form_of_run(others, "onnxruntime")[0].weight_bits == 7
    here = load_run(of(run, target="local", targets={}))
    assert form_of_run(here)[0].weight_bits == 7
    assert form_of_run(here, "litert")[0].weight_bits == 8
    program = SimpleNamespace(name="litert")  # gives no outputs: it could not be asked
    assert form_on([program]).weight_bits == 8
    assert form_on([program, OnnxRuntime()]).weight_bits == 7


def test_shipped_targets_of_onnx_runtime_say_what_their_cores_take():
    for name, bits in (("intel-i7-8700k", 7), ("raspberry-pi-4", 8), ("raspberry-pi-5", 8)):
        assert load_target(name).int8_weight_bits == bits
