"""Which whole networks tell most about a device that has no table: the fewest measurements for a transfer."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nas_edge.latency.carrying import block_features
from nas_edge.latency.plan import PlannedNetwork, candidate_pool, full_space
from nas_edge.latency.table import LatencyTable, Role
from nas_edge.latency.transfer import known_parts
from nas_edge.spaces import SearchSpace, TermIndex

_RIDGE = 1.0  # as in the transfer: directions that a ridge would not believe are not worth a measurement


def choose_networks(
    base: LatencyTable, space: SearchSpace, num_classes: int, count: int = 10, seed: int = 0
) -> tuple[PlannedNetwork, ...]:
    """Networks that are far apart in latency and in all that a transfer learns from.

    Greedy V-optimal design (Fedorov, 1972): each next network is the one after which the prediction of all candidates
    is least uncertain, in the features of `carrying` and in log latency. The smallest and the largest come first.

    Args:
        base: table that the transfer will start from; one without blocks stands for launches, MACs and bytes.
        space: restricted values are left out.
        num_classes: of the classifier.
        count: of networks, at least 3.
        seed: of the candidates.

    Raises:
        ValueError: fewer than three networks.

    """
    if count < 3:
        raise ValueError("a plan of a transfer needs three networks or more")
    pool = candidate_pool(space, np.random.default_rng(seed))
    design = _design(base, space, num_classes, pool)
    cost = design[:, -1]
    chosen = [int(np.argmin(cost)), int(np.argmax(cost))]
    information = _RIDGE * np.eye(design.shape[1]) + design[chosen].T @ design[chosen]
    while len(chosen) < min(count, len(pool)):
        known = np.linalg.solve(information, design.T)
        # By how much one more network lowers the mean variance over all (Sherman and Morrison).
        gain = ((design @ known) ** 2).mean(axis=0) / (1.0 + (design.T * known).sum(axis=0))
        gain[chosen] = -1.0
        best = int(np.argmax(gain))
        chosen.append(best)
        information += np.outer(design[best], design[best])
    chosen.sort(key=lambda i: float(cost[i]))
    return tuple(
        PlannedNetwork(f"network-{number:02d}", pool[i], Role.CALIBRATION) for number, i in enumerate(chosen, 1)
    )


def _design(base: LatencyTable, space: SearchSpace, num_classes: int, pool: NDArray[np.int8]) -> NDArray[np.float64]:
    """float64 [n, features + 1], each of mean 0 and deviation 1 over the pool; the last is log latency."""
    terms = full_space(space).terms(num_classes, base.header.precision)
    blocks = list(dict.fromkeys(b for term in terms for entry in term.blocks for b in entry))
    row_of = {block: i for i, block in enumerate(blocks)}
    guess = known_parts(base, blocks)
    ms = guess[:, 0] if base.blocks else guess.sum(axis=1)
    columns = np.concatenate([block_features(blocks, ms), ms[:, None]], axis=1)
    index = TermIndex.of(terms, len(space.genes))
    nothing = np.zeros(columns.shape[1])
    flat = np.array(
        [sum((columns[row_of[b]] for b in entry), start=nothing) for term in terms for entry in term.blocks]
    )
    totals = flat[index.locate(pool)].sum(axis=1)
    shares = np.concatenate([totals[:, :-1] / totals[:, -1:], np.log(totals[:, -1:])], axis=1)
    deviation = shares.std(axis=0)
    deviation[deviation < 1e-12] = np.inf
    standard: NDArray[np.float64] = (shares - shares.mean(axis=0)) / deviation
    return standard
