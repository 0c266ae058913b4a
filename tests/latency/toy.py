"""A made-up device: block times by a formula, whole networks with a fixed cost and a cost of parameters."""

from __future__ import annotations

import numpy as np

from nas_edge.latency import BlockEntry, LatencyTable, NetworkEntry, TableHeader
from nas_edge.latency.plan import distinct_blocks, plan_networks
from nas_edge.origin import Origin, OriginKind
from nas_edge.spaces import BlockSpec, Precision, SearchSpace

OVERHEAD_MS, SHARE, MS_PER_MB = -0.05, 0.9, 0.02


def block_ms(block: BlockSpec) -> float:
    """Launches and MACs; depthwise 5x5 is dear."""
    depthwise = block.out_height * block.out_width * block.mid_channels * block.kernel**2
    dear = 0.5 * depthwise if block.kernel == 5 else 0.0
    return 0.004 + (block.macs + dear) / 20e6 + block.activation_bytes / 4e8


def network_ms(blocks: tuple[BlockSpec, ...]) -> float:
    """What a whole network takes on that device."""
    megabytes = sum(b.weight_bytes for b in blocks) / 2**20
    return OVERHEAD_MS + SHARE * sum(map(block_ms, blocks)) + MS_PER_MB * megabytes + 0.1


def make_table(
    space: SearchSpace,
    num_classes: int = 10,
    *,
    noise: float = 0.01,
    calibration: int = 12,
    holdout: int = 8,
    seed: int = 0,
) -> LatencyTable:
    """A table of that device with log-normal noise on every figure."""
    rng = np.random.default_rng(seed)
    blocks = {
        block: BlockEntry(block_ms(block) * float(np.exp(noise * rng.standard_normal())), count=100)
        for block in distinct_blocks(space, num_classes)
    }
    networks = []
    for planned in plan_networks(space, num_classes, calibration, holdout, seed) if calibration else ():
        ms = network_ms(space.lower(planned.arch, num_classes)) * float(np.exp(noise * rng.standard_normal()))
        arch = space.to_json(planned.arch)
        networks.append(
            NetworkEntry(planned.name, space.name, num_classes, arch, planned.role, ms, upper95_ms=1.01 * ms)
        )
    header = TableHeader(
        target="toy-board",
        runtime="toy",
        runtime_version="1.0",
        precision=Precision.FP32,
        origin=Origin(OriginKind.MEASURED, "toy-board #1", "2026-01-01"),
        protocol={"rounds": 5},
        device={"vendor": "toy", "class": "cpu"},
        space={"name": space.name, "num_classes": num_classes},
    )
    return LatencyTable(header, blocks, tuple(networks))
