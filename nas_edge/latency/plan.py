"""What to measure for a table: the distinct blocks of a space, and whole networks spread over its latencies."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nas_edge.latency.parametric import prior_model
from nas_edge.latency.table import Role
from nas_edge.spaces import BlockSpec, Population, Precision, SearchSpace


@dataclass(frozen=True)
class PlannedNetwork:
    """A whole network to be measured beside the blocks.

    Attributes:
        name: "calibration-07".
        arch: int8 [genes].
        role: calibration or holdout.

    """

    name: str
    arch: NDArray[np.int8]
    role: Role


def full_space(space: SearchSpace) -> SearchSpace:
    """The space without restrictions: same genes, same layout of terms."""
    return replace(space, allowed=(), _terms={}) if space.allowed else space


def distinct_blocks(
    space: SearchSpace,
    num_classes: int,
    resolutions: Iterable[int] | None = None,
    precision: Precision = Precision.FP32,
) -> tuple[BlockSpec, ...]:
    """Every block that an architecture of the space can have, each once, in the order of the network.

    Args:
        space: restricted resolutions are left out.
        num_classes: of the classifier.
        resolutions: input sides in pixels; all that the space allows by default.
        precision: of the blocks.

    Raises:
        SpaceError: a resolution that the space does not have.

    """
    chosen = space if resolutions is None else space.restrict(resolutions)
    terms = chosen.terms(num_classes, precision)
    return tuple(dict.fromkeys(block for term in terms for blocks in term.blocks for block in blocks))


def plan_networks(
    space: SearchSpace, num_classes: int, calibration: int = 20, holdout: int = 20, seed: int = 0
) -> tuple[PlannedNetwork, ...]:
    """Networks at even steps of log cost from the smallest to the largest, roles dealt alternately.

    The cost is a rough one (MACs and layers of `prior_model("cpu")`): it only spreads the choice. The smallest and
    the largest network are for calibration, so that no hold-out network lies outside the calibrated range.

    Raises:
        ValueError: fewer than two networks for calibration.

    """
    if calibration < 2 or holdout < 0:
        raise ValueError("a plan needs two networks for calibration or more")
    rng = np.random.default_rng(seed)
    candidates = candidate_pool(space, rng)
    model = prior_model("cpu")
    cost = np.log(space.costs(lambda block: model.predict([block])[0], num_classes).sum(candidates))
    total = min(calibration + holdout, len(candidates))
    taken = np.zeros(len(candidates), bool)
    chosen: list[int] = []
    for wanted in np.linspace(cost.min(), cost.max(), total):
        nearest = int(np.argmin(np.where(taken, np.inf, np.abs(cost - wanted))))
        taken[nearest] = True
        chosen.append(nearest)
    roles = _deal(total, min(holdout, max(total - 2, 0)), rng)
    numbers = {Role.CALIBRATION: 0, Role.HOLDOUT: 0}
    plan = []
    for index, role in zip(chosen, roles, strict=True):
        numbers[role] += 1
        plan.append(PlannedNetwork(f"{role.value}-{numbers[role]:02d}", candidates[index], role))
    return tuple(plan)


def candidate_pool(space: SearchSpace, rng: np.random.Generator) -> Population:
    """Some thousand distinct architectures, both ends of the space among them, int8 [n, genes]."""
    small, large = space.smallest()[None], space.largest()[None]
    pool = [small, large, space.sample(3000, rng)]
    # Uniform samples crowd in the middle: reach both ends by changing the extremes a little.
    for end in (small, large):
        pool += [space.mutate(np.repeat(end, 400, axis=0), rng, rate) for rate in (0.05, 0.15, 0.4)]
    distinct: Population = np.unique(np.concatenate(pool), axis=0)
    return distinct


def _deal(total: int, holdout: int, rng: np.random.Generator) -> list[Role]:
    """Roles in order of cost: ends for calibration, hold-outs evenly between, jittered by half a step."""
    roles = [Role.CALIBRATION] * total
    inner = np.arange(1, total - 1)
    for group in np.array_split(inner, holdout) if holdout else []:
        roles[int(rng.choice(group))] = Role.HOLDOUT
    return roles
