"""Two tables side by side: what only one has, how their figures relate, what differs in their conditions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from nas_edge.latency.suspicious import describe_block
from nas_edge.latency.table import BlockEntry, LatencyTable, NetworkEntry, TableHeader, canonical
from nas_edge.latency.table_io import header_to_dict
from nas_edge.spaces import BlockSpec

_WORST = 5


@dataclass(frozen=True)
class Ratios:
    """Distribution of B's milliseconds over A's.

    Attributes:
        shared: how many both have.
        low, median, high: 5th, 50th and 95th percentile.
        worst: (what, A's ms, B's ms), those furthest from the median first.

    """

    shared: int
    low: float
    median: float
    high: float
    worst: tuple[tuple[str, float, float], ...]

    @classmethod
    def of(cls, pairs: Mapping[str, tuple[float, float]]) -> Ratios | None:
        """None where nothing is shared."""
        if not pairs:
            return None
        ratio = np.array([b / a for a, b in pairs.values()])
        low, middle, high = (float(q) for q in np.percentile(ratio, [5, 50, 95]))
        order = np.argsort(-np.abs(np.log(ratio / middle)), kind="stable")[:_WORST]
        names = list(pairs)
        worst = tuple((names[i], *pairs[names[i]]) for i in order)
        return cls(len(pairs), low, middle, high, worst)

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "shared": self.shared,
            "ratio_5_percent": round(self.low, 4),
            "ratio_median": round(self.median, 4),
            "ratio_95_percent": round(self.high, 4),
            "worst": [{"what": what, "a_ms": a, "b_ms": b, "ratio": round(b / a, 4)} for what, a, b in self.worst],
        }


@dataclass(frozen=True)
class TableDiff:
    """What `diff_tables` found.

    Attributes:
        only_a, only_b: blocks that one table has alone, as `canonical` names them.
        blocks, networks: ratios of what both have, None where they share nothing.
        networks_only_a, networks_only_b: how many networks one has alone.
        header: for each key of the headers that differs, both values.

    """

    only_a: tuple[BlockSpec, ...]
    only_b: tuple[BlockSpec, ...]
    blocks: Ratios | None
    networks: Ratios | None
    networks_only_a: int
    networks_only_b: int
    header: Mapping[str, tuple[Any, Any]]

    @property
    def same(self) -> bool:
        """Whether both hold the same figures for the same blocks and networks under the same header."""
        alone = self.only_a or self.only_b or self.networks_only_a or self.networks_only_b or self.header
        return not alone and all(r is None or r.low == r.high == 1.0 for r in (self.blocks, self.networks))

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "same": self.same,
            "blocks": None if self.blocks is None else self.blocks.to_json(),
            "blocks_only_a": [describe_block(block) for block in self.only_a],
            "blocks_only_b": [describe_block(block) for block in self.only_b],
            "networks": None if self.networks is None else self.networks.to_json(),
            "networks_only_a": self.networks_only_a,
            "networks_only_b": self.networks_only_b,
            "header": {key: {"a": a, "b": b} for key, (a, b) in self.header.items()},
        }


def diff_tables(a: LatencyTable, b: LatencyTable) -> TableDiff:
    """Compare two tables; blocks that compute the same under two names are the same."""
    ours, theirs = _by_canonical(a), _by_canonical(b)
    shared = {_unique(block): (ours[block].ms, theirs[block].ms) for block in ours if block in theirs}
    networks_a, networks_b = (networks_by_identity(table.networks) for table in (a, b))
    both = {networks_a[key].name: (networks_a[key].ms, networks_b[key].ms) for key in networks_a if key in networks_b}
    return TableDiff(
        tuple(block for block in ours if block not in theirs),
        tuple(block for block in theirs if block not in ours),
        Ratios.of(shared),
        Ratios.of(both),
        len(set(networks_a) - set(networks_b)),
        len(set(networks_b) - set(networks_a)),
        header_differences(a.header, b.header),
    )


def header_differences(a: TableHeader, b: TableHeader, keys: Iterable[str] | None = None) -> dict[str, tuple[Any, Any]]:
    """Entries of two headers that differ, nested ones as "device.cpu"; of `keys` only, where they are given."""
    flat = [_flat(header_to_dict(header, 0, 0)) for header in (a, b)]
    names = list(dict.fromkeys([*flat[0], *flat[1]]))
    wanted = None if keys is None else tuple(keys)
    return {
        name: (flat[0].get(name), flat[1].get(name))
        for name in names
        if flat[0].get(name) != flat[1].get(name)
        and (wanted is None or any(name == key or name.startswith(f"{key}.") for key in wanted))
    }


def network_identity(network: NetworkEntry) -> str:
    """What makes two rows the same network, whatever they are called."""
    arch = ",".join(f"{key}={network.arch[key]}" for key in sorted(network.arch))
    return f"{network.space}/{network.num_classes}/{arch}"


def networks_by_identity(networks: Iterable[NetworkEntry]) -> dict[str, NetworkEntry]:
    """Networks by `network_identity`, the first of equal ones."""
    found: dict[str, NetworkEntry] = {}
    for network in networks:
        found.setdefault(network_identity(network), network)
    return found


def _by_canonical(table: LatencyTable) -> dict[BlockSpec, BlockEntry]:
    return {canonical(block): entry for block, entry in table.blocks.items()}


def _unique(block: BlockSpec) -> str:
    """In words that no two blocks share."""
    details = [str(block.activation), f"k{block.kernel}", f"s{block.stride}"]
    details += [name for name in ("residual", "se") if getattr(block, name)]
    details += [] if block.norm else ["no norm"]
    details += [str(block.padding), str(block.precision), f"groups {block.groups}", f"mid {block.mid_channels}"]
    return f"{describe_block(block)} ({', '.join(details)})"


def _flat(data: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in data.items():
        if isinstance(value, Mapping) and value:
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
