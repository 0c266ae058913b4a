"""Lowering, terms, MACs and parameters: against each other, against formulas, against the original networks."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas_edge.spaces import BlockSpec, Kind, Precision, SearchSpace, preset, preset_names

SPACES = {name: SearchSpace(preset(name)) for name in preset_names()}


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(sorted(SPACES)), st.integers(0, 2**32 - 1), st.sampled_from([2, 6, 1000]))
def test_a_population_priced_by_terms_costs_what_its_blocks_cost(name: str, seed: int, classes: int) -> None:
    space = SPACES[name]
    rows = space.sample(5, np.random.default_rng(seed))
    lowered = [space.lower(row, classes) for row in rows]
    assert (space.macs(rows, classes) == [sum(block.macs for block in blocks) for blocks in lowered]).all()
    assert (space.params(rows, classes) == [sum(block.params for block in blocks) for blocks in lowered]).all()
    peaks = space.costs(lambda block: block.activation_bytes, classes)
    # An entry of two blocks costs their sum, so the maximum over terms is at least that over blocks.
    assert (peaks.max(rows) >= [max(block.activation_bytes for block in blocks) for blocks in lowered]).all()


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(sorted(SPACES)), st.integers(0, 2**32 - 1))
def test_lowered_blocks_chain_from_image_to_classes(name: str, seed: int) -> None:
    space = SPACES[name]
    row = space.sample(1, np.random.default_rng(seed))[0]
    blocks = space.lower(row, 10)
    assert (blocks[0].kind, blocks[0].height, blocks[0].in_channels) == (Kind.STEM, space.to_json(row)["r"], 3)
    assert (blocks[-1].kind, blocks[-1].out_channels) == (Kind.LINEAR, 10)
    for before, after in itertools.pairwise(blocks):
        assert (before.out_channels, before.out_height) == (after.in_channels, after.height)
        assert not after.residual or (after.stride == 1 and after.in_channels == after.out_channels)


def test_disallowed_resolutions_lower_to_no_blocks() -> None:
    space = SPACES["lite0"].restrict(resolutions=[96])
    heights = {block.height for blocks in space.terms(6)[0].blocks for block in blocks if block.kind is Kind.STEM}
    assert heights == {96}


def test_precision_reaches_every_block_and_halves_bytes() -> None:
    space = SPACES["lite0"]
    full, half = (space.lower(space.largest(), 6, p) for p in (Precision.FP32, Precision.FP16))
    assert {block.precision for block in half} == {Precision.FP16}
    assert sum(b.weight_bytes for b in full) == 2 * sum(b.weight_bytes for b in half)
    assert sum(b.macs for b in full) == sum(b.macs for b in half)


def test_largest_costs_most_and_smallest_least() -> None:
    rng = np.random.default_rng(0)
    for space in SPACES.values():
        macs = space.macs(space.sample(200, rng), 10)
        ends = space.macs(np.stack([space.smallest(), space.largest()]), 10)
        assert ends[0] <= macs.min() <= macs.max() <= ends[1]


@pytest.mark.parametrize(("name", "params"), [("ofa-mbv3-w1.0", 7_678_880), ("ofa-mbv3-w1.2", 10_715_752)])
def test_the_largest_subnets_have_the_published_number_of_parameters(name: str, params: int) -> None:
    space = SPACES[name]
    # The published supernets also hold a 25 x 25 and a 9 x 9 kernel transform a block.
    assert space.params(space.largest()[None], 1000)[0] + 20 * (25**2 + 9**2) == params


@pytest.mark.parametrize("name", ["ofa-mbv3-w1.0", "ofa-mbv3-w1.2", "ofa-proxyless-w1.3"])
def test_extracted_subnets_have_as_many_parameters_as_the_original_code_counts(name: str, shared_dir: Path) -> None:
    reference = json.loads((shared_dir / "data/ofa/reference_outputs.json").read_text())[name]
    space = SPACES[name]
    # The original networks ran at any resolution; parameters do not depend on it.
    side = space.resolutions[0]
    for case in reference["cases"]:
        depth = [d for d, stage in zip(case["d"], space.template.stages, strict=False) if len(stage.depths) > 1]
        row = space.from_json({"r": side, "d": depth, "ks": case["ks"], "e": case["e"]})
        assert space.params(row[None], 1000)[0] == case["params"]


def test_lite0_at_full_size_is_efficientnet_lite0() -> None:
    space = SPACES["lite0"]
    kernels = [3, 3, 5, 5, 3, 3, 3, 5, 5, 5, 5, 5, 5, 5, 3]
    row = space.from_json({"r": 160, "d": [2, 2, 3, 3, 4], "ks": kernels, "e": [6] * 15})
    # 4.65 M in the paper's table; exactly, of the published checkpoint without running statistics
    assert space.params(row[None], 1000)[0] == 4_652_008


def test_macs_and_parameters_of_one_block_are_those_counted_by_hand() -> None:
    block = BlockSpec(Kind.INVERTED_RESIDUAL, 14, 14, 24, 96, 40, 5, 2, 96, se=True)
    assert block.macs == 14 * 14 * 24 * 96 + 7 * 7 * 96 * 25 + 2 * 96 * 24 + 7 * 7 * 96 * 40
    assert block.params == 24 * 96 + 192 + 25 * 96 + 192 + (2 * 96 * 24 + 24 + 96) + 96 * 40 + 80
    assert (block.out_height, block.out_width, block.se_channels) == (7, 7, 24)


def test_blocks_survive_a_row_of_text() -> None:
    for space in SPACES.values():
        for block in space.lower(space.largest(), 10):
            assert BlockSpec.from_row(block.to_row()) == block
