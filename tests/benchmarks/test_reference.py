"""What measuring rests on, tried here: `pytest -m benchmark -s tests/benchmarks/test_reference.py`.

The reference kernel must mean the same in every process, and models that are closed must leave those that stay alone.
"""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

pytestmark = pytest.mark.benchmark

PROCESSES = 8

KERNELS = """
import hashlib, json, time
import numpy as np
from nas_edge.profiling.isolation import isolated
from nas_edge.profiling.reference import ReferenceKernel
from nas_edge.pipeline.seeded import seeded_model
from nas_edge.runtimes import get_runtime
from nas_edge.spaces import SearchSpace

space, runtime = SearchSpace.named("lite0"), get_runtime("onnxruntime")
row = space.sample(1, np.random.default_rng(3))[0]
small, small_out = np.linspace(0.5, 1.5, 4096, dtype=np.float32), np.empty(4096, np.float32)
large, large_out = np.ones(65536, np.float32), np.empty(65536, np.float32)

def timed(work, times=7):
    spans = []
    for _ in range(times):
        begun = time.perf_counter_ns()
        work()
        spans.append(time.perf_counter_ns() - begun)
    return float(np.median(spans[2:]))

def arithmetic():
    for _ in range(48):
        np.sqrt(small, small_out)
        np.multiply(small, small_out, small_out)

with isolated(1):
    reference = ReferenceKernel()
    nets = {p: runtime.prepare(seeded_model(space, row, 6, 0, p), p, 1) for p in ("fp32", "int8")}
    kinds = {
        "the reference kernel": reference,
        "hashing alone": lambda: timed(lambda: [hashlib.sha256(bytes(16384)).digest() for _ in range(4)]),
        "numpy on 16 KB": lambda: timed(arithmetic),
        "numpy on 2 x 256 KB": lambda: timed(lambda: np.add(large, 1.0, large_out)),
        **{f"a network in {p}": (lambda s=s: float(np.median(s.time(8)[3:]))) for p, s in nets.items()},
    }
    found = {name: [] for name in kinds}
    begun = time.monotonic()
    while time.monotonic() - begun < 3:
        for name, reading in kinds.items():
            found[name].append(reading())
print(json.dumps({name: float(np.median(values)) for name, values in found.items()}))
"""


def test_what_a_kernel_means_in_one_process_it_means_in_the_next() -> None:
    rows = []
    for _ in range(PROCESSES):
        done = subprocess.run([sys.executable, "-c", KERNELS], capture_output=True, text=True, check=True)
        rows.append(json.loads(done.stdout))
    logs = {name: np.log([row[name] for row in rows]) for name in rows[0]}
    print(f"\n{PROCESSES} processes, one after the other: scatter of the medians of 3 s")
    for name, values in logs.items():
        over = ", ".join(
            f"{100 * (logs[net] - values).std(ddof=1):5.2f} % {net[2:]}" for net in logs if net.startswith("a network")
        )
        print(f"  {name:24} {100 * values.std(ddof=1):6.2f} %   networks over it: {over}")
    assert all(np.isfinite(values).all() for values in logs.values())


NETWORKS = """
import json, sys
from dataclasses import replace
import numpy as np
from nas_edge.devices import LocalDevice
from nas_edge.pipeline.seeded import seeded_model
from nas_edge.profiling import Protocol, WorkItem, measure_many
from nas_edge.runtimes import get_runtime
from nas_edge.spaces import SearchSpace

items = []
for name, classes in (("lite0", 6), ("mbv3-32", 10)):
    space = SearchSpace.named(name)
    rows = space.sample(5, np.random.default_rng(11))
    items += [WorkItem(f"{name} {i}", seeded_model(space, row, classes, 7, "int8")) for i, row in enumerate(rows)]
protocol = replace(Protocol.default(), min_rounds=16, rounds=16, max_rounds=16, min_span_s=2.0)
found = measure_many(items, get_runtime("onnxruntime"), LocalDevice(), protocol, "int8", reference_quiet_ms=0.1)
runs = [[run for visit in m.visits for run in visit.samples_ms] for m in found.values()]
print(json.dumps({
    "brought": [m.median_ms for m in found.values()],
    "as timed": [float(np.median(each)) for each in runs],
    "clock": float(np.median([visit.reference_ratio for m in found.values() for visit in m.visits])),
}))
"""


def test_networks_take_the_same_time_in_every_process_whatever_the_clock_does() -> None:
    rows = []
    for _ in range(12):
        done = subprocess.run([sys.executable, "-c", NETWORKS], capture_output=True, text=True, check=True)
        rows.append(json.loads(done.stdout))
    clock = np.log([row["clock"] for row in rows])
    print(f"\n{len(rows)} processes; the machine's speed moved by {100 * np.ptp(clock):.1f} %")
    for what in ("as timed", "brought"):
        logs = np.log([row[what] for row in rows])
        off = 100 * np.abs(logs - np.median(logs, axis=0))
        print(f"  ten int8 networks {what:9}: off their median by {off.mean():.2f} %, at worst {off.max():.2f} %")
    assert np.isfinite(clock).all()


def test_closing_models_slows_down_those_that_stay() -> None:
    from nas_edge.pipeline.tables.work import plan_work
    from nas_edge.profiling.isolation import isolated
    from nas_edge.profiling.reference import ReferenceKernel
    from nas_edge.progress import silent
    from nas_edge.runtimes import get_runtime
    from nas_edge.spaces import Precision, SearchSpace

    plan = plan_work([(SearchSpace.named("mbv3-32"), 10)], Precision.INT8, 8, 0, 0)
    items = list(plan.items(0, silent))[::6]
    runtime, rng = get_runtime("onnxruntime"), np.random.default_rng(0)

    def round_of(sessions: list, close: bool) -> np.ndarray:
        ms = np.zeros(len(items))
        for i in rng.permutation(len(items)):
            before = reference()
            sessions[i].time(10)
            ms[i] = np.median(sessions[i].time(12)) / (before + reference())
            if close:
                sessions[i].close()
        return ms

    plain, closing = [], []
    with isolated(1):
        reference = ReferenceKernel()
        for _ in range(4):
            sessions = [runtime.prepare(item.model, "int8", 1) for item in items]
            plain += [round_of(sessions, close=False) for _ in range(2)]
            closing.append(round_of(sessions, close=True))
    usual = np.median(plain, axis=0)
    for name, rounds in (("nothing is closed", plain), ("each is closed after its turn", closing)):
        ratio = np.array(rounds) / usual
        print(f"\n{name:32} median {np.median(ratio):.3f}   nine of ten below {np.quantile(ratio, 0.9):.3f}", end="")
    print()
    assert np.isfinite(usual).all()
