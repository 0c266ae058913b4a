"""First contact with a device that has no table: which table is the most similar (`transfer` carries it over)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from nas_edge.latency.table import TableHeader
from nas_edge.latency.transfer import transfer

__all__ = ["Wanted", "device_class", "distance", "nearest", "transfer"]

K = TypeVar("K")


@dataclass(frozen=True)
class Wanted:
    """What a table is looked for.

    Attributes:
        runtime, precision, threads, regime: how networks will run.
        device: the device's fingerprint as plain data: class, vendor, family, model.

    """

    runtime: str
    precision: str = "fp32"
    threads: int = 1
    regime: str = "hot"
    device: Mapping[str, Any] = field(default_factory=dict)


def device_class(device: Mapping[str, Any]) -> str:
    """A key of `parametric.PRIORS`: as the device says, "cpu" where it says nothing."""
    return str(device.get("class", "cpu"))


def distance(header: TableHeader, wanted: Wanted) -> float:
    """How unlike the wanted conditions a table's are: 0 is the same kind of CPU, runtime, precision and threads.

    The weights order what changes the *proportions* between blocks most: the class of device, then precision, then
    the runtime, then the make of the CPU; speed itself is what the measured networks correct.
    """
    device = header.device
    total = 32.0 * (device_class(device) != device_class(wanted.device))
    total += 16.0 * (header.precision.value != wanted.precision)
    total += 8.0 * (header.runtime != wanted.runtime)
    total += 4.0 * (device.get("vendor") != wanted.device.get("vendor"))
    total += 2.0 * (header.regime != wanted.regime)
    total += 1.0 * (header.threads != wanted.threads)
    total += 0.5 * (device.get("family") != wanted.device.get("family"))
    return total + 0.25 * (device.get("model") != wanted.device.get("model"))


def nearest(headers: Mapping[K, TableHeader], wanted: Wanted) -> K | None:
    """The key of the table to start from; of equally near ones the first. None without tables."""
    return min(headers, key=lambda key: distance(headers[key], wanted), default=None)
