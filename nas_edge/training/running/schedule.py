"""Learning rate over a run: linear warm-up, then a cosine to zero (Loshchilov and Hutter 2017).

A run with a time limit follows its progress in epochs or in time, whichever is further: its end is moved, again and
again, to where the time will be over at the present speed, so that it ends annealed on a machine of any speed. Where
the end stands is in the checkpoint: a resumed run goes on along the same curve. Without a limit nothing moves.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

_FIRST_SHARE = (
    0.2  # of a run that its first epochs (warm-up, teacher, frozen weights) take at most when it is cut short
)


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

    def step_at(self, progress: float) -> int:
        """The first step with at least this progress, as far as it lies ahead of where the end was last moved."""
        if progress <= self.fraction:
            return self.step
        return self.step + math.ceil((progress - self.fraction) / (1 - self.fraction) * (self.total - self.step))


@dataclass(frozen=True)
class FirstEpochs:
    """A stretch at the beginning of a run: a number of epochs, or less of a run that a time limit cuts short.

    Attributes:
        steps: that it takes in a whole run.
        share: of any run that it takes at most; of a whole run it is no limit.
    """

    steps: float
    share: float

    @classmethod
    def of(cls, epochs: float, all_epochs: int, steps_per_epoch: int) -> FirstEpochs:
        """The first `epochs` of a run of `all_epochs`."""
        return cls(epochs * steps_per_epoch, max(_FIRST_SHARE, epochs / all_epochs))

    def includes(self, step: int, horizon: Horizon) -> bool:
        """Whether a step belongs to it."""
        return step < self.steps and horizon.progress(step) < self.share

    def left(self, step: int, horizon: Horizon) -> int:
        """Steps of it that are still to come, `step` being the next."""
        return max(0, min(math.ceil(self.steps), horizon.step_at(self.share)) - step)

    def passed(self, step: int, horizon: Horizon) -> float:
        """How much of it is over after `step`, 0..1."""
        return min(1.0, max((step + 1) / max(1.0, self.steps), horizon.progress(step) / self.share))


def learning_rate(peak: float, step: int, warmup: FirstEpochs, horizon: Horizon) -> float:
    """Learning rate of a step."""
    return peak * warmup.passed(step, horizon) * 0.5 * (1 + math.cos(math.pi * horizon.progress(step)))
