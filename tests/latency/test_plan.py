"""What is measured covers the space and its range of latencies."""

from __future__ import annotations

import numpy as np
import pytest

from nas_edge.errors import SpaceError
from nas_edge.latency import Role
from nas_edge.latency.plan import distinct_blocks, plan_networks
from nas_edge.spaces import SearchSpace, preset_names


@pytest.mark.parametrize("name", preset_names())
def test_the_blocks_of_any_architecture_are_planned_once(name: str) -> None:
    space = SearchSpace.named(name)
    blocks = distinct_blocks(space, 10)
    assert len(set(blocks)) == len(blocks)
    used = {block for row in space.sample(30, np.random.default_rng(0)) for block in space.lower(row, 10)}
    assert used <= set(blocks)


def test_only_the_resolutions_asked_for_are_planned() -> None:
    space = SearchSpace.named("lite0")
    one = distinct_blocks(space, 6, [96])
    assert one == distinct_blocks(space.restrict([96]), 6)
    assert 0 < len(one) < len(distinct_blocks(space, 6))
    with pytest.raises(SpaceError, match="r cannot be 97"):
        distinct_blocks(space, 6, [97])


def test_networks_are_distinct_spread_and_dealt_to_both_roles() -> None:
    space = SearchSpace.named("lite0")
    plan = plan_networks(space, 6, 20, 20, seed=3)
    assert len({network.arch.tobytes() for network in plan}) == 40
    assert [sum(n.role is role for n in plan) for role in Role] == [20, 20]
    macs = space.macs(np.stack([n.arch for n in plan]), 6)
    assert macs.max() > 15 * macs.min()
    assert {plan[0].role, plan[-1].role} == {Role.CALIBRATION}
    assert (plan[0].arch == space.smallest()).all()
    assert (plan[-1].arch == space.largest()).all()
    assert len({n.name for n in plan}) == 40


def test_a_plan_is_the_same_for_the_same_seed() -> None:
    space = SearchSpace.named("mcu")
    first, again, other = (plan_networks(space, 6, 5, 5, seed) for seed in (1, 1, 2))
    assert [n.arch.tolist() for n in first] == [n.arch.tolist() for n in again]
    assert [n.arch.tolist() for n in first] != [n.arch.tolist() for n in other]


def test_a_plan_without_calibration_networks_is_refused() -> None:
    with pytest.raises(ValueError, match="two networks"):
        plan_networks(SearchSpace.named("lite0"), 6, 1, 0)
