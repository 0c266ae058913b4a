"""The training loop: epochs over batches, checkpoints, time limit. What a step minimises is an `Objective`."""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas_edge.data import Dataset, Preprocess
from nas_edge.data.augment import cutmix, mixup
from nas_edge.errors import TrainingError
from nas_edge.progress import Progress, silent
from nas_edge.training.average import WeightAverage
from nas_edge.training.checkpoint import Position, load_checkpoint, save_checkpoint
from nas_edge.training.losses import Objective
from nas_edge.training.memory import keep_freed_memory
from nas_edge.training.recipe import Recipe
from nas_edge.training.schedule import Horizon, learning_rate
from nas_edge.units import format_duration

CHECKPOINT = "checkpoint.safetensors"
HISTORY = "history.csv"
_TIMED_STEPS = 2  # measured before the start, for the estimate


@dataclass(frozen=True)
class Trained:
    """What a run left behind.

    Attributes:
        epochs, steps: completed.
        seconds: of training in all, earlier sittings included.
        cut_short: whether the time limit moved the end.
    """

    epochs: int
    steps: int
    seconds: float
    cut_short: bool


@dataclass(frozen=True)
class Setting:
    """What is trained on what.

    Attributes:
        net: the supernet or a single network; its weights change in place.
        objective: what a step minimises.
        dataset: only its train split is read here.
        preprocess: from pictures to numbers.
        side: resolution of the batches that the objective gets, in pixels.
        recipe: everything else.
        out: directory of checkpoint and history.
    """

    net: nn.Module
    objective: Objective
    dataset: Dataset
    preprocess: Preprocess
    side: int
    recipe: Recipe
    out: Path


def uses_bf16(recipe: Recipe) -> bool:
    """Whether to compute in bfloat16: as the recipe says, else not, for it does not pay.

    This version trains on CPUs. Even on those with instructions for it, depthwise convolutions make a step of these
    networks slower in bfloat16 than in float32 (`tests/benchmarks/test_training_step.py` prints both).
    """
    return bool(recipe.bf16)


def train(
    setting: Setting,
    *,
    time_limit_s: float | None = None,
    after_epoch: Callable[[int, WeightAverage], dict[str, float]] | None = None,
    progress: Progress = silent,
) -> Trained:
    """Train until the recipe's end or the time limit, resuming a checkpoint in `setting.out` if there is one.

    Every step draws from generators seeded by (seed, step) alone, so a run that was killed and resumed gives the
    same weights, bit for bit on one process. With a time limit the end is moved by measured speed instead.

    Args:
        setting: what is trained on what. Its net gets the averaged weights in the end.
        time_limit_s: seconds for the whole run; the schedule is fitted to it.
        after_epoch: evaluates; its figures go to `history.csv`.
        progress: told of epochs, loss and time left.

    Raises:
        TrainingError: the loss is not finite twice in a row; another recipe; too few images for a batch.
    """
    recipe, net = setting.recipe, setting.net
    keep_freed_memory()
    run = _Run(setting)
    if run.steps_per_epoch < 1:
        raise TrainingError(
            f"{len(setting.dataset.train)} training images do not fill a batch of {recipe.batch_size}; lower batch_size"
        )
    start = time.monotonic()
    position, horizon = run.resume()
    if position.epoch == 0:
        per_epoch = run.estimate_epoch_s()
        horizon = _fit(horizon, run, 0, per_epoch, time_limit_s, position.seconds)
        epochs = math.ceil(horizon.total / run.steps_per_epoch)
        progress(
            0,
            epochs,
            f"about {format_duration(per_epoch * epochs)} for {epochs} epochs of {format_duration(per_epoch)}",
        )
    elapsed = position.seconds
    lasted: list[float] = []
    epoch, step = position.epoch, position.step
    while step < horizon.total:
        loss, step = run.epoch(epoch, step, horizon, progress)
        epoch += 1
        figures = {"loss": loss, **(after_epoch(epoch, run.average) if after_epoch else {})}
        net.train()
        lasted.append(position.seconds + time.monotonic() - start - elapsed)
        elapsed += lasted[-1]
        if time_limit_s is not None and step < horizon.total:
            # The last few epochs say best how fast the machine is now; other programs come and go.
            horizon = _fit(horizon, run, step, float(np.mean(lasted[-3:])), time_limit_s, elapsed)
        where = Position(epoch, step, horizon.total, horizon.step, horizon.fraction, elapsed)
        run.save(where, figures)
    net.load_state_dict(run.average.state, strict=False)
    planned = recipe.epochs * run.steps_per_epoch
    return Trained(epoch, step, elapsed, step < planned)


def _fit(horizon: Horizon, run: _Run, step: int, epoch_s: float, limit_s: float | None, elapsed: float) -> Horizon:
    """Move the end so that the rest fits into the time limit, never beyond the recipe's own end."""
    planned = run.setting.recipe.epochs * run.steps_per_epoch
    if limit_s is None:
        return horizon
    affordable = step + int(max(0.0, limit_s - elapsed) / epoch_s * run.steps_per_epoch)
    total = max(step + 1, min(planned, affordable))
    return horizon if total == horizon.total else horizon.moved(step, total)


class _Run:
    """State of one run: data in memory, optimiser, average."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        recipe, net = setting.recipe, setting.net
        net.train()
        split = setting.dataset.train
        storage = round(setting.side * recipe.storage_scale)
        self.images = split.images(setting.preprocess, storage)
        self.labels = torch.from_numpy(np.array(split.labels))
        self.steps_per_epoch = len(self.images) // recipe.batch_size
        self.parameters = [p for p in net.parameters() if p.requires_grad]
        # Kernel matrices start as identities and norms as ones: decay would pull both away from that.
        named = [(n, p) for n, p in net.named_parameters() if p.requires_grad]
        decayed = [p for n, p in named if p.ndim > 1 and not n.endswith("_matrix")]
        free = [p for n, p in named if not (p.ndim > 1 and not n.endswith("_matrix"))]
        groups = [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": free, "weight_decay": 0.0}]
        self.optimiser = torch.optim.AdamW(groups, lr=recipe.learning_rate)
        self.average = WeightAverage(net, recipe.ema)

    def resume(self) -> tuple[Position, Horizon]:
        """Where to go on: a checkpoint's place, or the beginning."""
        path = self.setting.out / CHECKPOINT
        total = self.setting.recipe.epochs * self.steps_per_epoch
        if not path.exists():
            return Position(0, 0, total, 0, 0.0, 0.0), Horizon(total)
        recipe = self.setting.recipe.to_dict()
        position = load_checkpoint(path, self.setting.net, self.average, self.optimiser, recipe)
        return position, Horizon(position.total, position.moved_at, position.fraction)

    def save(self, position: Position, figures: dict[str, float]) -> None:
        """One line of history, then the checkpoint."""
        history = self.setting.out / HISTORY
        new = not history.exists()
        with open(history, "a", newline="", encoding="utf-8") as handle:
            writer = csv.writer(handle)
            if new:
                writer.writerow(["epoch", "step", "seconds", *figures])
            writer.writerow(
                [position.epoch, position.step, f"{position.seconds:.1f}"] + [f"{v:.5f}" for v in figures.values()]
            )
        path = self.setting.out / CHECKPOINT
        save_checkpoint(path, self.setting.net, self.average, self.optimiser, position, self.setting.recipe.to_dict())

    def estimate_epoch_s(self) -> float:
        """Seconds an epoch will take, from a few steps on a copy of the state that is put back."""
        net = self.setting.net
        kept = {name: tensor.clone() for name, tensor in net.state_dict().items()}
        self.backward(0, np.arange(self.setting.recipe.batch_size), False)  # first use compiles kernels
        start = time.monotonic()
        for i in range(_TIMED_STEPS):
            self.backward(i, np.arange(self.setting.recipe.batch_size), False)
        seconds = (time.monotonic() - start) / _TIMED_STEPS * self.steps_per_epoch
        net.load_state_dict(kept)
        self.optimiser.zero_grad()
        return seconds

    def epoch(self, epoch: int, step: int, horizon: Horizon, progress: Progress) -> tuple[float, int]:
        """One pass: (mean loss, step reached)."""
        recipe = self.setting.recipe
        order = np.random.default_rng([recipe.seed, 1, epoch]).permutation(len(self.images))
        teacher_only = epoch < recipe.teacher_epochs
        epochs = math.ceil(horizon.total / self.steps_per_epoch)
        losses: list[float] = []
        bad = 0
        for batch in range(self.steps_per_epoch):
            if step >= horizon.total:
                break
            rate = learning_rate(recipe.learning_rate, step, recipe.warmup_epochs * self.steps_per_epoch, horizon)
            for group in self.optimiser.param_groups:
                group["lr"] = rate
            loss = self.backward(step, order[batch * recipe.batch_size : (batch + 1) * recipe.batch_size], teacher_only)
            step += 1
            if not math.isfinite(loss):
                bad += 1
                if bad > 1:
                    raise TrainingError(f"the loss is {loss} at step {step}; lower learning_rate, or set bf16: false")
                self.optimiser.zero_grad()
                continue
            bad = 0
            if recipe.clip_norm:
                nn.utils.clip_grad_norm_(self.parameters, recipe.clip_norm)
            self.optimiser.step()
            self.optimiser.zero_grad()
            self.average.update(self.setting.net)
            losses.append(loss)
            progress(step / self.steps_per_epoch, epochs, f"epoch {epoch + 1}, loss {loss:.3f}")
        return float(np.mean(losses)) if losses else math.nan, step

    def backward(self, step: int, indices: np.ndarray[tuple[int], np.dtype[np.int64]], teacher_only: bool) -> float:
        """Forward and backward of one batch."""
        recipe = self.setting.recipe
        torch.manual_seed(recipe.seed * 1_000_003 + step)  # dropout and drop-connect
        generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + step)
        rng = np.random.default_rng([recipe.seed, 2, step])
        setting = self.setting
        images = recipe.augmentation.apply(self.images[indices], setting.side, setting.preprocess, generator)
        targets = F.one_hot(self.labels[torch.from_numpy(indices)], len(setting.dataset.classes)).float()
        images, targets = _blended(images, targets, recipe, rng, generator)
        return self.setting.objective.backward(images, targets, teacher_only, rng)


def _blended(
    images: Tensor, targets: Tensor, recipe: Recipe, rng: np.random.Generator, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Mixup or cutmix; where the recipe has both, one of them at a coin's toss."""
    if recipe.cutmix and (not recipe.mixup or rng.random() < 0.5):
        return cutmix(images, targets, recipe.cutmix, generator)
    return mixup(images, targets, recipe.mixup, generator)
