"""What a search asks for and what it gives back."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nas_edge.units import format_count, format_ms


@dataclass(frozen=True)
class SearchRequest:
    """The options of `nas-edge search`.

    Attributes:
        target: name or file.
        latency_ms, macs, params: budgets; at least one is given.
        bundle: name or directory.
        confidence: one-sided, of an unverified latency; 0.5 is the point estimate.
        precision: None for the target's.
        resolutions: None for all that the bundle was trained at.
        verify: None for: where the device can be reached.
        rounds: of measuring and searching again, at most.
        evaluations: architectures priced by one search.
        statistic, regime: what of the latency is bounded, and whether caches are warm.
        seed: of everything random.
        out: directory of the run, None for `runs/<time>-<target>`.

    """

    target: str = "local"
    latency_ms: float | None = None
    macs: float | None = None
    params: float | None = None
    bundle: str = "trashnet"
    confidence: float = 0.9
    precision: str | None = None
    resolutions: tuple[int, ...] | None = None
    verify: bool | None = None
    rounds: int = 4
    evaluations: int = 50_000
    statistic: str = "median"
    regime: str = "hot"
    seed: int = 0
    out: Path | None = None

    def verifying_command(self) -> str:
        """The command line that does this search with verification."""
        words = ["nas-edge", "search", "--target", self.target]
        if self.latency_ms is not None:
            words += ["--latency", f"{self.latency_ms:g}ms"]
        words += [part for name in ("macs", "params") if getattr(self, name) for part in self._count(name)]
        if self.bundle != SearchRequest.bundle:
            words += ["--bundle", self.bundle]
        if self.resolutions is not None:
            words += ["--resolutions", ",".join(map(str, self.resolutions))]
        for name in ("precision", "statistic", "regime"):
            if getattr(self, name) != getattr(SearchRequest, name):
                words += [f"--{name}", str(getattr(self, name))]
        return shlex.join([*words, "--verify"])

    def _count(self, name: str) -> tuple[str, str]:
        return f"--{name}", f"{getattr(self, name):.15g}"


@dataclass(frozen=True)
class LatencyFigure:
    """A latency, predicted and perhaps measured; all in ms.

    Attributes:
        predicted, low, high: by the table as it was before this run; bounds at `confidence`.
        confidence: one-sided.
        interval: "jackknife+" or "assumed".
        measured, upper95: on the device: the estimator and its 95 % upper limit; None where not measured.
        origin: what the best figure may be called: measured, published, modelled.
        origin_text: the same in words, with machine and date.
        what: "hot median".

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

    def to_json(self) -> dict[str, Any]:
        """The object under `latency_ms`."""
        return {
            "predicted": self.predicted,
            "low": self.low,
            "high": self.high,
            "measured": self.measured,
            "origin": self.origin,
        }


@dataclass(frozen=True)
class AccuracyFigure:
    """An accuracy, 0..1: predicted, and perhaps measured on `images` of the search split with its 95 % interval."""

    predicted: float
    measured: float | None = None
    interval: tuple[float, float] | None = None
    images: int = 0


@dataclass(frozen=True)
class SearchReport:
    """The network that a search chose.

    Attributes:
        request: what was asked for.
        run: its directory.
        target, space, resolution: names, and the input's side in pixels.
        arch: as JSON.
        accuracy, latency: figures.
        macs, params: of the network.
        verified: every latency budget was measured to be met, and the accuracy was measured.
        verification_asked: whether verifying was to be done.
        evaluations, wall_s: of all searches together, measuring left out.
        rounds: of measuring.
        basis: what the prediction rests on, in words.
        notes: anything a user must know (slack budgets, other runtimes, disturbed measurements).

    """

    request: SearchRequest
    run: Path
    target: str
    space: str
    resolution: int
    arch: dict[str, Any]
    accuracy: AccuracyFigure
    latency: LatencyFigure
    macs: float
    params: float
    verified: bool
    verification_asked: bool
    evaluations: int
    wall_s: float
    rounds: int = 0
    basis: str = ""
    notes: tuple[str, ...] = field(default=())

    @property
    def exit_code(self) -> int:
        """1 where verification was asked for and the budget is not met as measured."""
        return 0 if self.verified or not self.verification_asked else 1

    def to_json(self) -> dict[str, Any]:
        """What `--json` prints."""
        return {
            "run": str(self.run),
            "arch": self.arch,
            "accuracy": {"predicted": self.accuracy.predicted, "measured": self.accuracy.measured},
            "latency_ms": self.latency.to_json(),
            "verified": self.verified,
            "macs": self.macs,
            "params": self.params,
            "evaluations": self.evaluations,
            "wall_s": self.wall_s,
        }

    def lines(self) -> list[str]:
        """For a person; the first line says UNVERIFIED where nothing was measured."""
        latency, accuracy = self.latency, self.accuracy
        lines = []
        if latency.measured is None:
            lines.append(f"UNVERIFIED: predicted, not measured; to verify: {self.request.verifying_command()}")
        lines.append(self._budget_line())
        measured = ""
        if accuracy.measured is not None and accuracy.interval is not None:
            low, high = (100 * value for value in accuracy.interval)
            measured = (
                f"  MEASURED {100 * accuracy.measured:.1f} % [{low:.1f}, {high:.1f}] on {accuracy.images} images "
                "of the search split"
            )
        lines.append(f"accuracy   predicted {100 * accuracy.predicted:.1f} %{measured}")
        bound = f"P(latency <= {format_ms(latency.high)}) = {latency.confidence:.0%}"
        if latency.measured is None:
            lines.append(f"latency    {latency.what}, {bound}, interval: {latency.interval}")
        else:
            upper = "" if latency.upper95 is None else f", 95 % upper limit {format_ms(latency.upper95)}"
            lines.append(f"latency    {latency.what}{upper}; {latency.origin_text}")
        lines.append(f"rests on   {self.basis}")
        lines.append(
            f"network    {self.space}, {self.resolution} px, {format_count(self.macs)} MACs, "
            f"{format_count(self.params)} parameters"
        )
        lines += [f"note       {text}" for text in self.notes]
        rounds = f", {self.rounds} round{'s' * (self.rounds != 1)} of measuring" if self.rounds else ""
        lines.append(f"searched   {self.evaluations:,} networks in {self.wall_s:.2f} s{rounds}")
        lines.append(f"run        {self.run}")
        return lines

    def _budget_line(self) -> str:
        budgets = []
        if self.request.latency_ms is not None:
            budgets.append(format_ms(self.request.latency_ms))
        if self.request.macs is not None:
            budgets.append(f"{format_count(self.request.macs)} MACs")
        if self.request.params is not None:
            budgets.append(f"{format_count(self.request.params)} parameters")
        line = f"budget {', '.join(budgets)}  predicted {format_ms(self.latency.predicted)}"
        if self.latency.measured is None:
            return line
        verdict = "MET" if self.verified else "NOT MET"
        return f"{line}  MEASURED {format_ms(self.latency.measured)}  {verdict}"
