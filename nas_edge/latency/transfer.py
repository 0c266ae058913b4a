"""A table for another device: blocks of a known one carried over by whole networks measured on the new one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from nas_edge.latency.calibration import fit_calibration
from nas_edge.latency.carrying import Carrying, fit_carrying
from nas_edge.latency.lowering import network_blocks
from nas_edge.latency.plan import distinct_blocks, full_space
from nas_edge.latency.pricing import Pricer
from nas_edge.latency.table import BlockEntry, LatencyTable, NetworkEntry, TableHeader
from nas_edge.origin import OriginKind
from nas_edge.spaces import BlockSpec, Kind, SearchSpace

Floats = NDArray[np.float64]

FEWEST_NETWORKS = 3
"""Fewer only scale the known table."""


def transfer(
    table: LatencyTable | None, header: TableHeader, space: SearchSpace, networks: Sequence[NetworkEntry]
) -> LatencyTable:
    """A table for another device, all of whose blocks are `modelled`.

    Args:
        table: to start from; None starts from launches, MACs and bytes alone.
        header: of the new table; its `transfer` is filled in.
        space: that the networks are points of (or of a preset).
        networks: measured on the new device, kept in its table.

    """
    base = LatencyTable(replace(header, prior={}, transfer={}), {}) if table is None else table
    known = network_blocks(base, networks, space)
    if not known:
        return _scaled(base, header, networks, 1.0)
    lowered, measured = [blocks for blocks, _ in known], np.array([ms for _, ms in known])
    if len(known) < FEWEST_NETWORKS:
        pricer = Pricer(base)
        prices = pricer.price(block for blocks in lowered for block in blocks)
        ratios = [ms / sum(prices[b].ms for b in blocks) for blocks, ms in known]
        return _scaled(base, header, networks, float(np.median(ratios)))
    classes = networks[0].num_classes
    wanted = distinct_blocks(full_space(space), classes, precision=base.header.precision)
    blocks = list(dict.fromkeys([*base.blocks, *wanted, *(b for network in lowered for b in network)]))
    parts = known_parts(base, blocks)
    row_of = {block: i for i, block in enumerate(blocks)}
    used = list(dict.fromkeys(b for network in lowered for b in network))
    carrying = fit_carrying(lowered, measured, used, parts[[row_of[b] for b in used]])
    carried = carrying.block_ms(blocks, parts)
    entries = {
        replace(block, precision=header.precision): BlockEntry(float(ms), origin=OriginKind.MODELLED)
        for block, ms in zip(blocks, carried, strict=True)
    }
    sums = np.array([sum(float(carried[row_of[b]]) for b in network) for network in lowered])
    megabytes = np.array([sum(b.weight_bytes for b in network) / 2**20 for network in lowered])
    about = {
        "networks": len(known),
        "error_percent": round(100 * float(np.abs(carrying.left_out_ms / measured - 1).mean()), 2),
        "optimism": round(_optimism(carrying, sums, megabytes, measured), 3),
    }
    return LatencyTable(replace(header, transfer=about), entries, tuple(networks))


def known_parts(base: LatencyTable, blocks: Sequence[BlockSpec]) -> Floats:
    """What is known of blocks on the base's device, float64 [n, parts] in ms, none negative.

    The base's own prices and a launch for each layer; without any blocks launches, MACs (all, and of depthwise
    convolutions alone) and bytes, at round figures.
    """
    layers = np.array([2 + b.expands if b.kind is Kind.INVERTED_RESIDUAL else 1 for b in blocks], np.float64)
    if base.blocks:
        pricer = Pricer(base)
        prices = pricer.price(blocks)
        ms = np.array([prices[block].ms for block in blocks])
        return np.stack([ms, layers * float(np.median(ms / layers))], axis=1)
    macs = np.array([b.macs for b in blocks]) / 1e7
    depthwise = np.array([_depthwise_macs(b) for b in blocks]) / 1e6
    moved = np.array([b.height * b.width * (b.in_channels + b.mid_channels) for b in blocks]) / 1e6
    return np.stack([0.01 * layers, macs, depthwise, moved], axis=1)


def _depthwise_macs(block: BlockSpec) -> int:
    if block.kind is not Kind.INVERTED_RESIDUAL:
        return 0
    return block.out_height * block.out_width * block.mid_channels * block.kernel**2


def _optimism(carrying: Carrying, sums: Floats, megabytes: Floats, measured: Floats) -> float:
    """By how much a calibration's left-out ratios are too small: its blocks know the networks that it leaves out."""
    calibration = fit_calibration(sums, megabytes, measured, most_terms=1)
    if calibration is None:
        return 1.0
    honest, seen = np.abs(np.log(measured / carrying.left_out_ms)), np.abs(np.log(calibration.ratios))
    # One wild network makes squares alike while the rest are not.
    squares = float(np.sqrt(np.mean(honest**2) / max(np.mean(seen**2), 1e-8)))
    return max(1.0, squares, float(honest.mean() / max(seen.mean(), 1e-4)))


def _scaled(base: LatencyTable, header: TableHeader, networks: Sequence[NetworkEntry], scale: float) -> LatencyTable:
    """Offset and parameter term are left to the predictor's calibration on the same networks."""
    blocks = {
        replace(block, precision=header.precision): BlockEntry(entry.ms * scale, origin=OriginKind.MODELLED)
        for block, entry in base.blocks.items()
    }
    return LatencyTable(header, blocks, tuple(networks))
