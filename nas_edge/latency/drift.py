"""How far two sittings on one device differ: what a table measured in one says of the other.

The logarithm of a network's times in two sittings is made of what all networks share (a level, and a slope over their
size) and of what each has by itself. A prediction's bound holds the latter already: leave-one-out residuals are of
single networks in one sitting. Only what is shared comes on top of it, and the own part once, since a table's figures
may be means of several sittings, in which it cancels.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas_edge.errors import TableError
from nas_edge.latency.interval import assumed_sitting_log_error
from nas_edge.latency.pricing import header_figure
from nas_edge.latency.table import LatencyTable, TableHeader

_PRIOR_PAIRS = 2.0  # pairs of sittings that the assumed difference is worth: one pair says little of the next
_NETWORKS_FOR_SLOPE = 10
FEWEST_NETWORKS = 3
"""Fewer tell a network's own error, not how sittings differ."""


def sitting_drift(
    sittings: Sequence[Mapping[str, float]],
    header: TableHeader | None = None,
    earlier: Iterable[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """`TableHeader.sittings`, from networks measured in several sittings.

    Args:
        sittings: milliseconds by the name of the network, one mapping a sitting, in any order: as they would be
            compared, that is at one quiet value of the reference kernel where there is one (`network_times`).
        header: of the table, which says what is assumed without any.
        earlier: what was found before, of other sittings on the device; counts as well.

    Returns:
        `log_error`: standard deviation of the logarithm of a network's time in another sitting, beyond what networks of
        one sitting differ by themselves, the assumed one counting as two pairs of sittings; `beyond`: without the
        assumed one; `rms`: of log(one sitting / another) as it is; `shift_percent`: greatest shift of all networks
        together; `networks`, `sittings`, `pairs`.

    Raises:
        TableError: fewer than two sittings, or no network in two of them.

    """
    squares, beyond, shifts, common = [], [], [], set()
    for one, other in itertools.combinations(sittings, 2):
        names = sorted(set(one) & set(other))
        if names:
            logs = np.log([other[name] / one[name] for name in names])
            squares.append(float(np.mean(logs**2)))
            beyond.append(_beyond(logs, np.log([one[name] for name in names])))
            shifts.append(abs(float(np.median(logs))))
            common.update(names)
    if not squares:
        raise TableError("the difference between sittings needs a network that was measured in two of them")
    found = {
        "rms": math.sqrt(sum(squares) / len(squares)),
        "beyond": math.sqrt(sum(beyond) / len(beyond)),
        "shift_percent": 100 * (math.exp(max(shifts)) - 1),
        "networks": len(common),
        "sittings": len(sittings),
        "pairs": len(squares),
    }
    return _together(header, [found, *earlier])


def _beyond(logs: NDArray[np.float64], sizes: NDArray[np.float64]) -> float:
    """Mean square of log(one sitting / another) beyond the networks' own: the shared part, and half of what is left.

    Args:
        logs: float64 [n], of one pair of sittings.
        sizes: float64 [n], log ms of the networks.

    """
    columns = [np.ones(len(logs)), sizes - sizes.mean()][: 2 if len(logs) >= _NETWORKS_FOR_SLOPE else 1]
    design = np.stack(columns, axis=1)
    shared = design @ np.linalg.lstsq(design, logs, rcond=None)[0]
    # Both sittings have an own part; the difference has twice the variance of one.
    return float(np.mean(shared**2) + 0.5 * np.mean((logs - shared) ** 2))


def pooled(header: TableHeader, found: Mapping[str, Any]) -> dict[str, Any]:
    """A table's `sittings` and what was found of the same device elsewhere, in the same form."""
    return _together(header, [header.sittings, found])


def _together(header: TableHeader | None, found: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Several such findings as one; those that do not say how many pairs they rest on are left out."""
    known = [
        {key: header_figure(one, key, 0.0) for key in ("pairs", "rms", "shift_percent", "networks", "sittings")}
        | {"beyond": header_figure(one, "beyond", header_figure(one, "rms", 0.0))}
        for one in found
        if header_figure(one, "pairs", 0.0)
    ]
    if not known:
        return dict(header.sittings) if header is not None else {}
    pairs = sum(one["pairs"] for one in known)
    rms, beyond = (sum(one["pairs"] * one[key] ** 2 for one in known) for key in ("rms", "beyond"))
    assumed = assumed_sitting_log_error(header)
    return {
        "log_error": round(math.sqrt((beyond + _PRIOR_PAIRS * assumed**2) / (pairs + _PRIOR_PAIRS)), 4),
        "beyond": round(math.sqrt(beyond / pairs), 4),
        "rms": round(math.sqrt(rms / pairs), 4),
        "shift_percent": round(max(one["shift_percent"] for one in known), 2),
        "networks": int(max(one["networks"] for one in known)),
        "sittings": int(1 + sum(one["sittings"] - 1 for one in known)),
        "pairs": int(pairs),
    }


def compared(first: LatencyTable, second: LatencyTable) -> dict[str, Any]:
    """`TableHeader.sittings` of two tables of one device, the earlier one's own among it; empty where they share fewer
    than three networks, or were timed beside different reference kernels.
    """
    a, b = first.header, second.header
    earlier = [found for found in (a.sittings, b.sittings) if found]
    if a.reference_kernel != b.reference_kernel:
        return dict(b.sittings)
    times = [network_times(first), network_times(second, a.reference_quiet_ms)]
    if len(set(times[0]) & set(times[1])) < FEWEST_NETWORKS:
        return dict(a.sittings or b.sittings)
    return sitting_drift(times, a, earlier)


def network_times(table: LatencyTable, quiet_ms: float | None = None) -> dict[str, float]:
    """Milliseconds of a table's whole networks, by what they are: the same in every table.

    Args:
        table: measured in one sitting.
        quiet_ms: value of the reference kernel that times are brought to; the table's own by default.

    """
    own = table.header.reference_quiet_ms
    scale = quiet_ms / own if quiet_ms and own else 1.0
    return {f"{n.space}/{n.num_classes}/{sorted(n.arch.items())}": scale * n.ms for n in table.networks}
