"""Blocks beyond a table's spaces: they are others, far apart, and make a model of other networks better."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from nas_edge.latency import BlockEntry
from nas_edge.latency.block_model import fit_block_model
from nas_edge.latency.plan import distinct_blocks
from nas_edge.latency.probes import probe_blocks
from nas_edge.spaces import BlockSpec, Kind, Precision, SearchSpace

from .toy import block_ms

LITE0 = SearchSpace.named("lite0")
MEASURED = distinct_blocks(LITE0, 6)


def true_ms(block: BlockSpec) -> float:
    """The toy device, but channels that fill no vector are done one by one, and large activations leave a cache."""
    outside = block.out_height * block.out_width
    rest = block.mid_channels % 16 if block.kind is Kind.INVERTED_RESIDUAL else 0
    beyond = max(0, 4 * block.height * block.width * block.mid_channels - 2**21)
    return block_ms(block) + outside * rest * block.kernel**2 / 2e6 + beyond / 4e6


def test_probes_are_other_blocks_of_other_widths_and_sides() -> None:
    probes = probe_blocks(MEASURED, 60, Precision.INT8)
    assert len(set(probes)) == 60
    assert {block.precision for block in probes} == {Precision.INT8}
    fp32 = [replace(block, precision=Precision.FP32) for block in probes]
    assert not set(fp32) & set(MEASURED)
    sides = [max(b.height for b in of if b.kind is Kind.INVERTED_RESIDUAL) for of in (MEASURED, probes)]
    assert sides[1] > sides[0]
    assert {b.in_channels for b in probes} - {b.in_channels for b in MEASURED}
    assert any(b.se for b in probes)
    assert not any(b.se for b in MEASURED)


def test_the_same_seed_draws_the_same_probes_and_more_of_them_begin_alike() -> None:
    assert probe_blocks(MEASURED, 30) == probe_blocks(MEASURED, 50)[:30]
    assert probe_blocks(MEASURED, 30, seed=1) != probe_blocks(MEASURED, 30)
    assert probe_blocks(MEASURED, 0) == ()


def test_what_no_block_of_the_space_shows_is_learned_from_probes() -> None:
    template = replace(LITE0.template, widths=(0.7, 1.3), resolutions=(88, 232))
    others = list(distinct_blocks(SearchSpace(template), 6))[::5]
    truth = np.array([true_ms(block) for block in others])
    errors = []
    measured = distinct_blocks(LITE0, 6, [64])
    for count in (0, 120):
        known = [*measured, *probe_blocks(measured, count)]
        model = fit_block_model({block: BlockEntry(true_ms(block)).ms for block in known})
        assert model is not None
        errors.append(float(np.abs(model.predict(others)[0] / truth - 1).mean()))
    assert errors[1] < 0.03
    assert errors[1] < 0.8 * errors[0]
