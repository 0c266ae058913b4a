"""`targets add`: a target's file for a device of one's own."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas_edge.errors import ConfigError, UnknownNameError
from nas_edge.files import write_yaml
from nas_edge.pipeline.devices.reaching import at_device
from nas_edge.pipeline.devices.targets import ALIASES, Target, load_target, read_target
from nas_edge.runtimes.registry import get_runtime

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_PRECISIONS = ("fp32", "fp16", "int8")
_LIKE = ("runtime", "precision", "threads", "power_mode", "board", "flash", "memory", "limits", "table", "notes")


@dataclass(frozen=True)
class Wishes:
    """What a new target is to be; None for what its model has.

    Attributes:
        like: the target that all else is taken from.
        host, serial: how it is reached.
        python, directory: on the device.
        runtime, precision, threads, description: as in `Target`.

    """

    like: str = "local"
    host: str | None = None
    serial: str | None = None
    python: str = ""
    directory: str = ""
    runtime: str | None = None
    precision: str | None = None
    threads: int | None = None
    description: str | None = None


def add_target(name: str, wishes: Wishes, *, overwrite: bool = False) -> Target:
    """Write `targets/<name>.yaml` where the user stands, and read it back.

    Raises:
        ConfigError: a name that is none, is taken, or cannot be written; a value that does not fit (the file is not
            written). UnknownNameError: no such target or runtime. DeviceError: not an address.

    """
    if not _NAME.fullmatch(name) or name == "local":
        raise ConfigError(f"target name {name!r}: letters, digits, dots and dashes are expected, and not 'local'")
    if name in ALIASES:
        raise ConfigError(f"target name {name!r} is an alias of {ALIASES[name]!r}; choose another name")
    path = Path("targets") / f"{name}.yaml"
    if path.exists() and not overwrite:
        raise ConfigError(f"{path} is there already; --overwrite replaces it")
    like = load_target(wishes.like)
    if not wishes.host and not wishes.serial:
        raise ConfigError("nothing says how the device is reached: add --host user@addr, or --serial NUMBER for adb")
    device = at_device(like, wishes.host, wishes.serial).device
    if wishes.runtime:
        get_runtime(wishes.runtime)
    if wishes.precision not in (None, *_PRECISIONS):
        raise UnknownNameError("precision", str(wishes.precision), _PRECISIONS)
    own = {key: getattr(wishes, key) for key in ("runtime", "precision", "threads") if getattr(wishes, key) is not None}
    shown: dict[str, Any] = {
        "kind": device.kind, "address": device.address, "directory": wishes.directory, "python": wishes.python,
    }  # fmt: skip
    kept = like.to_dict()
    if like.microcontroller:
        kept["board"] = like.board or like.name
    data = {
        "format": 1,
        "description": wishes.description
        or f"{kept['description'] if like.name != 'local' else 'a device'} at {device.address}",
        "device": {key: value for key, value in shown.items() if value},
        **{key: kept[key] for key in _LIKE if kept[key] and not (key == "notes" and like.name == "local")},
        **own,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_yaml(path, data)
    return read_target(path)
