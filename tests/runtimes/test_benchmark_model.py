"""LiteRT's `benchmark_model`, by a stand-in of these tests: the interpreter of ai-edge-litert behind its options and
its output, which are those of its documentation. No phone was at hand.
"""

from __future__ import annotations

import sys

import numpy as np
import pytest

from nas_edge.devices import LocalDevice
from nas_edge.errors import DeviceError, MeasurementError, SpaceError
from nas_edge.profiling import Protocol, WorkItem, measure_many
from nas_edge.runtimes.benchmark_model import BenchmarkModelRuntime, parse_benchmark
from nas_edge.runtimes.visits import RemoteRuntime, VisitPlan
from nas_edge.spaces.onnx_blocks import build_onnx

from .contract import BLOCK, int8_model

pytest.importorskip("ai_edge_litert")
STAND_IN = """#!{python}
import sys, time
options = dict(word[2:].split("=", 1) for word in sys.argv[1:])
known = {{"graph", "num_threads", "num_runs", "min_secs", "warmup_runs", "warmup_min_secs", "use_xnnpack"}}
if set(options) - known:
    sys.exit("Unconsumed cmdline flags: " + " ".join(sorted(set(options) - known)))
from ai_edge_litert.interpreter import Interpreter
network = Interpreter(model_path=options["graph"], num_threads=int(options["num_threads"]))
network.allocate_tensors()
def block(runs):
    times = []
    for _ in range(runs):
        begun = time.perf_counter()
        network.invoke()
        times.append(1e6 * (time.perf_counter() - begun))
    mean, ordered = sum(times) / runs, sorted(times)
    print(f"count={{runs}} first={{times[0]:g}} curr={{times[-1]:g}} min={{ordered[0]:g}} max={{ordered[-1]:g}} "
          f"avg={{mean:g}} std=1{median}")
    return mean
print("STARTING!\\nLog parameter values verbosely: [0]")
warm = block(int(options["warmup_runs"]))
mean = block(int(options["num_runs"]))
print(f"Inference timings in us: Init: 2017, First inference: 4, Warmup (avg): {{warm:g}}, Inference (avg): {{mean:g}}")
"""
MEDIAN = " p5={ordered[0]:g} median={ordered[len(ordered) // 2]:g} p95={ordered[-1]:g}"
MODEL = build_onnx((BLOCK,)).SerializeToString()


@pytest.fixture
def device(tmp_path):
    device = LocalDevice(tmp_path / "work")
    yield device
    device.close()


@pytest.fixture(params=["", MEDIAN], ids=["older", "newer"])
def binary(tmp_path, request):
    path = tmp_path / "benchmark_model"
    path.write_text(STAND_IN.format(python=sys.executable, median=request.param))
    return path


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_visit_is_one_figure_of_many_runs(device, binary, precision):
    runtime = BenchmarkModelRuntime(device, binary)
    assert isinstance(runtime, RemoteRuntime)
    session = runtime.prepare(MODEL if precision == "fp32" else int8_model((BLOCK,)), precision, 1)
    record = session.visit(VisitPlan(1, 5.0, 2, 3, 6, 1.0))
    assert len(record.samples_ms) == 1
    assert record.wall_ms > record.samples_ms[0] > 0
    assert session.time(4).shape == (4,)
    session.close()
    assert [path.name for path in device.directory.iterdir()] == ["benchmark_model"]
    with pytest.raises(MeasurementError, match="closed"):
        session.time(1)


def test_a_sitting_measures_through_it(device, binary):
    protocol = Protocol(min_rounds=2, rounds=2, max_rounds=2, repeats=3, max_repeats=5)
    found = measure_many([WorkItem("a block", MODEL)], BenchmarkModelRuntime(device, binary), device, protocol)
    assert found["a block"].runtime == "litert"
    assert found["a block"].median_ms > 0


def test_what_it_cannot_do_is_said(device, binary):
    runtime = BenchmarkModelRuntime(device, binary)
    session = runtime.prepare(MODEL, "fp32", 1)
    with pytest.raises(MeasurementError, match="gives no outputs"):
        session.run({"input": np.zeros((1, 16, 12, 12))})
    with pytest.raises(MeasurementError, match="cold regime"):
        session.visit(VisitPlan(1, 5.0, 2, 3, 6, 1.0, evict_bytes=1))
    with pytest.raises(SpaceError, match="fp32, int8, not 'fp16'"):
        runtime.prepare(MODEL, "fp16", 1)
    with pytest.raises(DeviceError, match="there is no program"):
        BenchmarkModelRuntime(device, binary.with_name("gone"))


WRONG = {
    "nothing": ("", "tells no run times; it said: nothing"),
    "words": ("ERROR: Failed to load", "it said: ERROR: Failed to load"),
    "half": ("count=5 first=1 curr=1 std=0", "tells no avg"),
    "order": ("count=5 min=9 max=2 avg=4 std=0", "cannot be"),
    "negative": ("count=5 min=-9 max=2 avg=4 std=0", "cannot be"),
    "no runs": ("count=0 min=1 max=2 avg=1 std=0", "cannot be"),
    "another mean": ("count=5 min=1 max=9 avg=4 std=0\nInference (avg): 4000", "cannot be"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_output_that_cannot_be_is_told_in_one_line(kind):
    text, why = WRONG[kind]
    with pytest.raises(DeviceError, match=why) as caught:
        parse_benchmark(text)
    assert "\n" not in str(caught.value)


def test_a_program_for_another_architecture_is_told(device, tmp_path):
    path = tmp_path / "benchmark_model"
    path.write_bytes(b"\x7fELF\x02\x01\x01" + bytes(57))
    with pytest.raises(DeviceError, match=r"cannot be run|another architecture"):
        BenchmarkModelRuntime(device, path).prepare(MODEL, "fp32", 1)


def test_the_warm_up_is_not_what_is_told():
    text = "count=2 min=9 max=9 avg=9 std=0\ncount=5 first=1 curr=1 min=1000 max=3000 avg=2000 std=0 p5=1 median=1900"
    found = parse_benchmark(text)
    assert (found.count, found.mean_ms, found.ms) == (5, 2.0, 1.9)
