"""The measuring protocol as data: what is repeated how often, and when it is enough."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

from nas_edge.errors import FormatError, MeasurementError


class Regime(StrEnum):
    """`hot`: back-to-back runs. `cold`: the caches are emptied before every run."""

    HOT = "hot"
    COLD = "cold"


class Statistic(StrEnum):
    """The figure that stands for a distribution of run times."""

    MEDIAN = "median"
    P90 = "p90"
    P95 = "p95"
    P99 = "p99"

    @property
    def quantile(self) -> float:
        """Between 0 and 1."""
        return {"median": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}[self.value]


@dataclass(frozen=True)
class Protocol:
    """How to measure. One round visits every unfinished item once, in shuffled order.

    A visit warms the item up, then times it back to back. An item is finished after `rounds` quiet visits, or
    from `min_rounds` on as soon as the confidence interval of its estimate is narrower than `tolerance`; visits
    that were disturbed are repeated in later rounds, up to `max_rounds`.

    Attributes:
        regime: hot or cold.
        statistic: what the interval is about.
        min_rounds, rounds, max_rounds: visits of one item, see above.
        repeats: timed runs of a visit at least.
        visit_ms: short items are timed more often, until a visit takes this long ...
        max_repeats: ... or has this many runs.
        warmups: untimed runs at the beginning of a visit at least: the first run after other work is slower by half,
            the fifth still by some per cent ...
        warmup_ms: ... and further ones until this long has been spent ...
        max_warmups: ... or this many are done.
        tolerance: relative half-width of the 95 % interval that is narrow enough; 0 to always do `rounds`.
        quiet_tolerance: how far the reference kernel may be from its quiet value in the seconds around, relative.
        drift_tolerance: how far it may be from the quiet value of the sitting, or from that of the table that the
            figures are compared with: times are brought to it in proportion, and beyond this that is not trusted.
        reload_every: rounds after which all models are loaded anew: where a model lies in memory changes its time by
            one or two per cent, and the next process will have it elsewhere.
        patience: share of the time that may be spent waiting for a disturbance to pass.
        min_span_s: the visits of an item are spread over at least this long, with pauses: clocks drift over seconds.
        time_limit_s: no further round is begun after this; None for no limit.
        seed: of the order.

    """

    regime: Regime = Regime.HOT
    statistic: Statistic = Statistic.MEDIAN
    min_rounds: int = 5
    rounds: int = 12
    max_rounds: int = 24
    repeats: int = 10
    visit_ms: float = 4.0
    max_repeats: int = 50
    warmups: int = 2
    warmup_ms: float = 20.0
    max_warmups: int = 10
    tolerance: float = 0.01
    quiet_tolerance: float = 0.03
    drift_tolerance: float = 0.15
    reload_every: int = 4
    patience: float = 0.1
    min_span_s: float = 0.0
    time_limit_s: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.min_rounds <= self.rounds <= self.max_rounds:
            raise MeasurementError(
                f"protocol: min_rounds {self.min_rounds} <= rounds {self.rounds} <= max_rounds {self.max_rounds} "
                "is expected, all positive"
            )
        if not (1 <= self.repeats <= self.max_repeats and 0 <= self.warmups <= self.max_warmups):
            raise MeasurementError(
                f"protocol: repeats {self.repeats} and warmups {self.warmups} must be positive and at most their maxima"
            )
        if self.reload_every < 1 or not 0 <= self.patience < 1:
            raise MeasurementError(
                f"protocol: reload_every {self.reload_every} must be positive, patience {self.patience} a share below 1"
            )
        if self.time_limit_s is not None and self.time_limit_s <= 0:
            raise MeasurementError(f"protocol: time_limit_s must be positive, not {self.time_limit_s}")

    @classmethod
    def quick(cls) -> Protocol:
        """First contact and previews: seconds for a handful of networks."""
        return cls(min_rounds=3, rounds=5, max_rounds=10, time_limit_s=60.0)

    @classmethod
    def default(cls) -> Protocol:
        """Tables."""
        return cls()

    @classmethod
    def thorough(cls) -> Protocol:
        """Verification, `profile`, and figures that are published."""
        return cls(
            min_rounds=12, rounds=24, max_rounds=48, max_repeats=100, visit_ms=20.0, min_span_s=6.0, tolerance=0.005,
            reload_every=4,
        )  # fmt: skip

    def for_statistic(self, statistic: Statistic | str) -> Protocol:
        """The same with another statistic; a high quantile gets visits that are long enough to show it."""
        wanted = Statistic(statistic)
        tail = max(self.repeats, min(200, round(2 / (1 - wanted.quantile))))
        return replace(self, statistic=wanted, repeats=tail, max_repeats=max(self.max_repeats, tail))

    def for_processes(self) -> Protocol:
        """The same where every visit is a process of its own, which takes seconds to begin: fewer and longer visits."""
        return replace(
            self, min_rounds=min(self.min_rounds, 4), rounds=min(self.rounds, 6), max_rounds=min(self.max_rounds, 8),
            repeats=max(self.repeats, 20), max_repeats=max(self.max_repeats, 100), min_span_s=0.0,
        )  # fmt: skip

    def for_regime(self, regime: Regime | str) -> Protocol:
        """The same, hot or cold; a cold run needs no more warming up than loading its code."""
        wanted = Regime(regime)
        if wanted is Regime.HOT:
            return replace(self, regime=wanted)
        return replace(self, regime=wanted, warmups=min(self.warmups, 1), max_warmups=1)

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {key: str(value) if isinstance(value, str) else value for key, value in asdict(self).items()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Protocol:
        """The inverse of `to_json`. Raises FormatError for unknown keys or values."""
        try:
            return cls(
                **{**data, "regime": Regime(data["regime"]), "statistic": Statistic(data["statistic"])},
            )
        except (KeyError, TypeError, ValueError) as error:
            raise FormatError(f"protocol: does not fit ({error})") from error
