"""Packing of buffers with lifetimes: valid, tight, and no worse than an exact solver that nobody here wrote."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas_edge.memory.packing import Buffer, Packing, aligned, lower_bound, pack


@st.composite
def buffers(draw: st.DrawFn, most: int = 12, steps: int = 8) -> list[Buffer]:
    found = []
    for _ in range(draw(st.integers(0, most))):
        first = draw(st.integers(0, steps - 1))
        found.append(Buffer(draw(st.integers(0, 200)), first, draw(st.integers(first, steps - 1))))
    return found


def overlapping(found: list[Buffer], packing: Packing) -> list[tuple[int, int]]:
    """Pairs of buffers that live at once and share bytes."""
    places = [(o, o + b.size) for o, b in zip(packing.offsets, found, strict=True)]
    return [
        (i, j)
        for i, j in itertools.combinations(range(len(found)), 2)
        if found[i].meets(found[j]) and places[i][0] < places[j][1] and places[j][0] < places[i][1]
    ]


def least_by_integer_program(found: list[Buffer]) -> int:
    """The smallest arena, by scipy's HiGHS: an address for each buffer, an order for each pair that lives at once."""
    from scipy.optimize import Bounds, LinearConstraint, milp

    n, big = len(found), sum(b.size for b in found)
    pairs = [(i, j) for i, j in itertools.combinations(range(n), 2) if found[i].meets(found[j])]
    width = n + 1 + len(pairs)
    rows, limits = [], []

    def row(**entries: float) -> None:
        line = np.zeros(width)
        for key, value in entries.items():
            line[int(key[1:])] = value
        rows.append(line)

    for i, buffer in enumerate(found):  # address + size <= arena
        row(**{f"v{i}": 1.0, f"v{n}": -1.0})
        limits.append(-float(buffer.size))
    for p, (i, j) in enumerate(pairs):  # one below the other
        row(**{f"v{i}": 1.0, f"v{j}": -1.0, f"v{n + 1 + p}": float(big)})
        limits.append(float(big - found[i].size))
        row(**{f"v{j}": 1.0, f"v{i}": -1.0, f"v{n + 1 + p}": -float(big)})
        limits.append(-float(found[j].size))
    aim = np.zeros(width)
    aim[n] = 1.0
    upper = np.concatenate([np.full(n + 1, float(big)), np.ones(len(pairs))])
    whole = np.ones(width)
    done = milp(
        aim,
        constraints=LinearConstraint(np.array(rows), -np.inf, np.array(limits)),
        bounds=Bounds(np.zeros(width), upper),
        integrality=whole,
    )
    assert done.success
    return round(done.fun)


@given(buffers(), st.sampled_from([1, 4, 16]))
def test_buffers_that_live_at_once_never_share_bytes_and_addresses_are_aligned(
    found: list[Buffer], alignment: int
) -> None:
    packing = pack(found, alignment)
    assert not overlapping(found, packing)
    assert all(offset % alignment == 0 and offset >= 0 for offset in packing.offsets)
    ends = [o + aligned(b.size, alignment) for o, b in zip(packing.offsets, found, strict=True)]
    assert packing.size == max(ends, default=0)
    assert lower_bound(found, alignment) <= packing.bound <= packing.size


@given(buffers(6, 5).filter(len))
@settings(max_examples=60, deadline=None)
def test_small_problems_are_solved_as_well_as_by_an_exact_solver(found: list[Buffer]) -> None:
    packing = pack(found, alignment=1)
    assert packing.size == least_by_integer_program(found)
    assert packing.optimal


@pytest.mark.parametrize("seed", range(6))
def test_eight_tight_buffers_are_solved_as_well_as_by_an_exact_solver(seed: int) -> None:
    rng = np.random.default_rng(seed)
    first = rng.integers(0, 6, 8)
    found = [
        Buffer(int(s), int(f), int(f + d))
        for s, f, d in zip(rng.integers(1, 9, 8), first, rng.integers(0, 4, 8), strict=True)
    ]
    packing = pack(found, alignment=1)
    assert (packing.size, packing.optimal) == (least_by_integer_program(found), True)


def test_a_packing_that_cannot_reach_the_bound_is_proven_not_to() -> None:
    # Three pairs of unequal neighbours that wrap round: 3 live at most, 4 are needed.
    found = [Buffer(1, 0, 1), Buffer(1, 4, 5), Buffer(2, 1, 2), Buffer(2, 3, 4), Buffer(1, 2, 3), Buffer(1, 0, 0)]
    found += [Buffer(1, 5, 5)]
    packing = pack(found, alignment=1)
    assert packing.optimal
    assert packing.size == least_by_integer_program(found)


@given(st.lists(st.integers(1, 50), min_size=2, max_size=40))
def test_a_chain_needs_no_more_than_its_greatest_pair_of_neighbours(sizes: list[int]) -> None:
    chain = [Buffer(size, i, i + 1) for i, size in enumerate(sizes)]
    assert pack(chain, alignment=1).size == max(a + b for a, b in itertools.pairwise(sizes))


def test_two_hundred_random_buffers_are_packed_within_a_tenth_of_the_bound() -> None:
    rng = np.random.default_rng(3)
    first = rng.integers(0, 100, 200)
    found = [
        Buffer(int(s), int(f), int(f + d))
        for s, f, d in zip(rng.integers(1, 5000, 200), first, rng.integers(0, 15, 200), strict=True)
    ]
    packing = pack(found)
    assert not overlapping(found, packing)
    assert packing.size <= 1.1 * packing.bound


def test_a_buffer_that_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(ValueError, match="ends no sooner"):
        Buffer(4, 2, 1)
