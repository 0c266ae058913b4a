"""One step of training: a batch, forward and backward, the optimiser."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from nas_edge.data import Dataset, Preprocess
from nas_edge.data.augment import cutmix, mixup
from nas_edge.errors import TrainingError
from nas_edge.supernet.synced_norm import synchronise_norms
from nas_edge.training.objectives.losses import Objective
from nas_edge.training.recipe import Recipe
from nas_edge.training.running.average import WeightAverage
from nas_edge.training.running.checkpoint import Position, load_checkpoint, save_checkpoint
from nas_edge.training.running.device import gradient_scaler, present_device, scale_gradients, uses_bf16
from nas_edge.training.running.feeding import Feed
from nas_edge.training.running.finite import all_finite
from nas_edge.training.running.growing import growing_side
from nas_edge.training.running.schedule import FirstEpochs, Horizon, learning_rate
from nas_edge.training.together.exchange import quickest_gather
from nas_edge.training.together.workers import Workers

__all__ = ["CHECKPOINT", "Diverged", "Run", "Setting", "uses_bf16"]

CHECKPOINT = "checkpoint.safetensors"
_TIMED_STEPS = 2  # measured before the start, for the estimate
_SEEDS_APART = 104_729


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
        device: where to compute, None for a GPU where there is one.
        whole: recipe of all phases, where this is one of several; noted in checkpoints.
    """

    net: nn.Module
    objective: Objective
    dataset: Dataset
    preprocess: Preprocess
    side: int
    recipe: Recipe
    out: Path
    device: torch.device | None = None
    whole: Recipe | None = None


class Diverged(Exception):
    """A loss, a gradient or weights that are not finite: training cannot go on from there."""

    def __init__(self, what: str, step: int) -> None:
        super().__init__(f"{what} at step {step}")


class Run:
    """State of one run: data in memory, optimiser, average.

    Attributes:
        device: where it computes.
        waited_s: seconds that this process has spent on making batches.
    """

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        recipe, net = setting.recipe, setting.net
        self.device = setting.device or present_device()
        net.to(self.device).train()
        self.workers = Workers.present()
        if recipe.batch_size % (self.workers.count * recipe.accumulate):
            raise TrainingError(
                f"batch_size {recipe.batch_size} cannot be shared by {self.workers.count} processes in"
                f" {recipe.accumulate} parts; choose a multiple"
            )
        if self.workers.count > 1:
            synchronise_norms(net, quickest_gather(self.workers.rank, self.workers.count))
        split = setting.dataset.train
        storage = round(setting.side * recipe.storage_scale)
        self.feed = Feed(split.images(setting.preprocess, storage), self.device)
        self.labels = torch.from_numpy(np.array(split.labels)).to(self.device)
        self.steps_per_epoch = len(self.labels) // recipe.batch_size
        self.parameters = [p for p in net.parameters() if p.requires_grad]
        self.frozen = [p for n, p in net.named_parameters() if not n.startswith("classifier.")]
        # Kernel matrices start as identities and norms as ones: decay would pull both away from that.
        named = [(n, p) for n, p in net.named_parameters() if p.requires_grad]
        decayed = [p for n, p in named if p.ndim > 1 and not n.endswith("_matrix")]
        free = [p for n, p in named if not (p.ndim > 1 and not n.endswith("_matrix"))]
        groups = [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": free, "weight_decay": 0.0}]
        self.optimiser = torch.optim.AdamW(groups, lr=recipe.learning_rate, fused=True)  # one pass over the memory
        self.average = WeightAverage(net, recipe.ema)
        self.scaler = gradient_scaler(recipe, self.device)
        self.scaling = scale_gradients(net, self.scaler.scale) if recipe.fp16 else None
        self.waited_s = 0.0

    def resume(self, told: Callable[[str], None] = lambda text: None) -> Position:
        """Where to go on: the place of process 0's checkpoint, or the beginning; `told` as in `load_checkpoint`."""
        net, recipe = self.setting.net, self.setting.recipe
        with self.workers.file(self.setting.out / CHECKPOINT) as path:
            if path is None:
                return Position(0, 0, recipe.epochs * self.steps_per_epoch, 0, 0.0, 0.0)
            return load_checkpoint(path, net, self.average, self.optimiser, recipe.to_dict(), self.scaler, told)

    @property
    def saved(self) -> bool:
        """Whether there is a checkpoint; all processes must ask at the same time."""
        return self.workers.first((self.setting.out / CHECKPOINT).exists()) > 0

    def save(self, position: Position) -> None:
        """Write the checkpoint, once for all processes. Raises StorageError, ConfigError."""
        if not self.workers.speaks:
            return
        path, recipe = self.setting.out / CHECKPOINT, self.setting.recipe.to_dict()
        whole = self.setting.whole.to_dict() if self.setting.whole else None
        save_checkpoint(path, self.setting.net, self.average, self.optimiser, position, recipe, self.scaler, whole)

    def estimate_epoch_s(self) -> float:
        """Seconds an epoch will take, from a few steps on a copy of the state that is put back."""
        net = self.setting.net
        kept = {name: tensor.clone() for name, tensor in net.state_dict().items()}
        indices = np.arange(self.setting.recipe.batch_size)
        self.backward(0, 0, indices, False, self.setting.side)  # first use compiles kernels
        self.settle()
        start = time.monotonic()
        for i in range(_TIMED_STEPS):
            self.backward(i, 0, indices, False, self.setting.side)
        self.settle()
        seconds = (time.monotonic() - start) / _TIMED_STEPS * self.steps_per_epoch
        net.load_state_dict(kept)
        self.optimiser.zero_grad()
        return seconds

    def settle(self) -> None:
        """Wait until a GPU has done what it was told."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def expect(self, indices: NDArray[np.int64]) -> None:
        """Tell of the batch after the next step's, so that its images are fetched meanwhile, where they are."""
        self.feed.expect(self.workers.part(indices))

    def close(self) -> None:
        """Leave the network as it came, on the CPU, and a GPU's memory to others."""
        self.feed.close()
        if self.scaling is not None:
            self.scaling.remove()
        self.setting.net.to("cpu")
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def first(self, epochs: float) -> FirstEpochs:
        """The first epochs of the run."""
        return FirstEpochs.of(epochs, self.setting.recipe.epochs, self.steps_per_epoch)

    def teacher_only(self, step: int, horizon: Horizon) -> bool:
        """Whether a step trains the largest architecture alone."""
        return self.first(self.setting.recipe.teacher_epochs).includes(step, horizon)

    def side(self, progress: float) -> int:
        """Of the batches at some progress, in pixels."""
        recipe = self.setting.recipe
        return growing_side(recipe.first_side, self.setting.side, recipe.growing_share, progress)

    def step(self, at: Position, horizon: Horizon, indices: NDArray[np.int64]) -> float:
        """One optimiser step on the images of a batch: its loss. Raises Diverged."""
        recipe = self.setting.recipe
        rate = learning_rate(recipe.learning_rate, at.step, self.first(recipe.warmup_epochs), horizon)
        for group in self.optimiser.param_groups:
            group["lr"] = rate * 0.5**at.attempt
        side = self.side(horizon.progress(at.step))
        loss = self.backward(at.step, at.attempt, indices, self.teacher_only(at.step, horizon), side)
        self.workers.mean_gradients(self.parameters)
        (loss,) = self.workers.mean(loss)
        if not math.isfinite(loss):
            self.optimiser.zero_grad()
            raise Diverged(f"the loss is {loss}", at.step)
        if self.first(recipe.freeze_epochs).includes(at.step, horizon):
            for parameter in self.frozen:
                parameter.grad = None  # the optimiser passes it over
        if not self.scaler.is_enabled() and not self._finite_gradients():
            self.optimiser.zero_grad()
            raise Diverged("a gradient is not finite", at.step)
        if recipe.clip_norm:
            self.scaler.unscale_(self.optimiser)
            nn.utils.clip_grad_norm_(self.parameters, recipe.clip_norm)
        self.scaler.step(self.optimiser)  # passed over where gradients overflowed
        self.scaler.update()
        self.optimiser.zero_grad()
        self.average.update(self.setting.net)
        return loss

    def finite(self) -> bool:
        """Whether weights, their average and the optimiser's state can be trained on."""
        moments = (each for state in self.optimiser.state.values() for each in state.values())
        return all_finite([*self.setting.net.state_dict().values(), *self.average.state.values(), *moments])

    def _finite_gradients(self) -> bool:
        """After any not-a-number in them, all weights would be none; a single subnet's may spoil what all share."""
        return all_finite([p.grad for p in self.parameters if p.grad is not None])

    def backward(self, step: int, attempt: int, indices: NDArray[np.int64], teacher_only: bool, side: int) -> float:
        """Forward and backward of this process's share of a batch at a side, part by part: the mean loss."""
        recipe = self.setting.recipe
        seed = (recipe.seed + _SEEDS_APART * (attempt + 10 * self.workers.rank)) * 1_000_003 + step
        torch.manual_seed(seed)  # dropout and drop-connect
        generator = torch.Generator().manual_seed(seed)
        draws = [recipe.seed, 2, step, *([attempt] if attempt else [])]  # of architectures: the same in every process
        share = self.workers.part(indices)
        begun = time.monotonic()
        pictures = self.feed.take(share)
        self.waited_s += time.monotonic() - begun
        losses = []
        for places in np.array_split(np.arange(len(share)), recipe.accumulate):
            labels = self.labels[torch.from_numpy(share[places]).to(self.device)]
            part = pictures[int(places[0]) : int(places[-1]) + 1]
            losses.append(self._part(part, labels, teacher_only, np.random.default_rng(draws), generator, side))
        if recipe.accumulate > 1:
            for parameter in self.parameters:
                if parameter.grad is not None:
                    parameter.grad /= recipe.accumulate
        return float(np.mean(losses))

    def _part(
        self,
        pictures: NDArray[np.uint8] | Tensor,
        labels: Tensor,
        teacher_only: bool,
        rng: np.random.Generator,
        generator: torch.Generator,
        side: int,
    ) -> float:
        recipe, setting = self.setting.recipe, self.setting
        begun = time.monotonic()
        images = recipe.augmentation.apply(pictures, side, setting.preprocess, generator)
        targets = F.one_hot(labels, len(setting.dataset.classes)).float()
        images, targets = _blended(images, targets, recipe, rng, generator)
        self.waited_s += time.monotonic() - begun
        return setting.objective.backward(images, targets, teacher_only, rng)


def _blended(
    images: Tensor, targets: Tensor, recipe: Recipe, rng: np.random.Generator, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Mixup or cutmix; where the recipe has both, one of them at a coin's toss."""
    if recipe.cutmix and (not recipe.mixup or rng.random() < 0.5):
        return cutmix(images, targets, recipe.cutmix, generator)
    return mixup(images, targets, recipe.mixup, generator)
