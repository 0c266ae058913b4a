"""From priced blocks to a prediction with bounds: calibration, what is modelled, and the sitting.

Every bound is a rising function of a sum over blocks. Blocks that were modelled enter the upper bound at a higher
price and the lower at a lower one (their errors are taken to have one sign: nothing says that they cancel), the
calibration's jackknife+ turns the sum into a bound on the whole network, and a stated difference between sittings
widens that, if the prediction is about another one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from nas_edge.latency.calibration import Calibration, fit_calibration, normal_quantile
from nas_edge.latency.pricing import header_figure
from nas_edge.latency.sides import SideEffects, Sides, fit_sides
from nas_edge.latency.table import LatencyTable, TableHeader
from nas_edge.origin import OriginKind

Floats = NDArray[np.float64]

JACKKNIFE, ASSUMED = "jackknife+", "assumed"

ASSUMED_LOG_ERROR: Mapping[OriginKind, float] = {
    OriginKind.MEASURED: 0.12,
    OriginKind.MEASURED_EMULATED: 0.12,
    OriginKind.PUBLISHED: 0.20,
    OriginKind.MODELLED: 0.30,
}
"""Standard deviation of log(whole network / plain sum) where a table has no whole networks: a stated prior.

Plain sums measured beside whole networks were 3 to 11 % too high (ONNX Runtime, 224 and 32 px); two published tables
of one phone model differ by 0.25 a block. `modelled`: tables carried over from another device.
"""

ASSUMED_SITTING_LOG_ERROR = 0.05
"""Of tables that do not state their own: standard deviation of a network's log time in another sitting.

The same networks, timed hours apart on a shared virtual machine under this protocol, shifted by 2 to 9 % as a whole.
"""

ASSUMED_BESIDE_REFERENCE = 0.015
"""The same where times are brought to one quiet value of a reference kernel: nine pairs of such sittings, of 40 to 120
networks each, minutes to hours apart on that machine, idle and busy, differed by 0.4 to 2.5 % (1.5 % root mean square)
beyond what networks of one sitting differ by themselves: see `drift`.
"""


def assumed_sitting_log_error(header: TableHeader | None) -> float:
    """Of a table that does not state its own."""
    beside = header is not None and header.reference_kernel and header.reference_quiet_ms
    return ASSUMED_BESIDE_REFERENCE if beside else ASSUMED_SITTING_LOG_ERROR


@dataclass(frozen=True)
class Costs:
    """What entries (blocks, or parts of a network) cost.

    Attributes:
        sum_ms: float64 [n].
        doubt_ms: float64 [n], modelled part times the log error of the model.
        parameter_mb: float64 [n], in units of 2^20 bytes.

    """

    sum_ms: Floats
    doubt_ms: Floats
    parameter_mb: Floats


@dataclass(frozen=True)
class Interval:
    """How sums become predictions.

    Attributes:
        calibration: on whole networks; None without.
        calibrated_doubt: mean doubt (as a share) of the networks of the calibration, which its residuals hold already.
        assumed_log_error: where there is no calibration.
        sitting_log_error: 0 for a prediction about the table's own sitting.
        effects: of input sides, on networks of the calibration's space.

    """

    calibration: Calibration | None
    calibrated_doubt: float
    assumed_log_error: float
    sitting_log_error: float = 0.0
    effects: SideEffects = field(default_factory=SideEffects)

    @classmethod
    def assumed(cls, table: LatencyTable) -> Interval:
        """Without whole networks: the stated prior for the origin of the table's blocks."""
        # A prior that was fitted to whole networks has their error in the doubt about its blocks.
        fitted = bool(table.header.prior) and not table.blocks
        usual = ASSUMED_LOG_ERROR[table.header.origin.kind]
        return cls(None, 0.0, 0.0 if fitted else header_figure(table.header.assumed, "log_error", usual))

    @classmethod
    def calibrated(
        cls,
        header: TableHeader,
        costs: Costs,
        measured_ms: Floats,
        weights: Floats | None = None,
        sides: Sides | None = None,
    ) -> Interval:
        """With whole networks: their summed costs, measured ms and weights, float64 [m], m at least 1.

        Args:
            header: of the table.
            costs: of the networks.
            measured_ms: of the networks.
            weights: how much each counts; all alike by default.
            sides: int64 [m], their inputs in pixels, where all are of the space that is predicted.

        """
        optimism = header_figure(header.transfer, "optimism", 1.0)
        # Blocks that were carried over by these very networks have all but their level from them already.
        carried = "optimism" in header.transfer
        terms = 1 if carried else 3
        effects = SideEffects()
        first = fit_calibration(costs.sum_ms, costs.parameter_mb, measured_ms, weights, optimism, terms)
        if sides is not None and first is not None and not carried:
            logs = np.log(measured_ms / first.point(first.work(costs.sum_ms, costs.parameter_mb)))
            effects = fit_sides(sides, logs, np.ones(len(logs)) if weights is None else weights)
        if not effects.logs:
            return cls(first, float((costs.doubt_ms / costs.sum_ms).mean()), 0.0)
        assert sides is not None
        sums = costs.sum_ms * effects.factors(sides)
        second = fit_calibration(sums, costs.parameter_mb, measured_ms, weights, optimism * effects.optimism, terms)
        return cls(second, float((costs.doubt_ms / costs.sum_ms).mean()), 0.0, effects=effects)

    def later(self, header: TableHeader) -> Interval:
        """For a prediction about another sitting than the table's; see `TableHeader.sittings`."""
        if self.calibration is None:
            return self  # what is assumed of other tables was found in other sittings
        assumed = assumed_sitting_log_error(header)
        return replace(self, sitting_log_error=header_figure(header.sittings, "log_error", assumed))

    @property
    def name(self) -> str:
        """`jackknife+` or `assumed`."""
        return ASSUMED if self.calibration is None else JACKKNIFE

    def work(self, costs: Costs, confidence: float, side: int, inputs: Sides | None = None) -> Floats:
        """What has to be summed over entries for the point (side 0), the upper (1) or the lower bound (-1).

        `inputs`: int64 [n], input side in pixels of the network that each entry is of, None where nothing is known of
        it.
        """
        sums = costs.sum_ms if inputs is None else costs.sum_ms * self.effects.factors(inputs)
        if side and confidence > 0.5:
            doubt = costs.doubt_ms / np.maximum(costs.sum_ms, 1e-12)
            error = np.maximum(doubt - self.calibrated_doubt, 0.0)
            if self.calibration is None:
                error = np.hypot(error, self.assumed_log_error)
            sums = sums * np.exp(side * normal_quantile(confidence) * error)
        return sums if self.calibration is None else self.calibration.work(sums, costs.parameter_mb)

    def turned(self, work_ms: Floats, confidence: float, side: int) -> Floats:
        """A sum of `work` as ms, float64 [n]: nowhere falling."""
        if self.calibration is None:
            return work_ms
        if not side or confidence == 0.5:
            return self.calibration.point(work_ms)
        low, high = self.calibration.bound(work_ms, confidence)
        point = self.calibration.point(work_ms)
        found = np.maximum(high, point) if side > 0 else np.minimum(low, point)
        if self.sitting_log_error:
            inner = self.calibration.half_width(confidence)
            found = found * math.exp(side * (self._outer(inner, confidence) - inner))
        return found

    def _outer(self, inner: float, confidence: float) -> float:
        """Errors within a sitting and between sittings are independent: their half widths add in quadrature."""
        return math.hypot(inner, normal_quantile(confidence) * self.sitting_log_error)
