"""How a target's device is reached: as its file says, or as `--host` and `--serial` do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from nas_edge.errors import ConfigError, DeviceError
from nas_edge.pipeline.devices.known import KnownDevice, address_slug, remember
from nas_edge.pipeline.devices.targets import DeviceAddress, Target

if TYPE_CHECKING:
    from nas_edge.devices import Device
    from nas_edge.runtimes import Runtime

REACHABLE = ("local", "ssh", "adb")
_BY_AGENT = ("litert", "onnxruntime")
_ON_OTHERS = (*_BY_AGENT, "tensorrt")


def at_device(target: Target, host: str | None, serial: str | None) -> Target:
    """The target on another device of its kind; on the machine at hand for neither.

    A target that was this machine gets the name of that device: its figures are not this machine's.

    Raises:
        ConfigError: both are given. DeviceError: not an address.

    """
    if not host and not serial:
        return target
    if host and serial:
        raise ConfigError("--host is a device over ssh, --serial one over adb: give one of them")
    if host:
        from nas_edge.devices.ssh import parse_address

        parse_address(host)
    wired = "serial" if target.microcontroller else "adb"
    address = target.device.model_copy(update={"kind": "ssh" if host else wired, "address": host or serial})
    name = address_slug(address.address) if target.device.kind == "local" else target.name
    return target.model_copy(update={"device": address, "name": name})


def run_by(target: Target, runtime: str | None) -> Target:
    """The target with another runtime, whose table is then another one; None leaves it as it is."""
    if runtime in (None, target.runtime):
        return target
    return target.model_copy(update={"runtime": runtime, "table": ""})


def open_device(address: DeviceAddress) -> Device:
    """The device at an address; it is connected when it is first asked for something.

    Raises:
        DeviceError: nothing says how, or this version cannot. MissingExtraError: a package is missing.

    """
    if address.kind == "local":
        from nas_edge.devices import LocalDevice

        return LocalDevice()
    if address.kind == "ssh":
        from nas_edge.devices.ssh import ssh_device

        return ssh_device(address.address, address.directory)
    if address.kind == "adb":
        from nas_edge.devices.adb import adb_device

        return adb_device(address.address, address.directory)
    raise DeviceError(f"a device of kind {address.kind!r} runs no commands: {', '.join(REACHABLE)} do")


def open_runtime(target: Target, device: Device) -> Runtime:
    """The target's runtime on a device; one that is elsewhere is asked what it is, and remembered.

    TensorRT is talked with through the device's own program, other runtimes on other machines through the agent.

    Raises:
        DeviceError: it cannot be reached, or lacks what is needed. UnknownNameError: there is no such runtime.

    """
    from nas_edge.runtimes import get_runtime
    from nas_edge.runtimes.agent import AgentRuntime
    from nas_edge.runtimes.tensorrt import TensorRtRuntime

    runtime: Runtime
    if target.runtime == "tensorrt":
        runtime = TensorRtRuntime(device)
    elif target.device.kind == "local":
        return get_runtime(target.runtime)
    elif target.runtime == "litert" and target.device.benchmark_model:
        from nas_edge.runtimes.benchmark_model import BenchmarkModelRuntime

        runtime = BenchmarkModelRuntime(device, Path(target.device.benchmark_model).expanduser())
    elif target.runtime in _BY_AGENT:
        runtime = AgentRuntime(device, target.runtime, target.device.python)
    else:
        raise DeviceError(
            f"target {target.name!r} cannot be measured: this version runs {', '.join(_ON_OTHERS)} on other machines, "
            f"not {target.runtime!r}; export the network and time it there"
        )
    version = runtime.version()
    if target.device.kind != "local":
        remember(target.device, KnownDevice(device.fingerprint(), {target.runtime: version}))
    return runtime
