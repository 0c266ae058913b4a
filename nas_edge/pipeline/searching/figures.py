"""What a search says of a network: latencies, other costs, accuracy, points of a front."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nas_edge.units import format_ms


@dataclass(frozen=True)
class LatencyFigure:
    """A latency on one target, predicted and perhaps measured; all in ms.

    Attributes:
        predicted, low, high: by the table as it was before this run; bounds at `confidence`.
        confidence: one-sided.
        interval: "jackknife+" or "assumed".
        measured, upper95: on the device: the estimator and its 95 % upper limit; None where not measured.
        origin: what the best figure may be called: measured, published, modelled.
        origin_text: the same in words, with machine and date.
        what: "hot median".
        budget: the limit, None without one.
        basis: what the prediction rests on, in words.

    """

    predicted: float
    low: float
    high: float
    confidence: float
    interval: str
    measured: float | None
    upper95: float | None
    origin: str
    origin_text: str
    what: str
    budget: float | None = None
    basis: str = ""

    @property
    def met(self) -> bool:
        """Whether it was measured to meet its budget; true where there is no budget."""
        return self.budget is None or (self.upper95 is not None and self.upper95 <= self.budget)

    def to_json(self) -> dict[str, Any]:
        """The object under `latency_ms`."""
        return {
            "predicted": self.predicted,
            "low": self.low,
            "high": self.high,
            "measured": self.measured,
            "origin": self.origin,
        }

    def line(self) -> str:
        """Statistic, bound and origin, for a person."""
        if self.measured is None:
            bound = f"P(latency <= {format_ms(self.high)}) = {self.confidence:.0%}"
            return f"{self.what}, {bound}, interval: {self.interval}"
        upper = "" if self.upper95 is None else f", 95 % upper limit {format_ms(self.upper95)}"
        return f"{self.what}{upper}; {self.origin_text}"


@dataclass(frozen=True)
class CostFigure:
    """Another predicted cost (energy), with its bound and origin."""

    predicted: float
    high: float
    unit: str
    origin: str

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {"predicted": self.predicted, "high": self.high, "unit": self.unit, "origin": self.origin}


@dataclass(frozen=True)
class AccuracyFigure:
    """An accuracy, 0..1: predicted, and perhaps measured on `images` of the search split with its 95 % interval.

    With a `proxy` the prediction is that proxy's score, which is no accuracy.
    """

    predicted: float
    measured: float | None = None
    interval: tuple[float, float] | None = None
    images: int = 0
    proxy: str = ""

    def text(self) -> str:
        """The prediction as a person reads it."""
        return f"{self.proxy} score {self.predicted:.6g}" if self.proxy else f"predicted {100 * self.predicted:.1f} %"


@dataclass(frozen=True)
class FrontPoint:
    """One network of a Pareto front: its figures by metric, and latencies measured in ms by target."""

    arch: dict[str, Any]
    figures: Mapping[str, float]
    measured_ms: Mapping[str, float]
    knee: bool

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {"arch": self.arch, **self.figures, "measured_ms": dict(self.measured_ms), "knee": self.knee}
