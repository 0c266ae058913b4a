"""Populations: canonical rows, exact size, variation, JSON."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas_edge.errors import ArchitectureError, SpaceError
from nas_edge.spaces import SearchSpace, preset, preset_names
from nas_edge.spaces.variation import depths

SPACES = {name: SearchSpace(preset(name)) for name in preset_names()}
seeds = st.integers(0, 2**32 - 1)
spaces = st.sampled_from(sorted(SPACES))


def test_every_architecture_of_a_small_space_is_listed_once_and_counted(tiny_space: SearchSpace) -> None:
    rows = tiny_space.enumerate()
    assert len(rows) == tiny_space.size() == len(np.unique(rows, axis=0))
    # widths x resolutions x (stage 1: 4 + 4^2 ways) x (stage 2: 2 + 2^2 ways)
    assert len(rows) == 2 * 2 * 20 * 6
    assert tiny_space.is_valid(rows).all()


def test_the_size_is_that_of_brute_force_over_all_rows(tiny_space: SearchSpace) -> None:
    small = tiny_space.restrict(resolutions=[32], w=[1.0], s1_2_k=[3])
    axes = [np.arange(len(gene.choices) + 1, dtype=np.int8) for gene in small.genes]
    grid = np.stack([axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")], axis=1)
    valid = grid[small.is_valid(grid)]
    assert len(valid) == small.size()
    assert {row.tobytes() for row in valid} == {row.tobytes() for row in small.enumerate()}


def test_a_space_that_is_too_large_to_list_says_how_large_it_is() -> None:
    with pytest.raises(SpaceError, match="too many to list"):
        SPACES["lite0"].enumerate()


def test_once_for_alls_space_has_its_published_size() -> None:
    one_resolution = SPACES["ofa-mbv3-w1.0"].restrict(resolutions=[224])
    assert one_resolution.size() == (9**2 + 9**3 + 9**4) ** 5


@settings(max_examples=30, deadline=None)
@given(spaces, seeds)
def test_samples_mutants_and_children_are_canonical(name: str, seed: int) -> None:
    space, rng = SPACES[name], np.random.default_rng(seed)
    parents = space.sample(64, rng)
    children = space.crossover(parents, parents[::-1], rng)
    mutants = space.mutate(parents, rng, 0.3)
    for rows in (parents, children, mutants):
        assert rows.dtype == np.int8
        assert space.is_valid(rows).all()


@settings(max_examples=60, deadline=None)
@given(spaces, seeds, st.floats(0, 0.2))
def test_rows_are_valid_where_repair_leaves_them_as_they_are(name: str, seed: int, share: float) -> None:
    space, rng = SPACES[name], np.random.default_rng(seed)
    rows = space.sample(64, rng)
    noise = rng.integers(-128, 128, rows.shape)
    changed = np.where(rng.random(rows.shape) < share, np.where(rng.random(rows.shape) < 0.5, 0, noise), rows)
    for candidates in (changed.astype(np.int8), changed, changed * 256 + rows):
        assert np.array_equal(space.is_valid(candidates), (space.repair(candidates) == candidates).all(axis=1))


@settings(max_examples=30, deadline=None)
@given(spaces, seeds)
def test_any_rows_are_repaired_to_valid_ones_and_valid_ones_are_left_alone(name: str, seed: int) -> None:
    space, rng = SPACES[name], np.random.default_rng(seed)
    repaired = space.repair(rng.integers(-128, 128, (50, len(space.genes))).astype(np.int8))
    assert space.is_valid(repaired).all()
    assert (space.repair(repaired) == repaired).all()


@settings(max_examples=30, deadline=None)
@given(spaces, seeds)
def test_architectures_survive_json(name: str, seed: int) -> None:
    space = SPACES[name]
    for row in space.sample(8, np.random.default_rng(seed)):
        data = space.to_json(row)
        assert (space.from_json(data) == row).all()
        assert {"r", "d", "ks", "e"} <= set(data)


@settings(max_examples=20, deadline=None)
@given(spaces, seeds)
def test_genes_beyond_a_stages_depth_do_not_matter_in_json(name: str, seed: int) -> None:
    space = SPACES[name]
    row = space.sample(1, np.random.default_rng(seed))[0]
    data = space.to_json(row)
    filled = data | {key: [value or 3 for value in data[key]] for key in ("ks", "e")}
    assert (space.from_json(filled) == row).all()


def test_restricted_spaces_sample_only_what_is_allowed() -> None:
    space = SPACES["lite0"].restrict(resolutions=[96, 128], s3_d=[2], s1_1_k=[5])
    rng = np.random.default_rng(0)
    rows = space.mutate(space.sample(500, rng), rng, 0.5)
    values = [space.to_json(row) for row in rows]
    assert {value["r"] for value in values} == {96, 128}
    assert {value["ks"][0] for value in values} == {5}
    assert set(depths(space.layout, rows)[:, 2]) == {2}
    assert space.size() < SPACES["lite0"].size()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"resolutions": [100]}, "r cannot be 100"),
        ({"resolutions": []}, "cannot be empty"),
        ({"s9_1_k": [3]}, "no gene 's9.1.k'"),
        ({"s1_d": [9]}, "s1.d cannot be 9"),
    ],
)
def test_a_restriction_that_the_space_does_not_have_is_told(change: dict[str, list[int]], message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        SPACES["lite0"].restrict(**change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"r": 100}, "r = 100 is not in space 'lite0'"),
        ({"ks": [3]}, "'ks' must be a list of 15"),
        ({"d": "many"}, "'d' must be a list of 5"),
        ({"d": [9, 1, 1, 1, 1]}, "stage 1 cannot have 9 blocks"),
        ({"e": [None] * 15}, "is not in space"),
        ({"r": True}, "is not in space"),
    ],
)
def test_an_architecture_of_another_space_is_told_with_the_gene(change: dict[str, object], message: str) -> None:
    space = SPACES["lite0"]
    data = space.to_json(space.largest()) | change
    with pytest.raises(ArchitectureError, match=message):
        space.from_json(data)


def test_once_for_alls_subnet_files_are_read() -> None:
    space = SPACES["ofa-mbv3-w1.0"]
    tutorial = {"wid": None, "ks": [7] * 20, "e": [6] * 20, "d": [4] * 5, "r": [224]}
    core = {"ks": [7] * 20, "e": [6] * 20, "d": [4] * 5, "image_size": 224}
    assert (space.from_json(tutorial) == space.largest()).all()
    assert (space.from_json(core) == space.largest()).all()
    # ProxylessNAS's last stage has one block, and a depth of its own all the same in files of the core code.
    proxyless = SearchSpace.named("ofa-proxyless-w1.3")
    for d in ([4] * 5, [4] * 6, [4, 4, 4, 4, 4, 2]):
        row = proxyless.from_json({"ks": [7] * 21, "e": [6] * 21, "d": d, "r": 224})
        assert (row == proxyless.largest()).all()


def test_the_same_seed_gives_the_same_population() -> None:
    space = SPACES["mcu"]
    first, second = (space.sample(100, np.random.default_rng(7)) for _ in range(2))
    assert (first == second).all()


def test_sampling_is_even_over_depths_and_choices() -> None:
    space = SPACES["lite0"]
    rows = space.sample(20_000, np.random.default_rng(0))
    for stage, column in zip(space.template.stages, space.depths(rows).T, strict=True):
        shares = np.bincount(column, minlength=stage.slots + 1)[1:] / len(rows)
        assert shares == pytest.approx(1 / stage.slots, abs=0.02)
    shares = np.bincount(rows[:, space.columns["r"]])[1:] / len(rows)
    assert shares == pytest.approx(1 / 7, abs=0.02)
