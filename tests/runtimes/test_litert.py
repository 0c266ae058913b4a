"""LiteRT as a runtime, here and through the agent."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest

from nas_edge.devices import LocalDevice
from nas_edge.devices.ssh import ssh_device
from nas_edge.errors import MeasurementError
from nas_edge.pipeline.seeded import seeded_block
from nas_edge.runtimes.agent import AgentRuntime
from nas_edge.runtimes.onnx_runtime import OnnxRuntime
from nas_edge.runtimes.visits import VisitPlan
from nas_edge.spaces import Precision
from nas_edge.spaces.onnx_blocks import build_onnx
from tests.devices.sshd import *  # noqa: F403 - fixtures

from .contract import BLOCK, RuntimeContract, int8_model

pytest.importorskip("ai_edge_litert")

from nas_edge.runtimes.litert import LiteRt, LiteRtSession
from nas_edge.runtimes.tflite import convert

IMAGE = np.random.default_rng(0).standard_normal((1, 16, 12, 12), np.float32)


@pytest.fixture
def agent(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    device = LocalDevice()
    runtime = AgentRuntime(device, "litert", python=sys.executable)
    yield runtime
    runtime.close()
    device.close()


class TestLiteRt(RuntimeContract):
    @pytest.fixture
    def runtime(self):
        return LiteRt()


class TestLiteRtInInt8(RuntimeContract):
    precision, tolerance = "int8", 0.05

    @pytest.fixture
    def runtime(self):
        return LiteRt()


class TestLiteRtThroughTheAgent(RuntimeContract):
    @pytest.fixture
    def runtime(self, agent):
        return agent


class TestLiteRtThroughTheAgentInInt8(RuntimeContract):
    precision, tolerance = "int8", 0.05

    @pytest.fixture
    def runtime(self, agent):
        return agent


def test_nothing_is_said_on_the_terminal(capfd) -> None:
    LiteRt().prepare(build_onnx((BLOCK,)).SerializeToString(), "fp32", 1)
    assert capfd.readouterr() == ("", "")


def test_several_threads_compute_the_same() -> None:
    model = build_onnx((BLOCK,)).SerializeToString()
    one, two = (LiteRt().prepare(model, "fp32", threads).run({"input": IMAGE})["output"] for threads in (1, 2))
    np.testing.assert_allclose(one, two, atol=1e-5)


def test_a_block_of_a_network_takes_and_gives_the_codes_of_the_onnx_model() -> None:
    model = seeded_block(replace(BLOCK, precision=Precision.INT8))
    codes = np.random.default_rng(0).integers(0, 256, (1, 12, 12, 16))
    sessions = [runtime.prepare(model, "int8", 1) for runtime in (OnnxRuntime(), LiteRt())]
    assert dict(sessions[0].inputs) == dict(sessions[1].inputs) == {"input": (1, 12, 12, 16)}
    wanted, found = (session.run({"input": codes})["output"] for session in sessions)
    assert found.dtype == np.uint8
    assert np.abs(found.astype(int) - wanted).max() <= 3  # LSB, over three layers and an addition


def test_int8_is_what_onnx_runtime_computes_from_the_same_codes() -> None:
    model = int8_model((BLOCK,), seed=1)
    wanted, found = (r.prepare(model, "int8", 1).run({"input": IMAGE})["output"] for r in (OnnxRuntime(), LiteRt()))
    assert np.abs(wanted - found).max() <= 2 * convert(model).outputs[0].scale * 1.001


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_file_that_nas_edge_wrote_takes_and_gives_what_its_onnx_model_does(precision: str) -> None:
    model = int8_model((BLOCK,), seed=1) if precision == "int8" else build_onnx((BLOCK,), seed=1).SerializeToString()
    file = convert(model)
    session = LiteRt().prepare(file.data, precision, 1)
    assert dict(session.inputs) == {"input": (1, 16, 12, 12)}
    wanted = LiteRt().prepare(model, precision, 1).run({"input": IMAGE})["output"]
    np.testing.assert_array_equal(session.run({"input": IMAGE})["output"], wanted)
    assert (session.time(2) > 0).all()
    dynamic = convert(build_onnx((BLOCK,), batch=None).SerializeToString()).data
    assert LiteRt().prepare(dynamic, "fp32", 1).run({"input": np.ones((3, 16, 12, 12))})["output"].shape[0] == 3


def test_a_file_of_another_writer_is_run_as_it_is() -> None:
    file = convert(int8_model((BLOCK,))).data
    other = file.replace(b"nas-edge", b"somebody")
    codes = np.zeros((1, 12, 12, 16), np.int8)
    session = LiteRt().prepare(other, "int8", 1)
    assert dict(session.inputs) == {"input": (1, 12, 12, 16)}
    assert session.run({"input": codes})["output"].dtype == np.int8


def test_a_tflite_file_of_another_precision_is_refused() -> None:
    file = convert(int8_model((BLOCK,))).data
    with pytest.raises(MeasurementError, match="computes in int8, not fp32; measure it as int8"):
        LiteRt().prepare(file, "fp32", 1)


def test_a_damaged_tflite_file_is_refused_in_one_line() -> None:
    file = convert(build_onnx((BLOCK,)).SerializeToString()).data
    for broken in (file[:100], file[: len(file) // 2], file[:8] + bytes(len(file) - 8)):
        with pytest.raises(MeasurementError) as caught:
            LiteRt().prepare(broken, "fp32", 1)
        assert "\n" not in str(caught.value)


def test_reference_kernels_differ_from_the_delegate_by_rounding_alone() -> None:
    model = convert(int8_model((BLOCK,), seed=1))
    usual, reference = (
        LiteRtSession(model, 1, reference=flag).run({"input": IMAGE})["output"] for flag in (False, True)
    )
    assert np.abs(usual - reference).max() <= 3 * model.outputs[0].scale * 1.001


def test_the_agent_computes_what_the_runtime_here_does(agent) -> None:
    model = int8_model((BLOCK,), seed=1)
    there = agent.prepare(model, "int8", 1)
    wanted = LiteRt().prepare(model, "int8", 1).run({"input": IMAGE})["output"]
    np.testing.assert_array_equal(there.run({"input": IMAGE})["output"], wanted)
    assert agent.version() == LiteRt().version()
    plan = VisitPlan(warmups=2, warmup_ms=0.1, max_warmups=3, repeats=5, max_repeats=8, visit_ms=0.5)
    assert len(there.visit(plan).samples_ms) >= 5


class TestLiteRtOverSsh(RuntimeContract):
    precision, tolerance = "int8", 0.05

    @pytest.fixture(scope="class")
    def runtime(self, sshd, tmp_path_factory):
        patch = pytest.MonkeyPatch()
        patch.setenv("HOME", str(sshd.home))
        device = ssh_device(sshd.address, lock=str(tmp_path_factory.mktemp("lock") / ".lock"))
        runtime = AgentRuntime(device, "litert", python=sys.executable)
        yield runtime
        runtime.close()
        device.close()
        patch.undo()
