"""The training loop: epochs over batches, checkpoints, time limit. What a step minimises is an `Objective`."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nas_edge.errors import ConfigError, StorageError, TrainingError
from nas_edge.progress import Progress, silent
from nas_edge.training.running.average import WeightAverage
from nas_edge.training.running.checkpoint import Position
from nas_edge.training.running.device import memory_told, uses_bf16
from nas_edge.training.running.growing import mean_work
from nas_edge.training.running.history import HISTORY, History
from nas_edge.training.running.memory import keep_freed_memory
from nas_edge.training.running.pace import Pace
from nas_edge.training.running.stepping import CHECKPOINT, Diverged, Run, Setting
from nas_edge.training.running.stopping import StopRequest, stop_request
from nas_edge.training.running.work import Work
from nas_edge.training.together.workers import Workers
from nas_edge.units import format_duration

__all__ = ["CHECKPOINT", "HISTORY", "Setting", "Trained", "train", "uses_bf16"]

_SAVE_EVERY_S = 300.0  # within an epoch
_FITS = 20  # an epoch, of the end to the time limit
_WINDOW = 2  # epochs that the present speed is taken from
_GOES_ON = "training goes on, saving is tried again"
_ATTEMPTS = 3  # returns to an earlier state when the loss is not finite


@dataclass(frozen=True)
class Trained:
    """What a run left behind.

    Attributes:
        epochs, steps: completed.
        seconds: of training in all, earlier sittings included.
        cut_short: whether the time limit moved the end.
        saved: whether the end of it lies in the checkpoint; the disk may have been full.
    """

    epochs: int
    steps: int
    seconds: float
    cut_short: bool
    saved: bool = True


def train(
    setting: Setting,
    *,
    time_limit_s: float | None = None,
    after_epoch: Callable[[int, WeightAverage], dict[str, float]] | None = None,
    progress: Progress = silent,
) -> Trained:
    """Train until the recipe's end or the time limit, resuming a checkpoint in `setting.out` if there is one.

    Every step draws from generators seeded by (seed, step) alone, so a run that was killed and resumed gives the
    same weights, bit for bit on one process. With a time limit the end is moved by measured speed instead. A loss, a
    gradient or weights that are not finite bring back the last checkpoint; from there on other numbers are drawn, at
    half the learning rate. A disk that is full, or can no longer be written, is told, and training goes on. Ctrl-C
    saves after the step under way.

    Args:
        setting: what is trained on what. Its net gets the averaged weights in the end.
        time_limit_s: seconds for the whole run; the schedule is fitted to it.
        after_epoch: evaluates; its figures go to `history.csv` and TensorBoard's event file.
        progress: told of epochs, loss and time left.

    Raises:
        TrainingError: the loss is not finite in spite of several tries; another recipe; too few images for a batch.
        KeyboardInterrupt: Ctrl-C; all is saved.
    """
    net = setting.net
    keep_freed_memory()
    workers = Workers.present()

    def note(text: str) -> None:
        if workers.speaks:
            progress(0, 1, text)

    with memory_told(setting.recipe, setting.side, workers.count):
        run = Run(setting)
        at = run.resume(note)
    if run.steps_per_epoch < 1:
        raise TrainingError(
            f"{len(setting.dataset.train)} training images do not fill a batch of {setting.recipe.batch_size};"
            " lower batch_size"
        )
    sitting = _Sitting(run, at, time_limit_s, progress)
    sitting.estimate()
    with stop_request() as stop:
        while not sitting.finished:
            try:
                loss = sitting.epoch(stop)
            except Diverged as error:
                sitting.roll_back(error)
                continue
            evaluates = after_epoch if run.workers.speaks else None
            figures = {"loss": loss, **(evaluates(sitting.at.epoch, run.average) if evaluates else {})}
            net.train()
            sitting.close_epoch(figures)
        if run.workers.mean(float(stop.asked))[0]:  # while the last epoch was looked at; what follows takes time, too
            raise sitting.stopped()
    net.load_state_dict(run.average.state, strict=False)
    run.close()
    at, planned = sitting.at, setting.recipe.epochs * run.steps_per_epoch
    return Trained(at.epoch, at.step, at.seconds, at.step < planned, sitting.saved)


class _Sitting:
    """A stretch of one run in one process: where it stands, and what is kept of it when.

    Attributes:
        at: the present position.
        horizon: the end, as far as it is known.
        saved: whether the last attempt to save succeeded.
    """

    def __init__(self, run: Run, at: Position, time_limit_s: float | None, progress: Progress) -> None:
        self.run, self.at, self.time_limit_s, self.progress = run, at, time_limit_s, progress
        self.horizon = at.horizon
        self.history = History(run.setting.out, at.step)
        self.begun, self.before_s = time.monotonic(), at.seconds
        self.saved, self.saved_at = True, self.begun
        self.pace = self.new_pace(None)
        self.work: Work | None = None

    @property
    def finished(self) -> bool:
        """Whether the last step is done."""
        return self.at.step >= self.horizon.total

    @property
    def seconds(self) -> float:
        """Of training so far, earlier sittings included."""
        return self.before_s + time.monotonic() - self.begun

    def estimate(self) -> None:
        """Before the first step: how long it will take, and a checkpoint to come back to."""
        if self.at.step:
            return
        with self.memory_told(self.run.setting.side):
            per_epoch = self.run.estimate_epoch_s()
        self.pace = self.new_pace(per_epoch / self.run.steps_per_epoch)
        self.fit()
        epochs = math.ceil(self.horizon.total / self.run.steps_per_epoch)
        whole_s = per_epoch * self.horizon.total / self.run.steps_per_epoch  # the last epoch may be cut short
        about = f"about {format_duration(whole_s)} for {epochs} epochs of {format_duration(per_epoch)}"
        self.tell(about)
        try:
            self.save()
        except Diverged as error:
            raise TrainingError(f"{error}: what training begins with cannot be used") from error
        self.run.workers.wait()

    def epoch(self, stop: StopRequest) -> float:
        """The rest of the epoch: its mean loss. Raises Diverged; KeyboardInterrupt, with all saved."""
        run, at = self.run, self.at
        recipe, per_epoch = run.setting.recipe, run.steps_per_epoch
        order = self.order(at.epoch)
        while at.step < min(self.horizon.total, (at.epoch + 1) * per_epoch):
            first = (at.step - at.epoch * per_epoch) * recipe.batch_size
            begun, waited_s = time.monotonic(), run.waited_s
            with self.memory_told(run.side(self.horizon.progress(at.step))):
                run.expect(self.following(order[first + recipe.batch_size :]))
                loss = run.step(at, self.horizon, order[first : first + recipe.batch_size])
            seconds, waited_s = time.monotonic() - begun, run.waited_s - waited_s
            work = (run.side(self.horizon.progress(at.step)) / run.setting.side) ** 2
            self.pace.took(seconds, run.teacher_only(at.step, self.horizon), waited_s, work)
            at = replace(at, step=at.step + 1, loss_total=at.loss_total + loss, losses=at.losses + 1)
            self.at = at
            self.tell(f"epoch {at.epoch + 1}, loss {loss:.3f}, {self.pace.describe(recipe.batch_size)}")
            long_ago = time.monotonic() - self.saved_at > _SAVE_EVERY_S
            stopped, due = run.workers.mean(float(stop.asked), float(long_ago))  # all processes save at the same step
            if stopped:
                self.save("the same command goes on from what was saved before")
                raise self.stopped()
            if due:
                self.save()
            if at.step % max(1, per_epoch // _FITS) == 0:
                self.fit()
        self.verify()
        mean = at.loss_total / max(1, at.losses)
        self.at = replace(at, epoch=at.epoch + 1, loss_total=0.0, losses=0)
        return mean

    def order(self, epoch: int) -> NDArray[np.int64]:
        """Of the images in an epoch."""
        return np.random.default_rng([self.run.setting.recipe.seed, 1, epoch]).permutation(len(self.run.labels))

    def following(self, rest: NDArray[np.int64]) -> NDArray[np.int64]:
        """The batch of the step after the present one, none after the last; `rest`: of the epoch's images."""
        size = self.run.setting.recipe.batch_size
        if self.at.step + 1 >= self.horizon.total:
            return rest[:0]
        return rest[:size] if len(rest) >= size else self.order(self.at.epoch + 1)[:size]

    def memory_told(self, side: int) -> AbstractContextManager[None]:
        """See `device.memory_told`, of images of a side."""
        return memory_told(self.run.setting.recipe, side, self.run.workers.count)

    def close_epoch(self, figures: dict[str, float]) -> None:
        """Fit the end to the time limit, write the history, save."""
        self.fit()
        if self.run.workers.speaks:
            self.keep(lambda: self.history.add(self.at.epoch, self.at.step, self.seconds, figures))
        self.save()

    def fit(self) -> None:
        """Move the end so that the rest fits into the time limit, never beyond the recipe's own end."""
        run, step = self.run, self.at.step
        if self.time_limit_s is None or self.finished:
            return
        affordable = self.pace.steps_within(max(0.0, self.time_limit_s - self.seconds), *self.to_come())
        if affordable is None:
            return
        total = max(step + 1, min(run.setting.recipe.epochs * run.steps_per_epoch, step + affordable))
        total = int(run.workers.first(total))
        if total != self.horizon.total:
            self.horizon = self.horizon.moved(step, total)

    def to_come(self) -> tuple[int, float]:
        """Of the steps to come: how many are of the largest alone, and the mean work of one (see `Pace.took`)."""
        run, recipe = self.run, self.run.setting.recipe
        progress = self.horizon.progress(self.at.step)
        work = mean_work(recipe.first_side, run.setting.side, recipe.growing_share, progress)
        return run.first(recipe.teacher_epochs).left(self.at.step, self.horizon), work

    def new_pace(self, step_s: float | None) -> Pace:
        """With nothing timed yet."""
        return Pace(max(_FITS, _WINDOW * self.run.steps_per_epoch), step_s, time.monotonic)

    def save(self, otherwise: str = _GOES_ON) -> None:
        """The checkpoint, whole; where it cannot be written, `otherwise` says what follows.

        Raises:
            Diverged: instead of replacing one that can be trained on by one that cannot.
        """
        self.verify()
        horizon = self.horizon
        self.at = replace(
            self.at, total=horizon.total, moved_at=horizon.step, fraction=horizon.fraction, seconds=self.seconds
        )
        self.saved = self.keep(lambda: self.run.save(self.at), otherwise)
        self.saved_at = time.monotonic()

    def keep(self, write: Callable[[], None], otherwise: str = _GOES_ON) -> bool:
        """Write, or say that it could not be done: hours of training outweigh a disk that fails for a while."""
        try:
            write()
        except (StorageError, ConfigError) as error:
            self.announce(f"not saved ({error}); {otherwise}")
            return False
        return True

    def verify(self) -> None:
        """Raise Diverged where the state is not finite; in all processes alike."""
        if not self.run.workers.first(float(self.run.finite())):
            raise Diverged("the weights are not finite", self.at.step)

    def roll_back(self, why: Diverged) -> None:
        """Back to the last checkpoint, with other random numbers and half the learning rate from there on."""
        attempt = self.at.attempt + 1
        if attempt > _ATTEMPTS:
            raise TrainingError(f"{why}, in spite of {_ATTEMPTS} returns to an earlier state; lower learning_rate")
        if not self.run.saved:
            raise TrainingError(f"{why}, and no checkpoint could be written; lower learning_rate")
        self.at = replace(self.run.resume(), attempt=attempt)
        self.horizon = self.at.horizon
        self.history.back_to(self.at.step)
        self.keep(lambda: self.run.save(self.at))  # it notes the attempt: a lower learning rate is then welcome
        self.announce(f"{why}: back to step {self.at.step}, at {0.5**attempt:g} of the learning rate")

    def stopped(self) -> KeyboardInterrupt:
        """For the end of a sitting on request, which is told."""
        self.announce(f"stopped after step {self.at.step} of {self.horizon.total}; the same command goes on")
        return KeyboardInterrupt()

    def announce(self, text: str) -> None:
        """What a person must not miss: progress shows what is said at the beginning of a stage for good."""
        if self.run.workers.speaks:
            self.progress(0, 1, text)

    def tell(self, text: str) -> None:
        """Progress: of the time, in epochs of equal length; steps differ in how long they take."""
        if not self.run.workers.speaks:
            return
        epochs = math.ceil(self.horizon.total / self.run.steps_per_epoch)
        self.progress(self.share() * epochs, epochs, text)

    def share(self) -> float:
        """Of the time that is over, 0..1: of the limit where that ends the run, else of the work."""
        run, recipe = self.run, self.run.setting.recipe
        if self.time_limit_s and self.horizon.total < recipe.epochs * run.steps_per_epoch:
            return min(1.0, self.seconds / self.time_limit_s)
        if self.work is None or self.work.horizon != self.horizon:
            self.work = Work(self.horizon, run.first(recipe.teacher_epochs), recipe, run.setting.side)
        return self.work.share(self.at.step)
