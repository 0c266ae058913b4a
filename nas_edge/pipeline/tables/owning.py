"""The target by whose name a table is found: made where a table is made for a device that has no target yet."""

from __future__ import annotations

from pathlib import Path

from nas_edge.errors import ConfigError, UnknownNameError
from nas_edge.files import write_yaml
from nas_edge.latency import TableHeader
from nas_edge.latency.table import directory_name
from nas_edge.pipeline.devices.targets import MICROCONTROLLER, Target, load_target

_USUAL = {"gpu": "tensorrt", "mobile-cpu": "litert"}
"""Runtimes of devices by class, where a table's own is none that networks are exported for."""


def check_name(option: str, name: str) -> None:
    """Raises ConfigError where a device cannot be called so."""
    if not name or Path(name).name != name or name.startswith("."):
        raise ConfigError(f"{option} {name!r}: a device's name is also a directory's: letters, digits, dashes")


def known_target(name: str) -> Target | None:
    """The target of a name, None where there is none yet."""
    try:
        return load_target(name)
    except UnknownNameError:
        return None


def other_table(target: Target, directory: Path) -> str:
    """What to say where a target's own table is another than the one just written; "" where it is that one."""
    name = f"{directory.parent.name}/{directory.name}"
    usual = f"{target.name}/{directory_name(target.runtime, target.precision, target.threads)}"
    if (target.table or usual) == name:
        return ""
    return f"target {target.name!r} has another table; to use this one, write 'table: {name}' in its file"


def write_target(header: TableHeader, directory: Path, about: str) -> Path:
    """Write `targets/<name>.yaml` where the user stands, for a device that nobody has said how to reach.

    Args:
        header: of its table.
        directory: of its table.
        about: the table in a few words, for people.

    """
    from nas_edge.runtimes import runtime_names

    runs = set(runtime_names()) - {MICROCONTROLLER}  # which needs more than a name
    usual = _USUAL.get(str(header.device.get("class", "")), "onnxruntime")
    path = Path("targets") / f"{header.target}.yaml"
    write_yaml(
        path,
        {
            "format": 1,
            "description": f"{header.target}, {about}",
            "device": {"kind": "none"},
            "runtime": header.runtime if header.runtime in runs else usual,
            "precision": header.precision.value,
            "threads": header.threads,
            "table": f"{directory.parent.name}/{directory.name}",
        },
    )
    return path
