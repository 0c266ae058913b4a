"""`Target`: how to reach a device and how networks run on it, from `targets/<name>.yaml`.

Validated by hand: a whole unverified search takes about a second, and pydantic would be a tenth of it.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any

from nas_edge import resources
from nas_edge.errors import ConfigError, QuantityError, UnknownNameError
from nas_edge.files import parse_yaml, read_text, yaml_line
from nas_edge.units import parse_bytes

ALIASES: Mapping[str, str] = MappingProxyType(
    {"mobile-cpu": "samsung-note10", "jetson": "jetson-tx2", "mcu": "stm32f405"}
)
DEVICE_KINDS = ("local", "ssh", "adb", "serial", "emulator", "none")
PRECISIONS = ("fp32", "fp16", "int8")
_FORMAT = 1


@dataclass(frozen=True)
class DeviceAddress:
    """How a device is reached.

    Attributes:
        kind: local, ssh, adb, serial, emulator, or none where nobody has said how yet.
        address: "user@host" (ssh), a serial number (adb), a port (serial), a machine (emulator).
        directory: where files go on the device, "" for a temporary one.

    """

    kind: str = "none"
    address: str = ""
    directory: str = ""


@dataclass(frozen=True)
class Target:
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
        memory: bytes of each region ("sram", "flash" ...).
        limits: greatest use in bytes by what is limited ("arena", "model" ...).
        table: `<directory>/<runtime>-<precision>` below `latency_tables/`, "" for `<name>/<runtime>-<precision>`.
        notes: anything a user should know.

    """

    name: str
    path: Path
    description: str
    runtime: str
    device: DeviceAddress = DeviceAddress()
    precision: str = "fp32"
    threads: int = 1
    power_mode: str = ""
    memory: Mapping[str, int] = field(default_factory=dict)
    limits: Mapping[str, int] = field(default_factory=dict)
    table: str = ""
    notes: str = ""

    @property
    def reachable(self) -> bool:
        """Whether the file says how to reach the device at all."""
        return self.device.kind != "none"

    def to_dict(self) -> dict[str, Any]:
        """As plain data, for `targets show --json` and manifests."""
        plain = {f.name: getattr(self, f.name) for f in fields(self)}
        plain["device"] = {f.name: getattr(self.device, f.name) for f in fields(self.device)}
        return plain | {"path": str(self.path), "memory": dict(self.memory), "limits": dict(self.limits)}


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
    text = read_text(path)
    data = parse_yaml(text, str(path))
    where = _Where(path, text)
    if not isinstance(data, dict):
        raise ConfigError(f"{path}:1: a target is a mapping with the keys description, device, runtime ...")
    if data.get("format") != _FORMAT:
        raise where.error(("format",), f"'format: {_FORMAT}' is expected; a newer file needs a newer nas-edge")
    allowed = {f.name for f in fields(Target)} - {"name", "path"}
    where.check_keys((), data, allowed | {"format"})
    missing = [f.name for f in fields(Target) if f.name in allowed and _required(f) and f.name not in data]
    if missing:
        raise ConfigError(f"{path}:1: lacks {', '.join(missing)}")
    values: dict[str, Any] = {key: value for key, value in data.items() if key != "format"}
    for key in values.keys() & {"description", "runtime", "power_mode", "table", "notes"}:
        values[key] = where.text((key,), values[key])
    if "device" in values:
        values["device"] = _device(where, values["device"])
    for key in values.keys() & {"memory", "limits"}:
        values[key] = _sizes(where, key, values[key])
    if values.get("precision", "fp32") not in PRECISIONS:
        raise where.error(("precision",), f"precision is one of {', '.join(PRECISIONS)}, not {values['precision']!r}")
    threads = values.get("threads", 1)
    if isinstance(threads, bool) or not isinstance(threads, int) or not 1 <= threads <= 1024:
        raise where.error(("threads",), f"threads is a number from 1 to 1024, not {threads!r}")
    return Target(name=path.stem, path=path, **values)


@dataclass(frozen=True)
class _Where:
    """A file and its text, to say the line of what is wrong."""

    path: Path
    content: str

    def error(self, keys: tuple[str | int, ...], message: str) -> ConfigError:
        return ConfigError(f"{self.path}:{yaml_line(self.content, keys)}: {message}")

    def check_keys(self, keys: tuple[str, ...], data: Mapping[Any, Any], allowed: set[str]) -> None:
        for key in data:
            if key not in allowed:
                near = difflib.get_close_matches(str(key), allowed, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(sorted(allowed))}"
                raise self.error((*keys, str(key)), f"unknown key {key!r}; {hint}")

    def text(self, keys: tuple[str, ...], value: object) -> str:
        if not isinstance(value, str):
            raise self.error(keys, f"{keys[-1]} is a text, not {value!r}")
        return " ".join(value.split())


def _required(entry: Any) -> bool:
    return entry.default is MISSING and entry.default_factory is MISSING


def _device(where: _Where, data: object) -> DeviceAddress:
    if not isinstance(data, dict):
        raise where.error(("device",), "device is a mapping, like {kind: local}")
    where.check_keys(("device",), data, {f.name for f in fields(DeviceAddress)})
    texts = {key: where.text(("device", key), value) for key, value in data.items()}
    device = DeviceAddress(**texts)
    if device.kind not in DEVICE_KINDS:
        raise where.error(("device", "kind"), f"kind is one of {', '.join(DEVICE_KINDS)}, not {device.kind!r}")
    if device.kind in ("ssh", "serial", "emulator") and not device.address:
        raise where.error(("device",), f"a device of kind {device.kind} needs an address")
    return device


def _sizes(where: _Where, key: str, data: object) -> dict[str, int]:
    if not isinstance(data, dict):
        raise where.error((key,), f"{key} is a mapping of names to sizes, like {{sram: 128KB}}")
    sizes = {}
    for name, value in data.items():
        try:
            sizes[str(name)] = parse_bytes(value if isinstance(value, str) else f"{value}B")
        except QuantityError as error:
            raise where.error((key, str(name)), str(error)) from None
    return sizes
