"""The precision of the whole network as a gene, and genes that are held."""

from __future__ import annotations

import numpy as np
import pytest

from nas_edge.errors import ArchitectureError, SpaceError, UnknownNameError
from nas_edge.spaces import Precision, SearchSpace
from nas_edge.spaces.fixing import fixed

BOTH = (Precision.FP32, Precision.INT8)


@pytest.fixture(scope="module")
def mixed(tiny_space):
    return tiny_space.with_precisions(BOTH)


def test_the_gene_doubles_the_space_and_comes_first(mixed, tiny_space):
    assert mixed.size() == 2 * tiny_space.size()
    assert mixed.genes[0].name == "p"
    rows = mixed.enumerate()
    assert len(np.unique(rows, axis=0)) == mixed.size()
    assert np.array_equal(np.unique(mixed.of_base(rows), axis=0), np.unique(tiny_space.enumerate(), axis=0))
    assert mixed.base == tiny_space


def test_json_goes_there_and_back(mixed):
    for row in mixed.sample(20, np.random.default_rng(0)):
        data = mixed.to_json(row)
        assert data["p"] in ("fp32", "int8")
        assert np.array_equal(mixed.from_json(data), row)
    with pytest.raises(ArchitectureError, match="p = 'fp64' is not in space"):
        mixed.from_json({**data, "p": "fp64"})


def test_a_row_lowers_to_blocks_of_its_own_precision(mixed, tiny_space):
    for row in mixed.sample(10, np.random.default_rng(1)):
        blocks = mixed.lower(row, 4)
        assert {block.precision for block in blocks} == {mixed.precision_of(row)}
        assert blocks == tiny_space.lower(row[1:], 4, mixed.precision_of(row))


def test_macs_and_parameters_do_not_depend_on_it(mixed, tiny_space):
    rows = mixed.sample(30, np.random.default_rng(2))
    assert np.array_equal(mixed.macs(rows, 4), tiny_space.macs(rows[:, 1:], 4))
    assert np.array_equal(mixed.params(rows, 4), tiny_space.params(rows[:, 1:], 4))


def test_variation_keeps_rows_valid(mixed):
    rng = np.random.default_rng(3)
    rows = mixed.sample(200, rng)
    assert mixed.is_valid(mixed.mutate(rows, rng, 0.3)).all()
    assert mixed.is_valid(mixed.crossover(rows, rows[::-1], rng)).all()
    assert set(np.unique(rows[:, 0])) == {1, 2}


def test_genes_are_held_by_name_by_stage_and_everywhere(mixed):
    space = SearchSpace.named("ofa-mbv3-w1.2")
    rows = fixed(space, ["r=160,176", "s2.d=3", "k=3", "s1.1.e=6"]).sample(300, np.random.default_rng(0))
    archs = [space.to_json(row) for row in rows]
    assert {arch["r"] for arch in archs} == {160, 176}
    assert {arch["d"][1] for arch in archs} == {3}
    assert {k for arch in archs for k in arch["ks"]} == {0, 3}
    assert {arch["e"][0] for arch in archs} == {6}
    held = fixed(mixed, ["p=int8"])
    assert {held.to_json(row)["p"] for row in held.sample(20, np.random.default_rng(0))} == {"int8"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("r", "write it like r=160"),
        ("r=", "write it like"),
        ("r=abc", "'abc' is not a number"),
        ("r=100", "r cannot be 100; it can be 32, 48"),
        ("q=3", "has no gene 'q'"),
        ("k=9", "no stage of space .* has such a kernel"),
    ],
)
def test_what_cannot_be_held_is_said(tiny_space, text, message):
    with pytest.raises(SpaceError, match=message):
        fixed(tiny_space, [text])


def test_an_unknown_precision_is_told_with_the_known_ones(mixed):
    with pytest.raises(UnknownNameError, match="int8"):
        fixed(mixed, ["p=int9"])
