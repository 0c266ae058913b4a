"""Whole networks as lists of blocks, and what their blocks sum to."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nas_edge.errors import ArchitectureError
from nas_edge.latency.interval import Costs
from nas_edge.latency.pricing import Pricer
from nas_edge.latency.table import LatencyTable, NetworkEntry
from nas_edge.spaces import BlockSpec, SearchSpace, Term, preset_names

NetworkBlocks = tuple[tuple[BlockSpec, ...], float]
"""Blocks and measured ms."""

_ENOUGH_OWN_NETWORKS = 3


def summed(pricer: Pricer, networks: Sequence[Sequence[BlockSpec]]) -> Costs:
    """Costs of whole networks, each a list of blocks. Raises TableError as `Pricer.price`."""
    prices = pricer.price(block for blocks in networks for block in blocks)
    return Costs(
        np.array([sum(prices[b].ms for b in blocks) for blocks in networks]),
        np.array([sum(prices[b].doubt_ms for b in blocks) for blocks in networks]),
        np.array([sum(b.weight_bytes for b in blocks) / 2**20 for blocks in networks]),
    )


def only_of(table: LatencyTable, space: SearchSpace) -> bool:
    """Whether `network_blocks` gives networks of this space alone."""
    return sum(network.space == space.name for network in table.calibration_networks()) >= _ENOUGH_OWN_NETWORKS


def network_sides(networks: Sequence[Sequence[BlockSpec]]) -> NDArray[np.int64]:
    """Height of each network's input in pixels, int64 [n]."""
    return np.array([blocks[0].height for blocks in networks], np.int64)


def input_sides(space: SearchSpace, terms: Sequence[Term]) -> NDArray[np.int64]:
    """For each entry of the terms the input in pixels of the networks that have it, int64; 0 where any may."""
    column, found = space.columns["r"], []
    for term in terms:
        values = np.zeros(term.shape, np.int64)
        if column in term.columns:
            axis = term.columns.index(column)
            sides = np.array([0, *space.template.resolutions], np.int64)
            values += sides.reshape([-1 if i == axis else 1 for i in range(len(term.shape))])
        found.append(values.reshape(-1))
    return np.concatenate(found)


def network_blocks(
    table: LatencyTable, networks: Sequence[NetworkEntry], about: SearchSpace | None = None
) -> list[NetworkBlocks]:
    """Blocks and ms of whole networks of a table.

    Args:
        table: whose precision the blocks get.
        networks: some of its networks; those of spaces that are neither `about` nor a preset are left out.
        about: of this space alone, where it has three networks or more; None takes all.

    """
    mine: list[NetworkBlocks] = []
    others: list[NetworkBlocks] = []
    for network in networks:
        own = about is not None and network.space == about.name
        if not own and network.space not in preset_names():
            continue
        space = about if own and about is not None else SearchSpace.named(network.space)
        try:
            row = space.from_json(network.arch)
        except ArchitectureError:
            continue  # a space of this name with other resolutions or depths: not one of its points
        blocks = space.lower(row, network.num_classes, table.header.precision)
        (mine if own else others).append((blocks, network.ms))
    return mine if len(mine) >= _ENOUGH_OWN_NETWORKS else mine + others
