"""What a search is on its way to: `Course`, and what it came to: `Chosen`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nas_edge.pipeline.searching.figures import AccuracyFigure, FrontPoint
from nas_edge.spaces import Population

if TYPE_CHECKING:
    from nas_edge.pipeline.searching.counting import CountedFigure
    from nas_edge.profiling import Measurement
    from nas_edge.search.result import SearchResult


@dataclass
class Course:
    """What a search has come to, beside the task: filled as it goes."""

    notes: list[str]
    last: SearchResult | None = None
    evaluations: int = 0
    search_s: float = 0.0
    rounds: int = 0
    interrupted: bool = False
    front: tuple[FrontPoint, ...] = ()

    def count(self, result: SearchResult) -> SearchResult:
        """One more search."""
        self.last = result
        self.evaluations += result.evaluations
        self.search_s += result.wall_s
        self.interrupted = self.interrupted or result.interrupted
        return result


@dataclass(frozen=True, eq=False)
class Chosen:
    """What is returned, and what was measured of it; `met`: every latency budget, whatever is known of the accuracy."""

    arch: Population
    accuracy: AccuracyFigure
    measurements: dict[str, Measurement] = field(default_factory=dict)
    verified: bool = False
    counted: tuple[CountedFigure, ...] = ()
    met: bool = False
