"""What a search gives back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas_edge.pipeline.searching.figures import AccuracyFigure, CostFigure, FrontPoint, LatencyFigure
from nas_edge.pipeline.searching.memory_figure import MemoryFigure
from nas_edge.pipeline.searching.request import SearchRequest
from nas_edge.units import format_bytes, format_count, format_ms

if TYPE_CHECKING:
    from nas_edge.pipeline.searching.counting import CountedFigure

INTERRUPTED = 130


@dataclass(frozen=True)
class SearchReport:
    """The network that a search chose.

    Attributes:
        request: what was asked for.
        run: its directory.
        space, resolution: name, and the input's side in pixels.
        precision: number format of the network.
        arch: as JSON.
        accuracy: figure.
        latencies: by target, the first one first.
        energies: by target, where they are known.
        macs, params: of the network.
        others: further figures that were bounded or asked for, by metric.
        counted: of the network as firmware in an emulator, by target.
        memory: of the network as firmware, None where the target is no microcontroller.
        verified: every latency budget was measured to be met, and the accuracy was measured.
        verification_asked: whether verifying was to be done.
        evaluations, wall_s: of all searches together, measuring left out.
        rounds: of measuring.
        front: of a Pareto search.
        interrupted: ended by Ctrl-C: the best so far.
        verifying: the command line that would show on the device what was predicted.
        met: every latency budget was measured to be met, whatever is known of the accuracy.
        notes: anything a user must know (slack budgets, other runtimes, disturbed measurements).

    """

    request: SearchRequest
    run: Path
    space: str
    resolution: int
    precision: str
    arch: dict[str, Any]
    accuracy: AccuracyFigure
    latencies: Mapping[str, LatencyFigure]
    macs: float
    params: float
    verified: bool
    verification_asked: bool
    evaluations: int
    wall_s: float
    energies: Mapping[str, CostFigure] = field(default_factory=dict)
    others: Mapping[str, float] = field(default_factory=dict)
    memory: MemoryFigure | None = None
    counted: tuple[CountedFigure, ...] = ()
    rounds: int = 0
    front: tuple[FrontPoint, ...] = ()
    interrupted: bool = False
    verifying: str = ""
    met: bool = False
    notes: tuple[str, ...] = field(default=())

    @property
    def latency(self) -> LatencyFigure:
        """On the first target."""
        return next(iter(self.latencies.values()))

    @property
    def target(self) -> str:
        """Name of the first target."""
        return next(iter(self.latencies))

    @property
    def basis(self) -> str:
        """What the first target's prediction rests on."""
        return self.latency.basis

    @property
    def exit_code(self) -> int:
        """1 where verification was asked for and failed, by a budget or an unmeasured accuracy; 130 after Ctrl-C."""
        if self.interrupted:
            return INTERRUPTED
        if not all(figure.met for figure in self.counted):
            return 1
        return 0 if self.verified or not self.verification_asked else 1

    def to_json(self) -> dict[str, Any]:
        """What `--json` prints; further targets, energies, a front where there are any."""
        data: dict[str, Any] = {
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
        if len(self.latencies) > 1:
            data["targets"] = {
                name: {"latency_ms": figure.to_json(), "budget_ms": figure.budget, "met": figure.met}
                for name, figure in self.latencies.items()
            }
        if self.energies:
            data["energy_mj"] = {name: figure.to_json() for name, figure in self.energies.items()}
        if self.others:
            data["figures"] = dict(self.others)
        if self.memory is not None:
            data["memory"] = self.memory.to_json()
        if self.counted:
            data["counted"] = {figure.target: figure.to_json() for figure in self.counted}
        if self.front:
            data["front"] = [point.to_json() for point in self.front]
        if self.interrupted:
            data["interrupted"] = True
        return data

    def lines(self) -> list[str]:
        """For a person; the first line says UNVERIFIED where nothing was measured."""
        lines = []
        if self.counted:
            lines.append(
                "UNVERIFIED on silicon: instructions were counted in an emulator, milliseconds are modelled; on a "
                f"board: nas-edge profile {self.run} --serial PORT"
            )
        elif all(figure.measured is None for figure in self.latencies.values()):
            lines.append(f"UNVERIFIED: predicted, not measured; to verify: {self.verifying}")
        several = len(self.latencies) > 1
        if not several:
            lines.append(self._budget_line(self.latency, self._budgets()))
        accuracy = self.accuracy
        measured = ""
        if accuracy.measured is not None and accuracy.interval is not None:
            low, high = (100 * value for value in accuracy.interval)
            measured = (
                f"  MEASURED {100 * accuracy.measured:.1f} % [{low:.1f}, {high:.1f}] on {accuracy.images} images "
                "of the search split"
            )
        lines.append(f"accuracy   {accuracy.text()}{measured}")
        for name, figure in self.latencies.items():
            if several:
                budget = [] if figure.budget is None else [format_ms(figure.budget)]
                lines.append(f"target     {name}: {self._budget_line(figure, budget)}")
            lines.append(f"latency    {figure.line()}")
            lines.append(f"rests on   {figure.basis}")
        lines += [
            f"energy     {name}: predicted {figure.predicted:.4g} {figure.unit}, at most {figure.high:.4g} with "
            f"probability {self.latency.confidence:.0%}; {figure.origin}"
            for name, figure in self.energies.items()
        ]
        told = () if self.memory is None else ("sram", "flash")
        lines += [
            f"{metric:<10} {_shown(metric, value)}" for metric, value in self.others.items() if metric not in told
        ]
        lines += [] if self.memory is None else self.memory.lines()
        lines += [line for figure in self.counted for line in figure.lines()]
        lines.append(
            f"network    {self.space}, {self.resolution} px, {format_count(self.macs)} MACs, "
            f"{format_count(self.params)} parameters{'' if self.precision == 'fp32' else f', {self.precision}'}"
        )
        lines += front_lines(self.front, self._shown_on_front)
        lines += [f"note       {text}" for text in self.notes]
        rounds = f", {self.rounds} round{'s' * (self.rounds != 1)} of measuring" if self.rounds else ""
        lines.append(f"searched   {self.evaluations:,} networks in {self.wall_s:.2f} s{rounds}")
        lines.append(f"run        {self.run}")
        return lines

    def _budgets(self) -> list[str]:
        request = self.request
        budgets = [] if request.latency_ms is None else [format_ms(request.latency_ms)]
        budgets += [] if request.energy_mj is None else [f"{request.energy_mj:g} mJ"]
        budgets += [] if request.macs is None else [f"{format_count(request.macs)} MACs"]
        budgets += [] if request.params is None else [f"{format_count(request.params)} parameters"]
        budgets += [] if request.sram_bytes is None else [f"{format_bytes(request.sram_bytes)} SRAM"]
        budgets += [] if request.flash_bytes is None else [f"{format_bytes(request.flash_bytes)} flash"]
        budgets += [] if request.instructions is None else [f"{format_count(request.instructions)} instructions"]
        budgets += [] if request.min_accuracy is None else [f"accuracy >= {100 * request.min_accuracy:g} %"]
        return budgets + [f"{metric} {op} {_shown(metric, limit)}" for metric, op, limit in request.limits]

    def _met_but_for_accuracy(self) -> bool:
        """Whether all that was asked for is met, the accuracy being none of it and not measured."""
        bounded = {metric for metric, _, _ in self.request.limits}
        return self.met and self.request.min_accuracy is None and "accuracy" not in bounded

    def _shown_on_front(self, metric: str, value: float) -> str:
        if metric == "accuracy" and self.accuracy.proxy:
            return replace(self.accuracy, predicted=value).text()
        return _shown(metric, value)

    def _budget_line(self, figure: LatencyFigure, budgets: Sequence[str]) -> str:
        head = f"budget {', '.join(budgets)}  " if budgets else ""
        line = f"{head}predicted {format_ms(figure.predicted)}"
        if figure.measured is None:
            return line
        met = (self.verified or self._met_but_for_accuracy()) if len(self.latencies) == 1 else figure.met
        verdict = f"  {'MET' if met else 'NOT MET'}" if budgets else ""
        return f"{line}  MEASURED {format_ms(figure.measured)}{verdict}"


def front_lines(front: Sequence[FrontPoint], shown: Callable[[str, float], str]) -> list[str]:
    """Some points of a front for a person, the knee marked; `shown` puts a metric's figure into words."""
    lines = []
    for point in _thinned(front):
        figures = ", ".join(f"{name} {shown(name, value)}" for name, value in point.figures.items())
        measured = "".join(f", measured {format_ms(ms)}" for ms in point.measured_ms.values())
        lines.append(f"front      {figures}{measured}{'   <- knee' if point.knee else ''}")
    return lines


def _thinned(front: Sequence[FrontPoint], most: int = 15) -> list[FrontPoint]:
    """At most so many points, evenly along the front, with the knee and what was measured."""
    if len(front) <= most:
        return list(front)
    even = {round(i * (len(front) - 1) / (most - 1)) for i in range(most)}
    return [point for i, point in enumerate(front) if i in even or point.knee or point.measured_ms]


def _shown(metric: str, value: float) -> str:
    """A figure as a person reads it."""
    base = metric.partition("@")[0]
    if base == "latency":
        return format_ms(value)
    if base == "accuracy":
        return f"{100 * value:.2f} %"
    if base in ("sram", "flash"):
        return format_bytes(value)
    if base == "energy":
        return f"{value:.4g} mJ"
    return format_count(value) if abs(value) >= 1000 else f"{value:.4g}"
