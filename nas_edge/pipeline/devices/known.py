"""Devices that were reached before: what they are, kept in the user's cache. Light: a search begins here.

An unverified search, or a prediction, for a device that cannot be reached at the moment then still finds its tables.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from nas_edge import resources
from nas_edge.devices.fingerprint import DeviceFingerprint
from nas_edge.errors import FormatError
from nas_edge.files import read_json, write_json

if TYPE_CHECKING:
    from nas_edge.pipeline.devices.targets import DeviceAddress

FORMAT = 1


@dataclass(frozen=True)
class KnownDevice:
    """A device as it was when it was last reached.

    Attributes:
        fingerprint: what it is.
        runtimes: version of each runtime there.

    """

    fingerprint: DeviceFingerprint
    runtimes: Mapping[str, str] = field(default_factory=dict)


def address_slug(address: str) -> str:
    """ "pi@10.0.0.5:2222" -> "pi-10.0.0.5-2222": as a name of targets, runs and files."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", address).strip("-.") or "device"


def remember(device: DeviceAddress, known: KnownDevice) -> None:
    """Keep what a device is. Raises ConfigError, StorageError: the cache cannot be written."""
    date = datetime.now(UTC).isoformat(timespec="seconds")
    facts = {"fingerprint": known.fingerprint.to_json(), "runtimes": dict(known.runtimes)}
    path = _path(device)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"format": FORMAT, "address": device.address, "date": date, **facts})


def recall(device: DeviceAddress) -> KnownDevice | None:
    """What is known of a device, None where it was never reached; a damaged note counts as none."""
    path = _path(device)
    if not path.is_file():
        return None
    try:
        data = read_json(path)
        runtimes = {str(name): str(version) for name, version in data["runtimes"].items()}
        return KnownDevice(DeviceFingerprint.from_json(data["fingerprint"]), runtimes)
    except (FormatError, KeyError, TypeError, AttributeError):
        return None


def _path(device: DeviceAddress) -> Path:
    return resources.cache_directory() / "devices" / f"{device.kind}-{address_slug(device.address)}.json"
