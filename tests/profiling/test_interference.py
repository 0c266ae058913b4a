"""A real disturbance: other processes on every core while a network is measured."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from dataclasses import replace

import pytest

from nas_edge.devices import LocalDevice
from nas_edge.profiling import Protocol, measure_one
from nas_edge.runtimes import get_runtime
from nas_edge.spaces import SearchSpace
from nas_edge.spaces.onnx_blocks import build_onnx

pytestmark = pytest.mark.slow

PROTOCOL = replace(Protocol.default(), min_rounds=30, rounds=30, max_rounds=300, min_span_s=3.0, visit_ms=20.0)


def spin(core: int, seconds: float) -> None:
    os.sched_setaffinity(0, {core})
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def measured(busy_s: float, protocol: Protocol = PROTOCOL):
    space = SearchSpace.named("lite0")
    model = build_onnx(space.lower(space.smallest(), 6)).SerializeToString()
    context = multiprocessing.get_context("fork")
    busy = [context.Process(target=spin, args=(core, busy_s)) for core in os.sched_getaffinity(0)] if busy_s else []
    starter = threading.Timer(1.0, lambda: [process.start() for process in busy])
    starter.start()
    try:
        return measure_one(model, get_runtime("onnxruntime"), LocalDevice(), protocol)
    finally:
        starter.join()
        for process in busy:
            process.kill()
            process.join()


def test_what_runs_beside_is_noticed_repeated_and_kept_out_of_the_figure() -> None:
    calm, disturbed = measured(0.0), measured(2.0)
    assert disturbed.interference.disturbed >= sum(visit.cpu_share < 0.9 for visit in disturbed.visits)
    assert min(visit.cpu_share for visit in disturbed.visits) < 0.9
    assert len([visit for visit in disturbed.visits if visit.quiet]) >= PROTOCOL.min_rounds
    assert not disturbed.disturbed
    assert disturbed.median_ms == pytest.approx(calm.median_ms, rel=0.05)


def test_what_never_ends_is_flagged() -> None:
    m = measured(60.0, replace(PROTOCOL, max_rounds=60))
    late = [visit for visit in m.visits if visit.cpu_share < 0.9]
    assert late
    assert m.interference.disturbed >= len(late)
    assert "disturbed" in m.interference.describe()
