"""`Target`: how to reach a device and how networks run on it, from `targets/<name>.yaml`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from nas_edge import resources
from nas_edge.errors import QuantityError, UnknownNameError
from nas_edge.pipeline.yaml_model import read_model
from nas_edge.units import parse_bytes

ALIASES: Mapping[str, str] = MappingProxyType(
    {
        "mobile-cpu": "samsung-note10",
        "desktop-cpu": "intel-i7-8700k",
        "raspberry-pi": "raspberry-pi-5",
        "jetson": "jetson-tx2",
        "jetson-orin": "jetson-orin-nano",
        "mcu": "stm32f405",
    }
)

ETHOS_U = "ethos-u"
"""The runtime of Arm's accelerators, which are modelled by Arm's compiler."""

MICROCONTROLLER = "mcu"
"""The runtime of firmware that is generated for one network."""


def _text(value: object) -> object:
    return " ".join(value.split()) if isinstance(value, str) else value


def _bytes(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return parse_bytes(value)
    except QuantityError as error:
        raise ValueError(str(error)) from None


Text = Annotated[str, BeforeValidator(_text)]
Sizes = dict[str, Annotated[int, BeforeValidator(_bytes), Field(gt=0, strict=True)]]


class DeviceAddress(BaseModel):
    """How a device is reached.

    Attributes:
        kind: local, ssh, adb, serial, emulator, or none where nobody has said how yet.
        address: "user@host" (ssh), a serial number (adb), a port (serial), a machine (emulator).
        directory: where files go on the device, "" for a temporary one.
        python: interpreter there, "" for that of `~/.nas-edge` or python3.
        benchmark_model: LiteRT's program of that name, on this machine, for phones without Python; "" for the agent.

    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["local", "ssh", "adb", "serial", "emulator", "none"] = "none"
    address: str = ""
    directory: str = ""
    python: str = ""
    benchmark_model: str = ""

    @model_validator(mode="after")
    def _has_address(self) -> DeviceAddress:
        if self.kind in ("ssh", "serial", "emulator") and not self.address:
            raise ValueError(f"a device of kind {self.kind} needs an address")
        return self


class AcceleratorNames(BaseModel):
    """An Ethos-U and the memory around it, in the words of Arm's compiler: see `runtimes.vela.Accelerator`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    config: str
    system: str
    memory: str


class Target(BaseModel):
    """A device with the way networks run on it.

    Attributes:
        name: of the file, without ".yaml".
        path: the file.
        description: one line for people.
        device: how it is reached.
        runtime: what networks are exported for and run by.
        precision: fp32, fp16 or int8.
        threads: of the runtime.
        power_mode: what the device must be set to, "" where there is no such thing.
        int8_weight_bits: 7 where sums of int8 products overflow with weights of 8 bits (x86 without VNNI), else 8; None
            where nobody knows. A device that can be reached is asked instead.
        board: of a microcontroller, as `mcu.boards` knows it; "" for the target's own name.
        accelerator: an Ethos-U, where networks run on one.
        flash: words of the command that writes "{firmware}" to a microcontroller, run without a shell.
        memory: bytes of each region ("sram", "flash" ...).
        limits: greatest use in bytes of a region; where a region has none, all of it.
        table: `<directory>/<runtime>-<precision>` below `latency_tables/`, "" for `<name>/<runtime>-<precision>`.
        notes: anything a user should know.

    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1]
    name: str
    path: Path
    description: Text
    runtime: str
    device: DeviceAddress = DeviceAddress()
    precision: Literal["fp32", "fp16", "int8"] = "fp32"
    threads: int = Field(default=1, ge=1, le=1024, strict=True)
    power_mode: str = ""
    int8_weight_bits: Literal[7, 8] | None = None
    board: str = ""
    flash: tuple[str, ...] = ()
    accelerator: AcceleratorNames | None = None
    memory: Sizes = Field(default_factory=dict)
    limits: Sizes = Field(default_factory=dict)
    table: str = ""
    notes: Text = ""

    @property
    def microcontroller(self) -> bool:
        """Whether networks become firmware for it."""
        return self.runtime == MICROCONTROLLER

    @property
    def reachable(self) -> bool:
        """Whether the file says how to reach the device at all."""
        return self.device.kind != "none"

    def to_dict(self) -> dict[str, Any]:
        """As plain data, for `targets show --json` and manifests."""
        return self.model_dump(mode="json")


def target_names() -> dict[str, Path]:
    """Every target at hand with its file, aliases left out."""
    return resources.names("targets", ".yaml")


def load_target(name: str) -> Target:
    """The target of a name, an alias, or a file's path.

    Raises:
        UnknownNameError: no such target; near names are given.
        ConfigError: the file does not describe one (file and line).
        FormatError: the file cannot be read.

    """
    if name.endswith((".yaml", ".yml")):
        return read_target(Path(name))
    known = target_names()
    resolved = name if name in known else ALIASES.get(name, name)
    if resolved not in known:
        usable = [*known, *(alias for alias, target in ALIASES.items() if target in known)]
        raise UnknownNameError("target", name, usable, "('nas-edge targets list' shows them all)")
    return read_target(known[resolved])


def read_target(path: Path) -> Target:
    """Read one file. Raises ConfigError with file and line, FormatError where it cannot be read."""
    return read_model(Target, path, "a target", {"name": path.stem, "path": path})
