"""`LatencyPredictor`: latency of a whole population from a table, with an interval and what it rests on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas_edge.errors import TableError
from nas_edge.latency.block_model import BlockModel
from nas_edge.latency.interval import ASSUMED, ASSUMED_LOG_ERROR, JACKKNIFE, Costs, Interval
from nas_edge.latency.lowering import input_sides, network_blocks, network_sides, only_of, summed
from nas_edge.latency.plan import full_space
from nas_edge.latency.pricing import Pricer
from nas_edge.latency.table import LatencyTable
from nas_edge.latency.transfer import FEWEST_NETWORKS, transfer
from nas_edge.spaces import BlockSpec, Population, SearchSpace, Term, TermCosts, TermIndex

__all__ = ["ASSUMED", "ASSUMED_LOG_ERROR", "JACKKNIFE", "LatencyPrediction", "LatencyPredictor"]

Floats = NDArray[np.float64]

_CHUNK = 1 << 13  # what is gathered for so many architectures stays in the cache
_NO_DRIFT = 0.1  # (1.5 % / 5 %)^2: error of one prediction over the usual drift between sittings


@dataclass(frozen=True)
class LatencyPrediction:
    """Predicted latencies of a population.

    Attributes:
        point: ms, float64 [n]: as likely too low as too high.
        low: ms, float64 [n]: mirror of `high`.
        high: ms, float64 [n]: P(latency <= high) >= confidence. At confidence 0.5 all three are `point`.
        exact_share: float64 [n], part of the time (0 to 1) that rests on exact table entries; the rest is modelled.
        confidence: one-sided, 0.5 to 1.
        interval: "jackknife+" (whole networks of this table) or "assumed" (a stated prior).

    """

    point: Floats
    low: Floats
    high: Floats
    exact_share: Floats
    confidence: float
    interval: str


@dataclass(frozen=True)
class LatencyPredictor:
    """Exact entries, a parametric model for blocks that the table lacks, calibration on whole networks, an interval.

    Attributes:
        table: what it was made of.
        space: whose populations it prices. Rows of widths and resolutions that a restriction leaves out are priced as
            well, by a predictor of the whole space that is made when the first is met.
        num_classes: of the classifier.
        index: where each architecture's entries lie.
        costs: of each of the `index.size` entries; NaN where the space's restriction leaves an entry out.
        inexact_ms: float64 [index.size], their modelled part.
        inputs: int64 [index.size], input side in pixels of the networks that have an entry; 0 where any may.
        missing: distinct blocks of the space that the table lacks.
        model: what priced them; None where nothing is missing.
        interval_of: how sums become predictions.
        extra: (population, measured ms) of networks measured since, by `recalibrated`.

    """

    table: LatencyTable
    space: SearchSpace
    num_classes: int
    index: TermIndex
    costs: Costs
    inexact_ms: Floats
    inputs: NDArray[np.int64]
    missing: tuple[BlockSpec, ...]
    model: BlockModel | None
    interval_of: Interval
    extra: tuple[Population, Floats] | None = None
    _works: dict[tuple[float, int], Floats] = field(default_factory=dict, compare=False, repr=False)
    _whole: list[LatencyPredictor] = field(default_factory=list, init=False, compare=False, repr=False)

    @classmethod
    def of(
        cls, table: LatencyTable, space: SearchSpace, num_classes: int, *, allow_modelled: bool = True
    ) -> LatencyPredictor:
        """Build a predictor; its intervals are about the table's own sitting until `later` is called.

        Args:
            table: of the target. One without blocks stands on a prior for `header.device["class"]`.
            space: the populations to be priced.
            num_classes: of the classifier.
            allow_modelled: price blocks that the table lacks by a model fitted to it.

        Raises:
            TableError: blocks are missing and `allow_modelled` is false, or the table has too few to model them.

        """
        table = with_blocks(table, full_space(space))
        terms = space.terms(num_classes, table.header.precision)
        blocks = dict.fromkeys(block for term in terms for entry in term.blocks for block in entry)
        if not allow_modelled:
            lacking = [block for block in blocks if table.find(block) is None]
            if lacking:
                raise TableError(_lacks(table, space, lacking, len(blocks)))
        pricer = Pricer(table)
        prices = pricer.price(blocks)

        def flat(values: Mapping[BlockSpec, float]) -> Floats:
            return np.array([sum([values[b] for b in entry]) for term in terms for entry in term.blocks], np.float64)

        index = TermIndex.of(terms, len(space.genes))
        nothing = np.zeros(index.size)
        exact = all(prices[block].exact for block in blocks)
        costs = Costs(
            np.where(_left_out(terms), np.nan, flat({block: prices[block].ms for block in blocks})),
            flat({block: prices[block].doubt_ms for block in blocks}) if pricer.missing else nothing,
            flat({block: block.weight_bytes / 2**20 for block in blocks}),
        )
        inexact = nothing if exact else flat({b: 0.0 if prices[b].exact else prices[b].ms for b in blocks})
        predictor = cls(
            table, space, num_classes, index, costs, inexact, input_sides(space, terms), tuple(pricer.missing),
            pricer.model, Interval.assumed(table),
        )  # fmt: skip
        return predictor._calibrated(pricer, None)

    def predict(self, population: Population, confidence: float = 0.9) -> LatencyPrediction:
        """Latency of each architecture: int8 [n, genes] to float64 [n].

        Args:
            population: rows of the space.
            confidence: one-sided probability that the latency is at most `high`; 0.5 makes all bounds the point.

        Raises:
            ValueError: a confidence outside 0.5 to 1, 1 excluded.

        """
        check_confidence(confidence)
        starts = range(0, max(len(population), 1), _CHUNK)
        parts = [self._predict(population[start : start + _CHUNK], confidence) for start in starts]
        point, low, high, exact = (np.concatenate(column) for column in zip(*parts, strict=True))
        if self.space.allowed and np.isnan(point).any():
            return self._of_the_whole_space().predict(population, confidence)
        return LatencyPrediction(point, low, high, exact, confidence, self.interval)

    def point(self, population: Population) -> Floats:
        """The point estimates alone, ms, float64 [n]."""
        return self.predict(population, 0.5).point

    def later(self) -> LatencyPredictor:
        """The same for another sitting than the table's: bounds widened by how far sittings differ on the device."""
        return replace(self, interval_of=self.interval_of.later(self.table.header), _works={})

    def additive(self, confidence: float) -> tuple[TermCosts, Callable[[Floats], Floats]]:
        """The upper bound as `function(costs.sum(population))`: `function` nowhere falls, so extremes can be proven.

        Args:
            confidence: as of `predict`; 0.5 is the point.

        Raises:
            ValueError: a confidence outside 0.5 to 1, 1 excluded.

        """
        check_confidence(confidence)
        side = int(confidence > 0.5)

        def function(sums: Floats) -> Floats:
            return self.interval_of.turned(sums, confidence, side)

        return TermCosts(self.index, self._work(confidence, side)), function

    @property
    def interval(self) -> str:
        """`jackknife+` or `assumed`."""
        return self.interval_of.name

    @property
    def networks(self) -> int:
        """Whole networks behind the calibration."""
        calibration = self.interval_of.calibration
        return calibration.networks if calibration else 0

    def recalibrated(self, population: Population, measured_ms: Floats) -> LatencyPredictor:
        """A predictor that knows these measured networks as well: the arrow back from the device to the search.

        A device's clock drifts by several per cent between sittings, which scales everything alike: the networks of
        the table are brought to the speed that the new ones show, before all are fitted together. Networks measured
        where the search ended also say more about that neighbourhood: together they weigh at least half as much.

        Args:
            population: int8 [m, genes], measured since and not in the table.
            measured_ms: float64 [m], by the table's estimator.

        """
        measured_ms = np.asarray(measured_ms, np.float64)
        if self.extra is not None:
            population = np.concatenate([self.extra[0], population])
            measured_ms = np.concatenate([self.extra[1], measured_ms])
        return self._calibrated(Pricer(self.table, model=self.model), (population, measured_ms))

    def describe(self) -> dict[str, Any]:
        """What predictions rest on, as plain data for results and reports."""
        header = self.table.header
        return {
            "table": header.describe(),
            "origin": header.origin.to_json(),
            "interval": self.interval,
            "networks": self.networks,
            "missing_blocks": len(self.missing),
            "model": None if self.model is None else self.model.source,
            "transfer": dict(header.transfer),
            "sitting_log_error": self.interval_of.sitting_log_error,
        }

    # Inside ----------------------------------------------------------------------------------------------------

    def _of_the_whole_space(self) -> LatencyPredictor:
        """The same for what the space's restriction leaves out: most searches never ask for it."""
        if not self._whole:
            whole = LatencyPredictor.of(self.table, full_space(self.space), self.num_classes)
            self._whole.append(replace(whole, interval_of=self.interval_of, extra=self.extra, _works={}))
        return self._whole[0]

    def _predict(self, population: Population, confidence: float) -> tuple[Floats, Floats, Floats, Floats]:
        at = self.index.locate(population)
        exact = np.ones(len(at))
        if self.inexact_ms.any():
            sums = self.costs.sum_ms[at].sum(axis=1)
            exact -= self.inexact_ms[at].sum(axis=1) / np.maximum(sums, 1e-12)
        work = self._work(0.5, 0)[at].sum(axis=1)
        point = self.interval_of.turned(work, confidence, 0)
        if confidence == 0.5:
            return point, point, point, exact
        low, high = (self._bound(at, work, confidence, side) for side in (-1, 1))
        return point, low, high, exact

    def _bound(self, at: NDArray[np.int32], work: Floats, confidence: float, side: int) -> Floats:
        own = self._work(confidence, side)
        return self.interval_of.turned(work if own is self._work(0.5, 0) else own[at].sum(axis=1), confidence, side)

    def _work(self, confidence: float, side: int) -> Floats:
        """What each entry adds to the sum behind the point or a bound, float64 [index.size]."""
        plain = (0.5, 0)
        if plain not in self._works:
            self._works[plain] = self.interval_of.work(self.costs, *plain, self.inputs)
        same = self.interval_of.calibration is not None and not self.missing
        key = plain if same or not side else (confidence, side)
        if key not in self._works:
            self._works[key] = self.interval_of.work(self.costs, confidence, side, self.inputs)
        return self._works[key]

    def _calibrated(self, pricer: Pricer, extra: tuple[Population, Floats] | None) -> LatencyPredictor:
        """With the table's networks and the extra ones, if there are any."""
        space = full_space(self.space)
        known = network_blocks(self.table, self.table.calibration_networks(), space)
        weights = np.ones(len(known))
        lowered = [blocks for blocks, _ in known]
        measured = np.array([ms for _, ms in known], np.float64)
        if extra is not None and len(extra[1]):
            each = max(1.0, 0.5 * len(known) / len(extra[1]))
            measured = measured * (self._drift(*extra) if known else 1.0)
            precision = self.table.header.precision
            lowered += [space.lower(row, self.num_classes, precision) for row in extra[0]]
            measured = np.concatenate([measured, extra[1]])
            weights = np.concatenate([weights, np.full(len(extra[1]), each)])
        if not lowered:
            return self
        sides = network_sides(lowered) if only_of(self.table, self.space) else None
        interval = Interval.calibrated(self.table.header, summed(pricer, lowered), measured, weights, sides)
        return replace(self, interval_of=interval, extra=extra, _works={})

    def _drift(self, population: Population, measured_ms: Floats) -> float:
        """How much slower the device was in another sitting, from networks measured there."""
        own = self if self.extra is None else self._calibrated(Pricer(self.table, model=self.model), None)
        logs = np.log(measured_ms / own.point(population))
        # One network's prediction is off by some per cent itself: a tenth of a network's weight on no drift at all.
        return float(np.exp(np.median(logs) * len(logs) / (len(logs) + _NO_DRIFT)))


def _left_out(terms: Sequence[Term]) -> NDArray[np.bool_]:
    """Entries that lower to nothing though all their genes are there, bool [entries]: those of a restriction."""
    empty = np.array([not entry for term in terms for entry in term.blocks])
    there = [(np.indices(term.shape) > 0).all(axis=0).ravel() for term in terms]
    return empty & np.concatenate(there)


def with_blocks(table: LatencyTable, space: SearchSpace | None = None) -> LatencyTable:
    """A table of whole networks alone gets blocks that explain them; any other is left as it is."""
    networks = table.calibration_networks()
    if table.blocks or len(networks) < FEWEST_NETWORKS:
        return table
    return transfer(None, table.header, space or SearchSpace.named("lite0"), networks)


def check_confidence(confidence: float) -> None:
    """Raise ValueError for a confidence outside 0.5 to 1, 1 excluded."""
    if not 0.5 <= confidence < 1:
        raise ValueError(f"confidence must be at least 0.5 and below 1, not {confidence}")


def _lacks(table: LatencyTable, space: SearchSpace, missing: Sequence[BlockSpec], total: int) -> str:
    first = missing[0]
    shape = f"{first.kind} {first.height}x{first.width}x{first.in_channels} to {first.out_channels}"
    return (
        f"{table.header.describe()}: lacks {len(missing)} of the {total} blocks of space {space.name!r} (the first: "
        f"{shape}, kernel {first.kernel}); measure them or allow modelled figures"
    )
