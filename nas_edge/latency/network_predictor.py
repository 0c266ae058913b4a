"""`NetworkPredictor`: latency of any network that is given as a list of blocks, whatever space it is from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from nas_edge.errors import SpaceError
from nas_edge.latency.calibration import normal_quantile
from nas_edge.latency.interval import Costs, Floats, Interval
from nas_edge.latency.lowering import network_blocks, network_sides, only_of, summed
from nas_edge.latency.predictor import LatencyPrediction, check_confidence, with_blocks
from nas_edge.latency.pricing import Pricer
from nas_edge.latency.sides import Sides
from nas_edge.latency.spill import Spill
from nas_edge.latency.table import LatencyTable
from nas_edge.spaces import BlockSpec, Precision, SearchSpace


@dataclass(frozen=True)
class NetworkPredictor:
    """As `LatencyPredictor`, of explicit blocks: other widths, other resolutions, networks from elsewhere.

    Attributes:
        table: what it was made of.
        pricer: what blocks cost.
        interval_of: how sums become predictions.
        own: whether the networks to be priced are points of the space that the calibration is of.
        spill: what is added for weights that no cache holds, in networks larger than all that were measured.

    """

    table: LatencyTable
    pricer: Pricer
    interval_of: Interval
    own: bool = False
    spill: Spill = field(default_factory=Spill)

    @classmethod
    def of(
        cls, table: LatencyTable, space: SearchSpace | None = None, *, from_elsewhere: bool = False
    ) -> NetworkPredictor:
        """Build a predictor; its intervals are about the table's own sitting until `later` is called.

        Args:
            table: of the target.
            space: that the networks to be priced are points of, as far as they are of one.
            from_elsewhere: they are not: whole networks of every space count alike.

        """
        table = with_blocks(table, space)
        pricer = Pricer(table)
        networks = table.calibration_networks()
        known = network_blocks(table, networks, None if from_elsewhere else space)
        known = known or network_blocks(table, networks, space)
        if not known:
            return cls(table, pricer, Interval.assumed(table))
        costs = summed(pricer, [blocks for blocks, _ in known])
        pricer.missing.clear()
        own = space is not None and not from_elsewhere and only_of(table, space)
        sides = network_sides([blocks for blocks, _ in known]) if own else None
        measured = np.array([ms for _, ms in known])
        interval = Interval.calibrated(table.header, costs, measured, sides=sides)
        calibration = interval.calibration
        slope = calibration.ms_per_mb * float(calibration.coefficients[1]) if calibration else 0.0
        spill = Spill.of(table.header.device, costs.parameter_mb, slope)
        return cls(table, pricer, interval, own, spill)

    def predict(self, networks: Sequence[Sequence[BlockSpec]], confidence: float = 0.9) -> LatencyPrediction:
        """Latency of each network, whose blocks are taken to run at the table's precision.

        Args:
            networks: blocks of each, input to output; a part of a network does as well.
            confidence: as of `LatencyPredictor.predict`.

        Raises:
            SpaceError: a network without blocks.
            TableError: blocks are missing, and the table has too few to model them.
            ValueError: a confidence outside 0.5 to 1, 1 excluded.

        """
        check_confidence(confidence)
        if not all(len(blocks) for blocks in networks):
            raise SpaceError("a network needs at least one block")
        lowered = [in_precision(blocks, self.table.header.precision) for blocks in networks]
        costs = summed(self.pricer, lowered)
        inputs = network_sides(lowered) if self.own else None
        low, point, high = (self._bound(costs, confidence, side, inputs) for side in (-1, 0, 1))
        prices = self.pricer.price(())
        exact = [sum(prices[b].ms for b in blocks if prices[b].exact) for blocks in lowered]
        share = np.array(exact) / np.maximum(costs.sum_ms, 1e-12)
        return LatencyPrediction(point, low, high, share, confidence, self.interval_of.name)

    def _bound(self, costs: Costs, confidence: float, side: int, inputs: Sides | None) -> Floats:
        """The point (side 0), the upper (1) or the lower bound (-1), ms, float64 [n]."""
        work = self.interval_of.work(costs, confidence, side, inputs)
        spilt = self.spill.ms(costs.parameter_mb, side * normal_quantile(confidence))
        bound: Floats = self.interval_of.turned(work, confidence, side) + spilt
        return bound

    def later(self) -> NetworkPredictor:
        """The same for another sitting than the table's."""
        return replace(self, interval_of=self.interval_of.later(self.table.header))

    def describe(self) -> dict[str, Any]:
        """What predictions rest on, as plain data."""
        header, calibration = self.table.header, self.interval_of.calibration
        return {
            "table": header.describe(),
            "origin": header.origin.to_json(),
            "interval": self.interval_of.name,
            "networks": calibration.networks if calibration else 0,
            "missing_blocks": len(self.pricer.missing),
            "model": None if self.pricer.model is None else self.pricer.model.source,
            "transfer": dict(header.transfer),
            "sitting_log_error": self.interval_of.sitting_log_error,
        }


def in_precision(blocks: Iterable[BlockSpec], precision: Precision) -> tuple[BlockSpec, ...]:
    """The same blocks in another number format."""
    return tuple(block if block.precision is precision else replace(block, precision=precision) for block in blocks)
