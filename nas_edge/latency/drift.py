"""How far two sittings on one device differ: what a table measured in one says of the other."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nas_edge.errors import TableError
from nas_edge.latency.interval import ASSUMED_SITTING_LOG_ERROR
from nas_edge.latency.table import LatencyTable

_PRIOR_PAIRS = 2.0  # pairs of sittings that the assumed difference is worth: one pair says little of the next


def sitting_drift(sittings: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """`TableHeader.sittings`, from networks measured in several sittings.

    Args:
        sittings: milliseconds by the name of the network, one mapping a sitting, in any order.

    Returns:
        `log_error`: standard deviation of log(one sitting / another) of a network, the assumed one counting as two
        pairs of sittings; `shift_percent`: greatest shift of all networks together; `networks`, `sittings`.

    Raises:
        TableError: fewer than two sittings, or no network in two of them.

    """
    squares, shifts, common = [], [], set()
    for one, other in itertools.combinations(sittings, 2):
        names = sorted(set(one) & set(other))
        if names:
            logs = np.log([other[name] / one[name] for name in names])
            squares.append(float(np.mean(logs**2)))
            shifts.append(abs(float(np.median(logs))))
            common.update(names)
    if not squares:
        raise TableError("the difference between sittings needs a network that was measured in two of them")
    prior = _PRIOR_PAIRS * ASSUMED_SITTING_LOG_ERROR**2
    return {
        "log_error": round(math.sqrt((sum(squares) + prior) / (len(squares) + _PRIOR_PAIRS)), 4),
        "shift_percent": round(100 * (math.exp(max(shifts)) - 1), 2),
        "networks": len(common),
        "sittings": len(sittings),
    }


def network_times(table: LatencyTable) -> dict[str, float]:
    """Milliseconds of a table's whole networks, by what they are: the same in every table."""
    return {f"{n.space}/{n.num_classes}/{sorted(n.arch.items())}": n.ms for n in table.networks}
