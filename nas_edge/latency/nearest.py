"""First contact with a device that has no table: the most similar table, carried over by a few measured networks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np

from nas_edge.errors import ArchitectureError
from nas_edge.latency.pricing import Pricer
from nas_edge.latency.table import BlockEntry, LatencyTable, NetworkEntry, TableHeader
from nas_edge.origin import OriginKind
from nas_edge.spaces import SearchSpace

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


def transfer(
    table: LatencyTable | None, header: TableHeader, space: SearchSpace, networks: Sequence[NetworkEntry]
) -> LatencyTable:
    """A table for another device: blocks scaled to the networks measured there, and these networks.

    Offset and parameter term are left to the predictor's calibration on the same networks. All blocks are `modelled`.

    Args:
        table: to start from; None leaves the blocks to the prior of `header.device["class"]`.
        header: of the new table.
        space: that the networks are points of.
        networks: measured on the new device.

    """
    if table is None:
        return LatencyTable(header, {}, tuple(networks))
    scale = _scale(table, space, networks)
    blocks = {
        replace(block, precision=header.precision): BlockEntry(entry.ms * scale, origin=OriginKind.MODELLED)
        for block, entry in table.blocks.items()
    }
    return LatencyTable(header, blocks, tuple(networks))


def _scale(table: LatencyTable, space: SearchSpace, networks: Iterable[NetworkEntry]) -> float:
    """Median of measured over summed."""
    pricer, ratios = Pricer(table), []
    for network in networks:
        try:
            row = space.from_json(network.arch)
        except ArchitectureError:
            continue
        blocks = space.lower(row, network.num_classes, table.header.precision)
        prices = pricer.price(blocks)
        ratios.append(network.ms / sum(prices[block].ms for block in blocks))
    return float(np.median(ratios)) if ratios else 1.0
