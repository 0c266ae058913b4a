"""TensorRT through `trtexec`, by the stand-in of these tests: ONNX Runtime speaking as versions 8, 10 and 11 do."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from nas_edge.devices import LocalDevice
from nas_edge.errors import DeviceError, MeasurementError
from nas_edge.pipeline.seeded import seeded_network
from nas_edge.profiling import Protocol, WorkItem, measure_many
from nas_edge.runtimes.layers import LayeredRuntime
from nas_edge.runtimes.model_precision import model_precision
from nas_edge.runtimes.onnx_runtime import OnnxRuntime
from nas_edge.runtimes.tensorrt import TensorRtRuntime
from nas_edge.runtimes.tensorrt_cache import PLANS
from nas_edge.runtimes.visits import RemoteRuntime, VisitPlan
from nas_edge.spaces import Precision, SearchSpace
from nas_edge.spaces.onnx_blocks import build_onnx
from nas_edge.spaces.onnx_half import half

from .contract import BLOCK, RuntimeContract, int8_model
from .stand_in import VERSIONS, install_trtexec

MODEL = build_onnx((BLOCK,)).SerializeToString()
QUOTED = '"x"'
ONE = '[{"computeMs": %s, "latencyMs": 2, "h2dMs": 0, "d2hMs": 0, "startComputeMs": 0}]'
PLAN = VisitPlan(1, 5.0, 2, 3, 6, 1.0)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("STAND_IN_LOG", str(tmp_path / "built"))


@pytest.fixture
def device(tmp_path):
    device = LocalDevice(tmp_path / "work")
    yield device
    device.close()


@pytest.fixture(params=["8.5", "11.0"])
def version(request):
    return request.param


def runtime_of(device: LocalDevice, tmp_path: Path, version: str) -> TensorRtRuntime:
    return TensorRtRuntime(device, install_trtexec(tmp_path / "bin", version))


def built(tmp_path: Path) -> int:
    log = tmp_path / "built"
    return len(log.read_text().splitlines()) if log.exists() else 0


class TensorRtContract(RuntimeContract):
    version = "10.3"

    @pytest.fixture
    def runtime(self, device, tmp_path):
        return runtime_of(device, tmp_path, self.version)

    def test_nothing_is_left_in_the_working_directory_but_the_timing_cache(self, runtime, device):
        session = runtime.prepare(self.model((BLOCK,)), self.precision, 1)
        session.time(2)
        session.run({"input": np.zeros((1, 16, 12, 12), np.float32)})
        session.close()
        assert {path.name for path in device.directory.iterdir()} <= {"timing.cache"}


class TestTensorRt(TensorRtContract):
    """float32."""


class TestTensorRtInHalf(TensorRtContract):
    precision, tolerance = "fp16", 0.005

    def model(self, *args, **options) -> bytes:
        return half(build_onnx(*args, **options)).SerializeToString()


class TestTensorRtInInt8(TensorRtContract):
    precision, tolerance, version = "int8", 0.06, "8.2"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_every_version_builds_whole_networks_in_every_precision(device, tmp_path, version, precision):
    space = SearchSpace.named("mbv3-32")
    arch = space.sample(1, np.random.default_rng(3))[0]
    model = seeded_network(space.lower(arch, 10, Precision(precision)))
    session = runtime_of(device, tmp_path, version).prepare(model, precision, 1)
    x = np.random.default_rng(0).standard_normal(session.inputs["image"], np.float32)
    wanted = seeded_network(space.lower(arch, 10, Precision.FP32))
    plain = OnnxRuntime().prepare(wanted, "fp32", 1).run({"image": x})["logits"]
    error = np.abs(session.run({"image": x})["logits"] - plain).max() / np.abs(plain).max()
    assert error < {"fp32": 1e-4, "fp16": 5e-3, "int8": 0.25}[precision]
    session.close()


def test_it_is_a_runtime_on_another_machine_that_tells_layers(device, tmp_path):
    runtime = runtime_of(device, tmp_path, "10.3")
    assert isinstance(runtime, RemoteRuntime)
    assert isinstance(runtime, LayeredRuntime)


def test_layers_have_times_and_names_of_the_models_nodes(device, tmp_path, version):
    layers = runtime_of(device, tmp_path, version).layer_times(build_onnx((BLOCK,)).SerializeToString(), "fp32", 1, 5)
    assert {"b00.expand", "b00.depthwise", "b00.project"} <= {layer.name for layer in layers}
    assert all(layer.ms > 0 for layer in layers)
    assert {layer.kind for layer in layers} == {"CaskConvolution"}


def test_compute_time_and_latency_with_copies_are_told_apart(device, tmp_path, version):
    session = runtime_of(device, tmp_path, version).prepare(build_onnx((BLOCK,)).SerializeToString(), "fp32", 1)
    record = session.visit(PLAN)
    assert len(record.samples_ms) == 6
    figures = session.summary.figures
    assert figures["Latency"].median > figures["GPU Compute Time"].median
    assert figures["GPU Compute Time"].median == pytest.approx(np.median(record.samples_ms), rel=0.01)
    assert session.summary.unstable
    assert record.wall_ms >= sum(record.samples_ms)


def test_an_engine_is_built_once_for_a_model_and_version_and_outlives_the_device(device, tmp_path):
    model = build_onnx((BLOCK,)).SerializeToString()
    for _ in range(2):
        runtime_of(device, tmp_path, "8.5").prepare(model, "fp32", 1).close()
    assert built(tmp_path) == 1
    other = LocalDevice(tmp_path / "after a reboot")
    runtime_of(other, tmp_path, "8.5").prepare(model, "fp32", 1).close()
    assert built(tmp_path) == 1
    runtime_of(other, tmp_path, "10.3").prepare(model, "fp32", 1).close()
    assert built(tmp_path) == 2
    assert len(list((tmp_path / "cache" / "nas-edge" / PLANS).iterdir())) == 2


def test_many_engines_are_built_ahead_with_an_estimate(device, tmp_path):
    runtime = runtime_of(device, tmp_path, "10.3")
    models = [build_onnx((BLOCK,), seed=seed).SerializeToString() for seed in range(5)]
    said = []
    assert runtime.build_ahead(models, "fp32", lambda done, total, text: said.append((done, total, text))) == 5
    assert said[0] == (0, 5, "building 5 engines, each once: timing three")
    assert all("about" in text and "left" in text for _, _, text in said[1:-1])
    assert runtime.build_ahead([*models, build_onnx((BLOCK,), seed=9).SerializeToString()], "fp32") == 1


def test_a_sitting_measures_through_it(device, tmp_path):
    items = [WorkItem("a block", build_onnx((BLOCK,)).SerializeToString())]
    protocol = Protocol(min_rounds=2, rounds=2, max_rounds=2, repeats=3, max_repeats=5)
    found = measure_many(items, runtime_of(device, tmp_path, "10.3"), device, protocol)["a block"]
    assert found.runtime == "tensorrt"
    assert found.runtime_version == "10.3.0"
    assert found.median_ms > 0
    assert found.reference_kernel == ""


def test_visits_are_few_and_long_for_each_is_a_process(device, tmp_path):
    items = [WorkItem("a block", MODEL)]
    found = measure_many(items, runtime_of(device, tmp_path, "10.3"), device, Protocol.thorough())["a block"]
    assert 4 <= len(found.visits) <= 8
    assert all(len(visit.samples_ms) >= 100 for visit in found.visits)
    assert found.upper95_ms < 100


def test_the_cold_regime_is_refused(device, tmp_path):
    session = runtime_of(device, tmp_path, "10.3").prepare(build_onnx((BLOCK,)).SerializeToString(), "fp32", 1)
    with pytest.raises(MeasurementError, match="the cold regime is not measured"):
        session.visit(VisitPlan(1, 5.0, 2, 3, 6, 1.0, evict_bytes=64))


def graph(nodes, source=(1, 3, 8, 8), opset=13):
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, source)]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    made = helper.make_graph(nodes, "g", inputs, outputs)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)]).SerializeToString()


def test_an_operator_without_an_importer_is_named_with_its_node(device, tmp_path):
    model = graph([helper.make_node("Relu", ["x"], ["r"]), helper.make_node("Det", ["r"], ["y"], name="last")])
    with pytest.raises(MeasurementError, match=r"operator Det \(node with output 'y'\): .*No importer registered"):
        runtime_of(device, tmp_path, "10.3").prepare(model, "fp32", 1)


def test_models_that_cannot_be_are_refused_in_one_line(device, tmp_path):
    runtime = runtime_of(device, tmp_path, "8.2")
    whole = build_onnx((BLOCK,)).SerializeToString()
    relu = [helper.make_node("Relu", ["x"], ["y"])]
    wrong = {
        whole[: len(whole) // 2]: "damaged",
        graph(relu, (1, 3, "height", "width")): "1 x 3 x height x width: fix the sizes other than the batch",
        graph([helper.make_node("Sin", ["x"], ["y"])], opset=25): "opset 25 is newer than 13",
        half(build_onnx((BLOCK,))).SerializeToString(): "computes in fp16, not fp32",
    }
    for model, why in wrong.items():
        with pytest.raises(MeasurementError, match=why) as caught:
            runtime.prepare(model, "fp32", 1)
        assert "\n" not in str(caught.value)
    assert not list(runtime.device.directory.glob("*.onnx"))


def test_zero_points_that_do_not_follow_from_the_canonical_form_are_refused(device, tmp_path):
    model = onnx.load_from_string(int8_model((BLOCK,)))
    weight = next(i for i in model.graph.initializer if i.name == "b00.expand.weight.zero")
    weight.raw_data = b"\x05" * len(weight.raw_data)
    with pytest.raises(MeasurementError, match=r"node 'b00.expand.weight.dequantise': TensorRT takes weights of zero"):
        runtime_of(device, tmp_path, "8.5").prepare(model.SerializeToString(), "int8", 1)


@pytest.mark.parametrize("version", ["8.5", "10.3", "11.0"])
def test_precision_is_told_by_the_graph_and_by_flags_only_where_there_are_any(device, tmp_path, version):
    tool = runtime_of(device, tmp_path, version).tool
    words = tool.build("a.onnx", "a.plan", "int8")
    assert ("--int8" in words) == (version != "11.0")
    assert ("--skipInference" in words) == (version != "8.5")
    assert model_precision(half(build_onnx((BLOCK,))).SerializeToString()) == "fp16"


def fake(tmp_path, lines, name="trtexec"):
    """A trtexec that is none."""
    program = tmp_path / "fake" / name
    program.parent.mkdir(exist_ok=True)
    program.write_text("#!/bin/sh\n" + lines)
    program.chmod(0o755)
    return str(program)


LIES = {
    "no JSON": ("echo oops", "wrote what is no JSON"),
    "another shape": ("echo '{}'", "wrote no list of entries"),
    "no times": ("echo '[]'", "0 run times where 5 were asked for"),
    "too few": (f"echo '{ONE % 1}'", "1 run times"),
    "words": (f"echo '{ONE % QUOTED}'", "no run time"),
    "negative": (f"echo '{ONE % -1}'", "cannot be"),
    "not finite": (f"echo '{ONE % 'NaN'}'", "no run time"),
    "missing": ("echo '[{\"computeMs\": 1}]'", "no run time"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_device_that_lies_is_told_in_one_line(device, tmp_path, lie):
    says, why = LIES[lie]
    script = f"""echo '&&&& RUNNING TensorRT.trtexec [TensorRT v100300]'
for word in "$@"; do case "$word" in
  --saveEngine=*) : > "${{word#*=}}";;
  --exportTimes=*) {says} > "${{word#*=}}";;
esac; done
"""
    session = TensorRtRuntime(device, fake(tmp_path, script)).prepare(
        build_onnx((BLOCK,)).SerializeToString(), "fp32", 1
    )
    with pytest.raises(DeviceError, match=why) as caught:
        session.time(5)
    assert "\n" not in str(caught.value)


def test_a_median_that_contradicts_the_exported_times_is_a_lie(device, tmp_path):
    entry = json.dumps({"computeMs": 1, "latencyMs": 2, "h2dMs": 0, "d2hMs": 0, "startComputeMs": 0})
    script = f"""echo '&&&& RUNNING TensorRT.trtexec [TensorRT v100300]'
echo '[I] GPU Compute Time: min = 7 ms, max = 8 ms, mean = 7 ms, median = 7 ms, percentile(99%) = 8 ms'
for word in "$@"; do case "$word" in
  --saveEngine=*) : > "${{word#*=}}";;
  --exportTimes=*) echo '[{entry},{entry},{entry}]' > "${{word#*=}}";;
esac; done
"""
    session = TensorRtRuntime(device, fake(tmp_path, script)).prepare(
        build_onnx((BLOCK,)).SerializeToString(), "fp32", 1
    )
    with pytest.raises(DeviceError, match="prints a median of 7 ms and exports times with 1 ms"):
        session.time(3)


def test_devices_without_it_or_with_another_are_told_what_to_do(device, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    with pytest.raises(DeviceError, match=r"has no trtexec, .*apt install libnvinfer-bin"):
        TensorRtRuntime(device).version()
    for says, why in (
        ("echo hello", "does not say its version; it said: hello"),
        ("echo '[TensorRT v7103]'", "TensorRT 7.1.3 is there; nas-edge talks to versions 8 to 11"),
    ):
        with pytest.raises(DeviceError, match=why):
            TensorRtRuntime(device, fake(tmp_path, says)).version()
    program = tmp_path / "elsewhere"
    program.write_bytes(b"\x7fELF\x02\x01\x01" + bytes(57))
    program.chmod(0o755)
    with pytest.raises(DeviceError, match="cannot be run"):
        TensorRtRuntime(device, str(program)).version()


@pytest.mark.parametrize(
    ("says", "error", "why"),
    [
        (
            "[E] Error Code 2: OutOfMemory (no further information)",
            MeasurementError,
            "is out of memory; building",
        ),
        ("cannot write: No space left on device", DeviceError, "has no space left; free some"),
        ("[E] Error[10]: Could not find any implementation for node b00", MeasurementError, "fails at building: Error"),
        ("", MeasurementError, "fails at building: it does not say why"),
    ],
)
def test_a_build_that_fails_says_why_and_leaves_nothing(device, tmp_path, says, error, why):
    script = f"""echo '&&&& RUNNING TensorRT.trtexec [TensorRT v8502]'
[ "$1" = --help ] && exit 0
echo '{says}'
exit 1
"""
    with pytest.raises(error, match=why):
        TensorRtRuntime(device, fake(tmp_path, script)).prepare(MODEL, "fp32", 1)
    assert list(device.directory.iterdir()) == []


def test_inputs_with_names_that_no_command_line_holds_are_refused(device, tmp_path):
    nodes = [helper.make_node("Relu", ["x:$(touch owned),y"], ["y"])]
    made = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x:$(touch owned),y", TensorProto.FLOAT, (1, 3, 8, 8))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 3, 8, 8))],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 13)]).SerializeToString()
    session = runtime_of(device, tmp_path, "10.3").prepare(model, "fp32", 1)
    assert (session.time(2) > 0).all()
    with pytest.raises(MeasurementError, match="cannot be handed a name with"):
        session.run({"x:$(touch owned),y": np.zeros((1, 3, 8, 8))})
    assert not (device.directory / "owned").exists()
