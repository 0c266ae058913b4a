"""`Bench`: a target's device and runtime, ready to measure networks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nas_edge.devices import Device
from nas_edge.errors import DeviceError
from nas_edge.latency import TableHeader
from nas_edge.pipeline.devices.reaching import REACHABLE, open_device, open_runtime
from nas_edge.pipeline.devices.targets import Target
from nas_edge.profiling import Measurement, Protocol, Regime, WorkItem, measure_many
from nas_edge.profiling.reference import reference_identity
from nas_edge.progress import Progress, silent
from nas_edge.runtimes import Runtime
from nas_edge.runtimes.agent import AgentRuntime
from nas_edge.runtimes.visits import RemoteRuntime

_PROTOCOLS = {"quick": Protocol.quick, "default": Protocol.default, "thorough": Protocol.thorough}
EFFORTS = tuple(_PROTOCOLS)


@dataclass(frozen=True)
class Bench:
    """Measures ONNX models on a target.

    Attributes:
        target: whose threads and precision are used.
        device: where it runs.
        runtime: what runs it.

    """

    target: Target
    device: Device
    runtime: Runtime

    @property
    def machine(self) -> str:
        """The device's identity, as in the origins of figures."""
        return self.device.fingerprint().machine

    def quiet_reference_ms(self, header: TableHeader) -> float | None:
        """The reference kernel's value in the quiet state of a table, where that was measured on this very device with
        this very kernel; else that of the first networks kept of this device. Times brought to it can be compared.
        """
        from nas_edge.pipeline.tables.keeping import quiet_value

        runtime = self.runtime
        kernel = runtime.reference_identity() if isinstance(runtime, RemoteRuntime) else reference_identity()
        return quiet_value(header, self.machine, kernel)

    def close(self) -> None:
        """Let go of the device, and leave nothing on it."""
        if isinstance(self.runtime, AgentRuntime):
            self.runtime.close()
        self.device.close()

    def measure(
        self,
        models: Mapping[str, bytes],
        protocol: Protocol,
        precision: str,
        progress: Progress = silent,
        reference_quiet_ms: float | None = None,
        journal: Path | None = None,
    ) -> dict[str, Measurement]:
        """Time all models in one sitting.

        Args:
            models: serialised ONNX by name.
            protocol: how often and how long.
            precision: handed to the runtime.
            progress: told how far it is.
            reference_quiet_ms: the reference kernel's quiet value, if a table of this machine has it.
            journal: a file that every visit is appended to; visits that it holds count.

        Raises:
            MeasurementError, DeviceError: as `profiling.measure_many`.

        """
        items = [WorkItem(name, model) for name, model in models.items()]
        return measure_many(
            items, self.runtime, self.device, protocol, precision, self.target.threads, journal, progress,
            reference_quiet_ms=reference_quiet_ms,
        )  # fmt: skip


def can_be_reached(target: Target) -> bool:
    """Whether this version of nas-edge can measure on the target's device, as far as its file tells."""
    return target.device.kind in REACHABLE


def open_bench(target: Target) -> Bench:
    """Reach the device of a target; a remote one is connected, asked what it is, and remembered.

    `--host` and `--serial` are put into the target beforehand: see `reaching.at_device`.

    Raises:
        DeviceError: the target does not say how, this version cannot, or the device is not there or lacks what is
        needed. UnknownNameError: its runtime is unknown here. MissingExtraError: asyncssh or adbutils is missing.

    """
    if target.device.kind == "none":
        raise DeviceError(
            f"target {target.name!r} cannot be measured: nothing says how its device is reached; add --host user@addr, "
            f"or keep it: nas-edge targets add my-{target.name} --like {target.name} --host user@addr"
        )
    if not can_be_reached(target):
        raise DeviceError(
            f"target {target.name!r} cannot be measured: this version reaches devices of kind {', '.join(REACHABLE)}, "
            f"not {target.device.kind!r}; export the network and time it there"
        )
    device = open_device(target.device)
    try:
        return Bench(target, device, open_runtime(target, device))
    except BaseException:
        device.close()
        raise


def protocol_for(effort: str, regime: str = "hot", statistic: str = "median", seed: int = 0) -> Protocol:
    """A measuring protocol by name. Raises UnknownNameError for an effort, regime or statistic that is not known."""
    from dataclasses import replace

    from nas_edge.errors import UnknownNameError
    from nas_edge.profiling import Statistic

    if effort not in _PROTOCOLS:
        raise UnknownNameError("effort", effort, _PROTOCOLS)
    if regime not in tuple(Regime):
        raise UnknownNameError("regime", regime, [str(r) for r in Regime])
    if statistic not in tuple(Statistic):
        raise UnknownNameError("statistic", statistic, [str(s) for s in Statistic])
    protocol = replace(_PROTOCOLS[effort](), regime=Regime(regime), seed=seed)
    return protocol if statistic == "median" else protocol.for_statistic(statistic)
