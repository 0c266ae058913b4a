"""Is a table any good? Coverage, error on hold-out networks, odd and foreign entries: the gate for shared tables."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas_edge.errors import ArchitectureError
from nas_edge.latency.parametric import fit_parametric
from nas_edge.latency.plan import distinct_blocks
from nas_edge.latency.predictor import LatencyPredictor
from nas_edge.latency.pricing import header_figure
from nas_edge.latency.suspicious import (
    UNIT_FACTOR,
    Contaminated,
    Monotony,
    contaminated,
    describe_block,
    equal_figures,
    monotony,
)
from nas_edge.latency.table import NOT_STATED, LatencyTable, canonical
from nas_edge.origin import OriginKind
from nas_edge.spaces import BlockSpec, SearchSpace

_ODD_SIGMAS, _ODD_LEAST = 5.0, math.log(2.0)
_CONTRADICTION = 1.25
_LEAST_COVERAGE = 0.5
_MOST_FOREIGN = 0.01  # a row or two that somebody copied spoil no table; they are listed
MOST_CARRIED_PERCENT = 30.0
"""Error of a transfer, on networks left out, above which it was made of other figures than those of that device."""


@dataclass(frozen=True)
class HoldoutError:
    """Predicted against measured on networks that no fit has seen.

    Attributes:
        networks: how many.
        mape_percent: mean absolute error of the point estimate.
        worst_percent: greatest absolute error.
        bias_percent: mean signed error, positive where predictions are too high.
        spearman: rank correlation.
        below_high: share measured at or below the bound of `confidence`.
        confidence: of that bound.

    """

    networks: int
    mape_percent: float
    worst_percent: float
    bias_percent: float
    spearman: float
    below_high: float
    confidence: float

    def to_json(self) -> dict[str, Any]:
        """As plain data, rounded for people."""
        return {
            "networks": self.networks,
            "mape_percent": round(self.mape_percent, 2),
            "worst_percent": round(self.worst_percent, 2),
            "bias_percent": round(self.bias_percent, 2),
            "spearman": round(self.spearman, 4),
            "below_high": round(self.below_high, 3),
            "confidence": self.confidence,
        }


@dataclass(frozen=True)
class TableReport:
    """What `check_table` found.

    Attributes:
        blocks, calibration_networks, holdout_networks: in the table.
        space: that coverage is about, "" for none.
        needed: distinct blocks of that space.
        missing: those that the table lacks.
        holdout: error on the hold-out networks, None without.
        odd: entries far from what their like take, and groups with equal figures, in words.
        foreign: entries that seem to be another table's.
        kernels, widths: whether blocks take the longer the larger their kernel, the more their middle channels.
        problems: what makes the table unfit to be shared.

    """

    blocks: int
    calibration_networks: int
    holdout_networks: int
    space: str
    needed: int
    missing: tuple[BlockSpec, ...]
    holdout: HoldoutError | None
    odd: tuple[str, ...]
    problems: tuple[str, ...]
    foreign: tuple[Contaminated, ...]
    kernels: Monotony
    widths: Monotony

    @property
    def ok(self) -> bool:
        """Whether nothing stands against using the table."""
        return not self.problems

    @property
    def coverage(self) -> float:
        """Share of the space's blocks that the table has, 1 without a space."""
        return 1.0 - len(self.missing) / self.needed if self.needed else 1.0

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "ok": self.ok,
            "blocks": self.blocks,
            "calibration_networks": self.calibration_networks,
            "holdout_networks": self.holdout_networks,
            "space": self.space,
            "coverage": round(self.coverage, 4),
            "missing_blocks": len(self.missing),
            "holdout": None if self.holdout is None else self.holdout.to_json(),
            "odd": list(self.odd),
            "contaminated": [row.describe() for row in self.foreign],
            "kernel_groups": {"groups": self.kernels.groups, "falling": self.kernels.falling},
            "width_groups": {"groups": self.widths.groups, "falling": self.widths.falling},
            "problems": list(self.problems),
        }


def check_table(
    table: LatencyTable,
    space: SearchSpace | None = None,
    num_classes: int = 0,
    *,
    worst_mape_percent: float = 10.0,
    known: Mapping[str, LatencyTable] | None = None,
) -> TableReport:
    """Check a table that was read (its figures are then positive and finite already).

    Args:
        table: to be checked.
        space: also checks coverage of this space, and the error on hold-out networks of it.
        num_classes: of the classifier, with `space`.
        worst_mape_percent: of the hold-out networks, above which the table is unfit.
        known: other tables by name, whose figures this one should not hold.

    """
    missing: tuple[BlockSpec, ...] = ()
    needed, holdout = 0, None
    problems = _contradictions(table)
    if space is not None:
        wanted = distinct_blocks(space, num_classes, precision=table.header.precision)
        needed = len(wanted)
        missing = tuple(block for block in wanted if table.find(block) is None)
        if len(missing) > (1 - _LEAST_COVERAGE) * needed:
            problems.append(f"lacks {len(missing)} of the {needed} blocks of space {space.name!r}")
        holdout = holdout_error(table, space, num_classes)
        if holdout is not None and holdout.mape_percent > worst_mape_percent:
            problems.append(f"hold-out networks are mispredicted by {holdout.mape_percent:.1f} % on average")
    carried = header_figure(table.header.transfer, "error_percent", 0.0)
    if carried > MOST_CARRIED_PERCENT:
        problems.append(f"was carried over by networks that it mispredicts by {carried:.0f} % on average")
    named = [source.name != NOT_STATED for source in table.header.sources]
    if not all(named) or (table.header.origin.kind is OriginKind.PUBLISHED and not named):
        problems.append("says nowhere whose figures it holds: import it with --source TEXT and --licence TEXT")
    far = _odd(table)
    if wild := [block for block, factor in far if not 1 / UNIT_FACTOR < factor < UNIT_FACTOR]:
        problems.append(f"{len(wild)} entries are hundreds of times off their like: are units mixed?")
    foreign = contaminated(table, known)
    if len(foreign) > _MOST_FOREIGN * len(table.blocks):
        problems.append(f"{len(foreign)} entries seem to be another table's; the first: {foreign[0].describe()}")
    equal = tuple(
        f"{describe_block(group[0])} and {len(group) - 1} more take {table.blocks[group[0]].ms:.6g} ms to every digit"
        for group in equal_figures(table)
    )
    return TableReport(
        len(table.blocks), len(table.calibration_networks()), len(table.holdout_networks()),
        space.name if space else "", needed, missing, holdout, (*_in_words(table, far), *equal), tuple(problems),
        foreign, monotony(table), monotony(table, "mid_channels"),
    )  # fmt: skip


def holdout_error(
    table: LatencyTable, space: SearchSpace, num_classes: int, confidence: float = 0.9
) -> HoldoutError | None:
    """Error on the table's hold-out networks of a space; None where there are fewer than two."""
    rows, measured = [], []
    for network in table.holdout_networks():
        if network.space == space.name and network.num_classes == num_classes:
            try:
                rows.append(space.from_json(network.arch))
            except ArchitectureError:
                continue
            measured.append(network.ms)
    if len(rows) < 2:
        return None
    prediction = LatencyPredictor.of(table, space, num_classes).predict(np.stack(rows), confidence)
    ms = np.array(measured)
    error = 100 * (prediction.point / ms - 1)
    return HoldoutError(
        len(ms), float(np.abs(error).mean()), float(np.abs(error).max()), float(error.mean()),
        spearman(prediction.point, ms), float((ms <= prediction.high).mean()), confidence,
    )  # fmt: skip


def spearman(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Spearman's rank correlation of two float64 [n], ties given their mean rank; NaN where one is constant."""
    ranks = [_ranks(values) for values in (a, b)]
    centred = [r - r.mean() for r in ranks]
    norm = math.sqrt(float((centred[0] ** 2).sum() * (centred[1] ** 2).sum()))
    return float((centred[0] * centred[1]).sum()) / norm if norm else math.nan


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    mean_rank: NDArray[np.float64] = (last - (counts - 1) / 2.0)[inverse]
    return mean_rank


def _contradictions(table: LatencyTable) -> list[str]:
    """Rows that compute the same and differ."""
    seen: dict[BlockSpec, tuple[BlockSpec, float]] = {}
    found = []
    for block, entry in table.blocks.items():
        other, ms = seen.setdefault(canonical(block), (block, entry.ms))
        if max(ms, entry.ms) > _CONTRADICTION * min(ms, entry.ms):
            found.append(f"{describe_block(block)} is there twice ({other.padding}, {block.padding}) and differs")
    return found


def _odd(table: LatencyTable) -> list[tuple[BlockSpec, float]]:
    """Entries that take far longer or shorter than a model of their like says, and by which factor."""
    model = fit_parametric({block: entry.ms for block, entry in table.blocks.items()})
    if model is None:
        return []
    blocks = list(table.blocks)
    logs = np.log(np.array([table.blocks[b].ms for b in blocks]) / model.predict(blocks))
    found = []
    for block, log in zip(blocks, logs, strict=True):
        if abs(log) > max(_ODD_SIGMAS * model.log_error(block.kind), _ODD_LEAST):
            found.append((block, math.exp(log)))
    return found


def _in_words(table: LatencyTable, odd: list[tuple[BlockSpec, float]]) -> list[str]:
    return [
        f"{describe_block(block)}: {table.blocks[block].ms:.4g} ms, {factor:.1f} times the model"
        for block, factor in odd
    ]
