"""Learning rate over a run: linear warm-up, then a cosine to zero (Loshchilov and Hutter 2017)."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Horizon:
    """How far a run has come, when its end may be moved by a time limit.

    Progress grows linearly from `fraction` at `step` to 1 at `total`; an end that is moved at some step leaves
    the learning rate continuous there.

    Attributes:
        total: steps of the whole run.
        step, fraction: where the end was last moved, and the progress there.
    """

    total: int
    step: int = 0
    fraction: float = 0.0

    def progress(self, step: int) -> float:
        """Progress in 0..1 before `step`."""
        remaining = max(1, self.total - self.step)
        return min(1.0, self.fraction + (1 - self.fraction) * (step - self.step) / remaining)

    def moved(self, step: int, total: int) -> Horizon:
        """The same progress at `step`, another end."""
        return Horizon(max(total, step + 1), step, self.progress(step))


def learning_rate(peak: float, step: int, warmup_steps: float, horizon: Horizon) -> float:
    """Learning rate of a step."""
    warm = min(1.0, (step + 1) / max(1.0, warmup_steps))
    return peak * warm * 0.5 * (1 + math.cos(math.pi * horizon.progress(step)))
