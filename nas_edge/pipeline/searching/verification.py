"""The arrow back: candidates are measured on the device, correct the predictor, and the search goes again.

A round searches with the point estimate, times the best candidates near the budget in one sitting, and recalibrates
the predictor with what was measured. It ends when no search promises more than what has been measured to fit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from nas_edge.errors import BudgetError
from nas_edge.progress import Progress, silent
from nas_edge.spaces import Population

if TYPE_CHECKING:
    from nas_edge.latency import LatencyPredictor
    from nas_edge.profiling import Measurement

CANDIDATES = 6
_SHARES_OF_BUDGET = (1.0, 0.985, 0.97, 0.95, 0.9, 0.85)  # of the limit, at which a front's best point is taken
_GAIN = 5e-4  # accuracy that a further round must promise


@dataclass(frozen=True)
class Found:
    """What one search offers.

    Attributes:
        best: int8 [genes].
        front: int8 [n, genes], not dominated in accuracy and predicted latency.
        evaluations: architectures priced.
        wall_s: seconds it took.

    """

    best: Population
    front: Population
    evaluations: int
    wall_s: float


@dataclass(frozen=True)
class Candidate:
    """A measured architecture: int8 [genes], predicted accuracy (0..1), predicted ms before, and what was measured."""

    arch: Population
    accuracy: float
    predicted_ms: float
    measurement: Measurement

    @property
    def ms(self) -> float:
        """The protocol's estimator."""
        return self.measurement.estimate_ms(self.measurement.protocol.statistic)

    @property
    def upper95_ms(self) -> float:
        """Its 95 % upper limit."""
        return self.measurement.upper95_ms


@dataclass
class Verification:
    """The state of the loop.

    Attributes:
        predictor: as corrected so far.
        candidates: all that were measured.
        rounds: done.
        evaluations, search_s: of all searches.

    """

    predictor: LatencyPredictor
    candidates: list[Candidate] = field(default_factory=list)
    rounds: int = 0
    evaluations: int = 0
    search_s: float = 0.0

    def accepted(self, limit_ms: float) -> list[Candidate]:
        """Those whose 95 % upper limit meets the budget, most accurate first."""
        met = [candidate for candidate in self.candidates if candidate.upper95_ms <= limit_ms]
        return sorted(met, key=lambda candidate: (-candidate.accuracy, candidate.upper95_ms))

    def measured(self, arch: Population) -> bool:
        """Whether an architecture has been timed already."""
        return any(np.array_equal(candidate.arch, arch) for candidate in self.candidates)


def verify(
    predictor: LatencyPredictor,
    limit_ms: float,
    search: Callable[[LatencyPredictor, float], Found],
    accuracy: Callable[[Population], np.ndarray],
    measure: Callable[[list[Population], Progress], list[Measurement]],
    rounds: int,
    progress: Progress = silent,
) -> Verification:
    """Measure and search again until the best network that is measured to fit cannot be bettered.

    Args:
        predictor: of the target's table.
        limit_ms: the budget.
        search: finds the best under a predictor and a limit on its point estimate; raises BudgetError where
            nothing can fit.
        accuracy: int8 [n, genes] to predicted accuracy, float64 [n].
        measure: times architectures in one sitting.
        rounds: at most.
        progress: told about rounds and measuring.

    Returns:
        Everything measured; `accepted(limit_ms)` is empty where nothing met the budget within the rounds.

    """
    state = Verification(predictor)
    aim = limit_ms
    for number in range(1, rounds + 1):
        try:
            found = search(state.predictor, aim)
        except BudgetError:
            if state.accepted(limit_ms):
                break
            raise
        state.evaluations += found.evaluations
        state.search_s += found.wall_s
        accepted = state.accepted(limit_ms)
        if accepted and accuracy(found.best[None])[0] < accepted[0].accuracy + _GAIN:
            break
        chosen = [arch for arch in _candidates(found, state.predictor, aim) if not state.measured(arch)]
        if not chosen:
            if accepted:
                break
            aim *= 0.97  # all that promised to fit has been measured and did not, by a little
            continue
        rows = np.stack(chosen)
        predicted, gains = state.predictor.point(rows), accuracy(rows)
        measurements = measure(chosen, _in_round(progress, number, rounds))
        state.candidates += [
            Candidate(arch, float(gain), float(ms), measurement)
            for arch, gain, ms, measurement in zip(chosen, gains, predicted, measurements, strict=True)
        ]
        state.rounds = number
        measured_ms = np.array([candidate.ms for candidate in state.candidates[-len(chosen) :]])
        state.predictor = state.predictor.recalibrated(rows, measured_ms)
        # An interval has a width: what is predicted to fit exactly is measured to miss by half of it.
        width = np.array([candidate.upper95_ms / candidate.ms for candidate in state.candidates[-len(chosen) :]])
        aim = limit_ms / float(np.median(width))
    return state


def _candidates(found: Found, predictor: LatencyPredictor, aim_ms: float) -> list[Population]:
    """The best, and points of the front below the limit and further below: int8 [genes] each, distinct."""
    front = np.concatenate([found.best[None], found.front]) if len(found.front) else found.best[None]
    ms = predictor.point(front)
    chosen = [found.best]
    for share in _SHARES_OF_BUDGET:
        below = np.flatnonzero(ms <= aim_ms * share)
        if len(below):
            arch = front[below[np.argmax(ms[below])]]
            if not any(np.array_equal(arch, other) for other in chosen):
                chosen.append(arch)
    return chosen[:CANDIDATES]


def _in_round(progress: Progress, number: int, rounds: int) -> Progress:
    def told(done: float, total: float, text: str) -> None:
        progress(done, total, f"round {number} of at most {rounds}: {text}")

    return told
