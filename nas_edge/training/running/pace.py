"""How fast a run goes: how many steps a time limit has room for, and what a person is shown."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

_KNOWN = 3  # steps after which a mean replaces the estimate made before the start
_SHOWN = 20  # steps that the figures for a person are taken over


class Pace:
    """Seconds a step, of the two kinds of steps, over the recent past: other programs come and go.

    `took` is called after each step. Steps on small images are reckoned as the share of a full-sized step that they are
    (see `training.running.growing`). What passes between steps (evaluations, checkpoints) is shared out among all of
    them.

    Args:
        window: steps that the means are taken over.
        step_s: seconds of a whole step (not of the largest architecture alone) as estimated, until some were timed.
        clock: seconds.
    """

    def __init__(self, window: int, step_s: float | None, clock: Callable[[], float]) -> None:
        self._estimate_s = step_s
        self._whole: deque[float] = deque(maxlen=window)
        self._alone: deque[float] = deque(maxlen=window)
        self._shown: deque[tuple[float, float]] = deque(maxlen=_SHOWN)
        self._clock, self._begun = clock, clock()
        self._steps, self._steps_s = 0, 0.0

    def took(self, seconds: float, teacher_only: bool, waited_s: float = 0.0, work: float = 1.0) -> None:
        """A step was done: of the largest architecture alone or a whole one.

        Args:
            seconds: that it took.
            teacher_only: whether it was of the largest architecture alone.
            waited_s: seconds of it that were spent on waiting for images.
            work: as a share of a step on images of full size.
        """
        (self._alone if teacher_only else self._whole).append(seconds / work)
        self._shown.append((seconds, waited_s))
        self._steps += 1
        self._steps_s += seconds

    def steps_within(self, seconds: float, teacher_steps: int, work: float = 1.0) -> int | None:
        """How many steps `seconds` have room for, the first `teacher_steps` of the largest alone; None: unknown yet.

        `work` is the mean share of a full-sized step that they will be.
        """
        costs = self._costs(work)
        if costs is None:
            return None
        alone, whole = costs
        first = min(teacher_steps, int(seconds / alone))
        return first + int(max(0.0, seconds - first * alone) / whole)

    def _costs(self, work: float) -> tuple[float, float] | None:
        """Seconds from one step to the next, of the largest architecture alone and whole; None: unknown yet."""
        full = self._whole_s()
        if full is None:
            return None
        alone = sum(self._alone) / len(self._alone) if self._alone else full
        between = (self._clock() - self._begun - self._steps_s) / self._steps if self._steps else 0.0
        return alone * work + between, full * work + between

    def describe(self, batch_size: int) -> str:
        """Images a second, and the share of the time that was not spent on waiting for them."""
        total = sum(seconds for seconds, _ in self._shown)
        waited = sum(waited_s for _, waited_s in self._shown)
        return f"{batch_size * len(self._shown) / total:.0f} images/s, {1 - waited / total:.0%} busy"

    def _whole_s(self) -> float | None:
        known = len(self._whole)
        if known >= _KNOWN or (known and self._estimate_s is None):
            return sum(self._whole) / known
        return self._estimate_s
