"""`targets doctor`: can a device be measured on? Check by check what works, what is missing, what mends it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nas_edge.errors import NasEdgeError
from nas_edge.pipeline.devices.check import DOUBTFUL, MISSING, WORKS, Check
from nas_edge.pipeline.devices.reaching import REACHABLE, at_device, open_device, open_runtime
from nas_edge.pipeline.devices.targets import Target, load_target
from nas_edge.units import format_bytes, format_ms

if TYPE_CHECKING:
    from nas_edge.devices import Device, DeviceState
    from nas_edge.runtimes import Runtime

_SHORT_S = 30.0
_ROOM_BYTES = 256 * 2**20  # a table's models and the agent
_READINGS = 9
_STEADY = 0.03  # as protocols ask for
_BUSY = 0.5  # of the cores
_TOLERANCE = 1e-4


@dataclass(frozen=True)
class DoctorReport:
    """All checks of one target, in order; the first one that is missing ends them where nothing can follow."""

    target: str
    checks: tuple[Check, ...] = field(default=())

    @property
    def exit_code(self) -> int:
        """1 where something is missing."""
        return int(any(check.verdict == MISSING for check in self.checks))

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        checks = [
            {"name": c.name, "verdict": c.verdict.lower(), "text": c.text, "mend": c.mend or None} for c in self.checks
        ]
        return {"target": self.target, "ready": self.exit_code == 0, "checks": checks}

    def lines(self) -> list[str]:
        """For a person."""
        lines = []
        for check in self.checks:
            lines.append(f"{check.verdict:8} {check.name:10} {check.text}")
            if check.mend:
                lines.append(f"{'':8} {'':10} {check.mend}")
        ready = "ready to be measured on" if self.exit_code == 0 else "cannot be measured on yet"
        return [*lines, f"{self.target}: {ready}"]


def doctor(name: str, host: str | None = None, serial: str | None = None) -> DoctorReport:
    """Look at a target's device, or the one that `host` or `serial` names, and leave it as it was.

    Raises:
        UnknownNameError: no such target. ConfigError, DeviceError: its file, or the address, is no good.

    """
    asked = load_target(name)
    if asked.microcontroller and not host:
        from nas_edge.pipeline.devices.doctor_microcontroller import microcontroller_checks

        own = asked.device.address if asked.device.kind == "serial" else ""
        return DoctorReport(asked.name, tuple(microcontroller_checks(asked, serial or own)))
    target = at_device(asked, host, serial)
    checks = [Check("target", WORKS, f"{target.path}: {target.runtime}, {target.precision}, {target.threads} threads")]
    if target.device.kind not in REACHABLE:
        mend = f"nas-edge targets add my-{target.name} --like {target.name} --host user@addr"
        known = "nobody has said how it is reached" if target.device.kind == "none" else target.device.kind
        return DoctorReport(target.name, (*checks, Check("device", MISSING, known, mend)))
    try:
        device = open_device(target.device)
    except NasEdgeError as error:
        return DoctorReport(target.name, (*checks, _missing("device", error)))
    try:
        for check in _checks(target, device):
            checks.append(check)
            if check.verdict == MISSING:
                break
    finally:
        device.close()
    return DoctorReport(target.name, tuple(checks))


def _checks(target: Target, device: Device) -> Iterator[Check]:
    """Each in its turn: what cannot work without the one before comes after it."""
    yield _tried("reached", lambda: _reached(device))
    yield _tried("machine", lambda: _machine(device))
    yield _tried("room", lambda: _room(device))
    yield _tried("lock", lambda: _lock(device))
    found: list[Runtime] = []
    yield _tried("runtime", lambda: _runtime(target, device, found))
    yield _tried("network", lambda: _network(target, found[0]))
    yield _tried("quiet", lambda: _quiet(target, device, found[0]))
    yield _tried("table", lambda: _table(target))


def _tried(name: str, look: Callable[[], Check]) -> Check:
    try:
        return look()
    except NasEdgeError as error:
        return _missing(name, error)


def _missing(name: str, error: NasEdgeError) -> Check:
    """An error says what is wrong; what to do."""
    text, _, mend = str(error).partition("; ")
    return Check(name, MISSING, text, mend)


def _reached(device: Device) -> Check:
    device.run(["true"], _SHORT_S)
    begun = time.monotonic()
    device.run(["true"], _SHORT_S)
    return Check("reached", WORKS, f"{device.name}, a command takes {format_ms(1e3 * (time.monotonic() - begun))}")


def _machine(device: Device) -> Check:
    found = device.fingerprint()
    if found.emulator:
        text = f"{found.machine}, emulated by {found.emulator}: times are measured-emulated, and go into no table"
        return Check("machine", DOUBTFUL, text)
    return Check("machine", WORKS, found.machine)


def _room(device: Device) -> Check:
    answer = device.run(["df", "-Pk", "."], _SHORT_S)
    fields = (answer.stdout.strip().splitlines() or [""])[-1].split()
    if answer.status != 0 or len(fields) < 4 or not fields[3].isdigit():
        return Check("room", DOUBTFUL, "nothing tells how much space there is")
    free = int(fields[3]) * 1024
    if free < _ROOM_BYTES:
        mend = "free some, or give the target's device another directory: {kind: ..., directory: /path}"
        return Check("room", MISSING, f"{format_bytes(free)} free of the {format_bytes(_ROOM_BYTES)} needed", mend)
    return Check("room", WORKS, f"{format_bytes(free)} free")


def _lock(device: Device) -> Check:
    try:
        with device.lock():
            return Check("lock", WORKS, "nobody measures on it")
    except NasEdgeError as error:
        return Check("lock", DOUBTFUL, str(error))


def _runtime(target: Target, device: Device, found: list[Runtime]) -> Check:
    """The runtime where it will run; kept in `found`."""
    from nas_edge.runtimes.agent import AgentRuntime
    from nas_edge.runtimes.tensorrt import TensorRtRuntime

    runtime = open_runtime(target, device)
    found.append(runtime)
    text = f"{target.runtime} {runtime.version()}"
    if isinstance(runtime, AgentRuntime):
        hello = runtime.hello
        text += f", numpy {hello['numpy']}, Python {hello['python']}: {hello['executable']}"
    if isinstance(runtime, TensorRtRuntime):
        text += f": {runtime.tool.path}"
    return Check("runtime", WORKS, text)


def _network(target: Target, runtime: Runtime) -> Check:
    """A block of zero weights gives back its input: runs there, and what comes back is right."""
    import numpy as np

    from nas_edge.runtimes.benchmark_model import BenchmarkModelRuntime
    from nas_edge.spaces import BlockSpec, Kind
    from nas_edge.spaces.onnx_blocks import build_onnx, seeded_weights

    block = BlockSpec(Kind.INVERTED_RESIDUAL, 14, 14, 16, 32, 16, kernel=3, residual=True)
    weights = {name: np.zeros_like(value) for name, value in seeded_weights((block,)).items()}
    session = runtime.prepare(build_onnx((block,), weights).SerializeToString(), "fp32", target.threads)
    x = np.random.default_rng(0).standard_normal((1, 16, 14, 14), np.float32)
    if isinstance(runtime, BenchmarkModelRuntime):
        session.close()
        return Check("network", DOUBTFUL, "a small network runs; its outputs cannot be compared by benchmark_model")
    try:
        worst = float(np.abs(session.run({"input": x})["output"] - x).max())
    finally:
        session.close()
    if not worst <= _TOLERANCE:
        return Check("network", MISSING, f"a network runs, and its outputs are wrong by {worst:.3g}")
    return Check("network", WORKS, "a small network runs, its outputs are right")


def _quiet(target: Target, device: Device, runtime: Runtime) -> Check:
    """How steady the reference kernel is, and what else would disturb."""
    from nas_edge.profiling.reference import ReferenceKernel
    from nas_edge.runtimes.visits import RemoteRuntime

    reading = runtime.reading if isinstance(runtime, RemoteRuntime) else ReferenceKernel()
    watched = not isinstance(runtime, RemoteRuntime) or bool(runtime.reference_identity())
    readings = sorted(reading() for _ in range(_READINGS))
    spread = readings[-2] / readings[1] - 1
    state, cores = device.state(), device.fingerprint().cores
    troubles = list(_troubles(target, state, cores))
    if spread > _STEADY:
        troubles.append((f"the reference kernel varies by {100 * spread:.0f} %", "close other programs, or wait"))
    if troubles:
        mends = "; ".join(mend for _, mend in troubles if mend)
        return Check("quiet", DOUBTFUL, "; ".join(text for text, _ in troubles), mends)
    told = [state.governor or "", f"{state.temperature_c:.0f} °C" if state.temperature_c is not None else ""]
    steady = "steady within 3 %" if watched else "nothing disturbs it, as far as its files tell"
    return Check("quiet", WORKS, ", ".join([steady, *(part for part in told if part)]))


def _troubles(target: Target, state: DeviceState, cores: int) -> Iterator[tuple[str, str]]:
    if state.throttled:
        yield "it holds its clock back: power supply or heat", "vcgencmd get_throttled shows why"
    if state.clocks_locked is False:
        yield "its clocks are not locked", "sudo jetson_clocks"
    elif state.governor not in (None, "performance") and state.clocks_locked is None:
        all_cores = "/sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"
        yield f"the governor is {state.governor}", f"echo performance | sudo tee {all_cores}"
    if state.load is not None and state.load > _BUSY * cores:
        yield f"{state.load:g} processes run on {cores} cores", ""
    if target.power_mode and state.power_mode and target.power_mode.lower() != state.power_mode.lower():
        yield f"its power mode is {state.power_mode}, the target is of {target.power_mode}", "sudo nvpmodel -m 0"


def _table(target: Target) -> Check:
    from nas_edge.pipeline.tables.finding import load_table_for

    found = load_table_for(target)
    if found.own and found.path is not None:
        return Check("table", WORKS, f"{found.path}: {found.table.header.describe()}")
    return Check(
        "table", DOUBTFUL, "none of its own: a search begins with a minute of measuring",
        f"nas-edge table measure --target {target.name}",
    )  # fmt: skip
