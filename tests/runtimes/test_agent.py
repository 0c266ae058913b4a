"""The agent: on this machine and over ssh, as every runtime; and what is said when it cannot be, or lies."""

import ast
import json
import os
import re
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nas_edge.devices import LocalDevice
from nas_edge.devices.agent import AGENT_FILE, AGENT_VERSION, agent
from nas_edge.devices.ssh import ssh_device
from nas_edge.errors import DeviceError, DeviceLostError, MeasurementError, SpaceError
from nas_edge.profiling import Protocol, Regime, WorkItem, measure_many, reference
from nas_edge.runtimes import get_runtime
from nas_edge.runtimes.agent import AgentRuntime
from nas_edge.runtimes.visits import RemoteRuntime, VisitPlan
from nas_edge.spaces.onnx_blocks import build_onnx
from tests.devices.sshd import *  # noqa: F403 - fixtures

from .contract import BLOCK, RuntimeContract

PLAN = VisitPlan(warmups=2, warmup_ms=0.1, max_warmups=3, repeats=5, max_repeats=8, visit_ms=0.5)
TINY = Protocol(
    min_rounds=2, rounds=3, max_rounds=4, repeats=4, max_repeats=8, visit_ms=0.5, warmup_ms=0.2, tolerance=0
)
MODEL = build_onnx((BLOCK,)).SerializeToString()


@pytest.fixture(autouse=True)
def own_lock(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("run")))


@pytest.fixture
def here():
    device = LocalDevice()
    runtime = AgentRuntime(device, python=sys.executable)
    yield runtime
    runtime.close()
    device.close()


@pytest.fixture
def there(ssh_home, tmp_path):
    device = ssh_device(ssh_home.address, lock=str(tmp_path / ".lock"), grace_s=5.0)
    runtime = AgentRuntime(device, python=sys.executable)
    yield runtime
    runtime.close()
    device.close()


class TestAgentHere(RuntimeContract):
    @pytest.fixture
    def runtime(self, here):
        return here


class TestAgentOverSsh(RuntimeContract):
    @pytest.fixture(scope="class")
    def runtime(self, sshd, tmp_path_factory):
        patch = pytest.MonkeyPatch()
        patch.setenv("HOME", str(sshd.home))
        device = ssh_device(sshd.address, lock=str(tmp_path_factory.mktemp("lock") / ".lock"))
        runtime = AgentRuntime(device, python=sys.executable)
        yield runtime
        runtime.close()
        device.close()
        patch.undo()


def test_outputs_are_those_of_the_runtime_itself(here):
    x = np.random.default_rng(0).standard_normal((1, 16, 12, 12), np.float32)
    wanted = get_runtime("onnxruntime").prepare(MODEL, "fp32", 1).run({"input": x})
    found = here.prepare(MODEL, "fp32", 1).run({"input": x})
    assert found.keys() == wanted.keys()
    np.testing.assert_array_equal(found["output"], wanted["output"])


def test_the_agent_needs_nothing_newer_than_python_3_8():
    ast.parse(AGENT_FILE.read_text(), feature_version=(3, 8))
    assert "nas_edge" not in re.sub(r'""".*?"""', "", AGENT_FILE.read_text(), flags=re.DOTALL)


def test_its_reference_kernel_is_the_one_of_profiling():
    def parts(file):
        tree = ast.parse(Path(file).read_text())
        named = {n.name: n for n in tree.body if isinstance(n, ast.ClassDef | ast.FunctionDef)}
        kernel = [ast.dump(n) for n in named["ReferenceKernel"].body if isinstance(n, ast.FunctionDef)]
        functions = [ast.dump(named[name]) for name in ("_page_aligned", "reference_identity")]
        names = ("NAME", "VERSION", "_HASHED", "_HASHES", "_READ_BYTES", "_PAGE", "_READINGS", "_PASSES", "_FORGOTTEN")
        values = {
            node.targets[0].id: ast.dump(node.value)
            for node in tree.body
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
        }
        return kernel, functions, {name: values[name] for name in names}

    assert parts(agent.__file__) == parts(reference.__file__)
    assert agent.AGENT_VERSION == AGENT_VERSION
    assert agent.reference_identity() == reference.reference_identity()


def test_it_is_a_remote_runtime_and_says_what_it_is(here):
    assert isinstance(here, RemoteRuntime)
    assert here.version() == get_runtime("onnxruntime").version()
    assert here.hello["architecture"] == os.uname().machine
    assert 0 < here.reading() < 50


def test_a_visit_has_all_that_a_sitting_needs(here):
    session = here.prepare(MODEL, "fp32", 1)
    record = session.visit(PLAN)
    assert 5 <= len(record.samples_ms) <= 8
    assert 0 < sum(record.samples_ms) <= record.wall_ms
    assert 0 < record.cpu_share <= 1
    assert record.before_ms > 0
    assert record.after_ms > 0
    assert session.memory_bytes > 2**20


def test_a_sitting_there_is_one_like_here(there, tmp_path):
    large = build_onnx((replace(BLOCK, height=48, width=48),)).SerializeToString()
    items = [WorkItem("small", MODEL), WorkItem("large", large)]
    found = measure_many(items, there, there.device, TINY, journal=tmp_path / "journal")
    small, large = found["small"], found["large"]
    assert large.median_ms > 3 * small.median_ms > 0
    assert small.device == LocalDevice().fingerprint()
    assert len(small.cores) == 1
    assert small.reference_kernel == reference.reference_identity()
    assert small.origin.kind == "measured"
    assert small.reference_quiet_ms > 0
    assert not there.running


def test_the_cold_regime_is_measured_there_as_well(here):
    found = measure_many([WorkItem("a", MODEL)], here, here.device, replace(TINY.for_regime(Regime.COLD), rounds=2))
    assert found["a"].regime is Regime.COLD
    assert {len(visit.samples_ms) for visit in found["a"].visits} == {TINY.repeats}


def test_a_sitting_that_is_cut_goes_on_and_loses_no_sample(there, ssh_home, tmp_path, monkeypatch):
    items = [WorkItem(f"{i}", build_onnx((BLOCK,), seed=i).SerializeToString()) for i in range(4)]
    asked = 0
    ask = AgentRuntime._ask

    def cutting(self, what, timeout_s, details):
        nonlocal asked
        asked += what == "visit"
        if what == "visit" and asked in (3, 7):
            ssh_home.cut()
        return ask(self, what, timeout_s, details)

    monkeypatch.setattr(AgentRuntime, "_ask", cutting)
    found = measure_many(items, there, there.device, replace(TINY, max_rounds=3), journal=tmp_path / "journal")
    assert there.generation >= 3
    assert asked >= 12 + 2
    assert [len(m.visits) for m in found.values()] == [3, 3, 3, 3]
    lines = [json.loads(line) for line in (tmp_path / "journal").read_text().splitlines()[1:]]
    assert len(lines) == 12


def test_a_killed_agent_is_no_cut_and_says_so(there):
    session = there.prepare(MODEL, "fp32", 1)
    pid = there._process._pid
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(DeviceError, match=r"has ended with status -9") as caught:
        session.visit(PLAN)
    assert not isinstance(caught.value, DeviceLostError)
    assert len(session.visit(PLAN).samples_ms) >= 5  # and a new one is started when it is asked again


def test_the_agent_ends_with_its_input(here):
    here.reading()
    pid = here._process._pid
    here.close()
    for _ in range(50):
        if not Path(f"/proc/{pid}").exists():
            return
        time.sleep(0.05)
    pytest.fail("the agent still runs")


def fake_agent(tmp_path, answers):
    """A "python" whose agent answers as it is told: text, or a mapping that is answered in JSON with the right id."""
    script = tmp_path / "python"
    hello = {
        "ok": True, "agent": AGENT_VERSION, "python": "3", "runtimes": {"onnxruntime": "1"}, "reference": "r",
        "inputs": {"input": [1, 16, 12, 12]}, "free": {"input": [False] * 4},
    }  # fmt: skip
    script.write_text(
        f"#!{sys.executable}\nimport json, sys\nanswers = json.loads({json.dumps(answers)!r})\n"
        f"hello = json.loads({json.dumps(hello)!r})\n"
        "for line in sys.stdin:\n"
        "    request = json.loads(line)\n"
        "    answer = answers.get(request['do'], hello)\n"
        "    if isinstance(answer, dict):\n"
        "        answer = json.dumps(dict(answer, id=request['id']))\n"
        "    sys.stdout.write(answer.replace('ID', str(request['id'])) + '\\n')\n"
        "    sys.stdout.flush()\n"
    )
    script.chmod(0o755)
    return AgentRuntime(LocalDevice(), python=str(script))


GOOD = {
    "ok": True, "samples_ms": [1.0] * 5, "wall_ms": 6.0, "cpu_share": 1.0, "reference_ms": [1.0, 1.0],
}  # fmt: skip


def test_the_stand_in_agent_of_these_tests_is_believed_when_it_does_not_lie(tmp_path):
    assert fake_agent(tmp_path, {"visit": GOOD}).prepare(MODEL, "fp32", 1).visit(PLAN).samples_ms == (1.0,) * 5


@pytest.mark.parametrize(
    ("lie", "told"),
    [
        ("Segmentation fault", "no answer: 'Segmentation fault'"),
        ("[1, 2]", "no answer"),
        ('{"id": 0, "ok": true}', "no answer"),
        ('{"id": ID, "ok": true, "samples_ms": [NaN]}', "no answer"),
        ('{"id": ID, "ok": "yes"}', "no answer"),
        ({**GOOD, "samples_ms": [1.0] * 4}, "4 run times where 5 to 8 were asked for"),
        ({**GOOD, "samples_ms": [1.0] * 9}, "9 run times"),
        ({**GOOD, "samples_ms": "fast"}, "samples_ms 'fast'"),
        ({**GOOD, "samples_ms": [1.0, None, 1.0, 1.0, 1.0]}, "samples_ms"),
        ({**GOOD, "cpu_share": 1.5}, "cpu_share is 1.5"),
        ({**GOOD, "reference_ms": [1.0]}, "reference_ms"),
        ({**GOOD, "reference_ms": [0.0, 1.0]}, "reference_ms"),
        ({**GOOD, "wall_ms": None}, "wall_ms is None"),
        ({"ok": True}, "samples_ms None"),
    ],
)
def test_an_agent_that_lies_is_not_believed(tmp_path, lie, told):
    runtime = fake_agent(tmp_path, {"visit": lie})
    session = runtime.prepare(MODEL, "fp32", 1)
    with pytest.raises(DeviceError, match=re.escape(told)) as caught:
        session.visit(PLAN)
    assert "\n" not in str(caught.value)
    assert not runtime.running


def test_times_that_cannot_be_are_thrown_away_like_here(tmp_path):
    runtime = fake_agent(tmp_path, {"visit": {**GOOD, "wall_ms": 2.0}, "isolate": {"ok": True, "cores": [0]},
                                    "reading": {"ok": True, "reference_ms": 1.0}})  # fmt: skip
    with pytest.raises(MeasurementError, match="did the clock jump"):
        measure_many([WorkItem("a", MODEL)], runtime, runtime.device, TINY)


def test_a_device_without_python_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "sh").symlink_to("/bin/sh")
    with pytest.raises(DeviceError, match=r"has no python3; install it there: sudo apt install python3"):
        AgentRuntime(LocalDevice()).version()


def test_a_python_without_the_runtime_says_how_to_get_it(tmp_path):
    runtime = fake_agent(tmp_path, {"hello": {"ok": True, "agent": AGENT_VERSION, "runtimes": {}, "reference": "r"}})
    with pytest.raises(DeviceError, match=r"has no onnxruntime; install it there: python3 -m venv ~/\.nas-edge && "):
        runtime.version()


def test_an_interpreter_that_is_not_there_is_named():
    with pytest.raises(DeviceError, match="no-such-python cannot be run"):
        AgentRuntime(LocalDevice(), python="no-such-python").version()


def test_a_package_for_another_cpu_is_told_as_such(tmp_path):
    script = tmp_path / "python"
    script.write_text("#!/bin/sh\nkill -ILL $$\n")
    script.chmod(0o755)
    with pytest.raises(DeviceError, match="built for another CPU"):
        AgentRuntime(LocalDevice(), python=str(script)).version()


def test_unknown_runtimes_are_refused():
    with pytest.raises(SpaceError, match="the agent has onnxruntime, litert"):
        AgentRuntime(LocalDevice(), "tensorrt")


def test_more_threads_than_cores_are_refused(here):
    with pytest.raises(MeasurementError, match="4096 threads need as many cores"), here.isolated(4096):
        pass
