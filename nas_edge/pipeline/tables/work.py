"""What is timed for a table: the distinct blocks of its spaces, whole networks, and blocks of an earlier sitting."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nas_edge.latency.plan import distinct_blocks, plan_networks
from nas_edge.latency.probes import probe_blocks
from nas_edge.latency.table import LatencyTable, Role
from nas_edge.progress import Progress
from nas_edge.spaces import BlockSpec, Precision, SearchSpace

if TYPE_CHECKING:
    from nas_edge.profiling import WorkItem

ANCHORS = 24
"""Blocks of the earlier sitting that are timed again: their median ratio is the drift."""


@dataclass(frozen=True, eq=False)
class NetworkWork:
    """A whole network to be timed.

    Attributes:
        name: "lite0-calibration-07".
        space, num_classes, arch: the network; `arch` int8 [genes].
        precision: that it is built in.
        role: calibration or holdout.

    """

    name: str
    space: SearchSpace
    num_classes: int
    arch: NDArray[np.int8]
    precision: Precision
    role: Role


@dataclass(frozen=True, eq=False)
class WorkPlan:
    """Everything that is timed in one sitting.

    Attributes:
        blocks: by name of the work item.
        networks: whole ones.

    """

    blocks: Mapping[str, BlockSpec]
    networks: tuple[NetworkWork, ...]

    def items(self, seed: int, progress: Progress) -> Iterator[WorkItem]:
        """Work items with seeded weights, one at a time: models are built while one looks."""
        from nas_edge.pipeline.seeded import seeded_block, seeded_network
        from nas_edge.profiling import WorkItem

        total = len(self.blocks) + len(self.networks)
        text = f"building {len(self.blocks)} blocks and {len(self.networks)} networks"
        for number, (name, block) in enumerate(self.blocks.items()):
            progress(number, total, text)
            yield WorkItem(name, seeded_block(block, seed))
        for number, work in enumerate(self.networks, len(self.blocks)):
            progress(number, total, text)
            specs = work.space.lower(work.arch, work.num_classes, work.precision)
            yield WorkItem(work.name, seeded_network(specs, seed))


def plan_work(
    spaces: Sequence[tuple[SearchSpace, int]],
    precision: Precision,
    calibration: int,
    holdout: int,
    seed: int,
    earlier: LatencyTable | None = None,
    probes: int = 0,
) -> WorkPlan:
    """Blocks of all spaces, each once, `probes` blocks beyond them, and `calibration` and `holdout` networks of each.

    With an `earlier` table its blocks are left out, but for some from the quickest to the slowest, as anchors, and
    names of its networks are not used again.
    """
    blocks = dict.fromkeys(
        block for space, classes in spaces for block in distinct_blocks(space, classes, precision=precision)
    )
    blocks |= dict.fromkeys(probe_blocks(tuple(blocks), probes, precision)) if probes else {}
    taken: set[str] = set()
    if earlier is not None:
        taken = {network.name for network in earlier.networks}
        blocks = {block: None for block in blocks if earlier.find(block) is None} | dict.fromkeys(_anchors(earlier))
    networks = [
        NetworkWork(_free(f"{space.name}-{p.name}", taken), space, classes, p.arch, precision, p.role)
        for space, classes in spaces
        for p in plan_networks(space, classes, calibration, holdout, seed + len(taken))
    ]
    return WorkPlan({f"block-{number:04d}": block for number, block in enumerate(blocks)}, tuple(networks))


def _anchors(table: LatencyTable) -> list[BlockSpec]:
    ordered = sorted(table.blocks, key=lambda block: table.blocks[block].ms)
    steps = np.linspace(0, len(ordered) - 1, min(ANCHORS, len(ordered))).round().astype(int)
    return [ordered[step] for step in steps]


def _free(name: str, taken: set[str]) -> str:
    candidate, number = name, 2
    while candidate in taken:
        candidate, number = f"{name}-{number}", number + 1
    taken.add(candidate)
    return candidate
