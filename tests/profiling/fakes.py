"""A runtime that fails on demand; it serves to test what the engine does then, and never to produce a figure."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import contextmanager

import numpy as np

from nas_edge.devices import DeviceFingerprint, DeviceState
from nas_edge.errors import DeviceError, MeasurementError


class FakeSession:
    """Spins for as long as it says, unless `times` answers instead."""

    def __init__(self, spin_ms: float, times: Callable[[int], np.ndarray] | None, log: list[float]) -> None:
        self.inputs = {"input": (2, 3)}
        self.spin_ms, self.times, self.log = spin_ms, times, log
        self.closed = False

    def run(self, inputs):
        return dict(inputs)

    def time(self, repeats):
        if repeats > 1:
            self.log.append(self.spin_ms)
        if self.times:
            return self.times(repeats)
        spans = np.empty(repeats)
        for i in range(repeats):
            start = now = time.perf_counter_ns()
            while now - start < self.spin_ms * 1e6:
                now = time.perf_counter_ns()
            spans[i] = (now - start) / 1e6
        return spans

    def close(self):
        self.closed = True


class FakeRuntime:
    """Models are texts: b"0.2" spins 0.2 ms a run, b"broken" does not load."""

    name, precisions = "fake", ("fp32",)

    def __init__(self, times: Callable[[int], np.ndarray] | None = None, version: str = "1.0") -> None:
        self.times, self._version = times, version
        self.sessions: list[FakeSession] = []
        self.visited: list[float] = []

    def version(self):
        return self._version

    def prepare(self, onnx_model, precision, threads):
        if onnx_model == b"broken":
            raise MeasurementError("it does not load")
        self.sessions.append(FakeSession(float(onnx_model), self.times, self.visited))
        return self.sessions[-1]


class FakeDevice:
    """Not this machine: no pinning, no reference kernel. It can be locked by somebody else, or vanish."""

    name = "fake"

    def __init__(self, locked: bool = False) -> None:
        self.locked = locked

    def fingerprint(self):
        return DeviceFingerprint("Fake CPU", "Fake", 1, 2, machine_id="00000000")

    def state(self):
        return DeviceState("2026-01-01T00:00:00+00:00")

    @contextmanager
    def lock(self, timeout_s=0.0):
        if self.locked:
            raise DeviceError("device 'fake': process 1 is measuring on it")
        yield
