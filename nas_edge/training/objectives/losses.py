"""What a step minimises: the sandwich of a supernet, or one network alone."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas_edge.spaces import Population
from nas_edge.supernet.supernet import Supernet
from nas_edge.training.objectives.batches import resize_batch
from nas_edge.training.objectives.divergence import adaptive_alpha_loss
from nas_edge.training.objectives.teacher import Teacher
from nas_edge.training.recipe import Distillation, Recipe
from nas_edge.training.running.device import autocast


class Objective(Protocol):
    """Runs forward and backward for one batch; gradients add up in the network's parameters."""

    def backward(self, images: Tensor, targets: Tensor, teacher_only: bool, rng: np.random.Generator) -> float:
        """Loss of the largest (or only) network; one that is not finite where any network's is not.

        Args:
            images: normalised float [n, 3, s, s] at the largest resolution, or smaller while a run's batches grow.
            targets: class probabilities float [n, classes].
            teacher_only: train the largest architecture alone.
            rng: draws the random architectures.
        """


def soft_cross_entropy(logits: Tensor, targets: Tensor, smoothing: float = 0.0) -> Tensor:
    """Cross entropy against probabilities, mean over the batch; both float [n, classes]."""
    return F.cross_entropy(logits.float(), targets, label_smoothing=smoothing)


def distillation(logits: Tensor, soft: Tensor, kind: Distillation) -> Tensor:
    """Loss of a student's logits against a teacher's probabilities, both float [n, classes]; mean over the batch."""
    return adaptive_alpha_loss(logits, soft) if kind == Distillation.ALPHA else soft_cross_entropy(logits, soft)


class Sandwich:
    """Largest, smallest and random architectures a step; the largest teaches the others (BigNAS, Yu et al. 2020).

    The largest learns from labels with drop-connect and dropout; the others from its softened answers on the same
    images, each at its own resolution, without regularisation. Where there is a teacher from outside, `teacher_weight`
    of what the largest learns from are that one's answers.
    """

    def __init__(self, net: Supernet, recipe: Recipe, bf16: bool, teacher: Teacher | None = None) -> None:
        self.net, self.recipe, self.bf16, self.teacher = net, recipe, bf16, teacher
        space = net.space
        self.largest, self.smallest = space.largest(), space.smallest()
        self.column = space.columns["r"]

    def _forward(self, images: Tensor, arch: Population, largest: bool) -> Tensor:
        side = min(self.net.template.resolutions[int(arch[self.column]) - 1], images.shape[-1])
        x = resize_batch(images, side)
        drop, dropout = (self.recipe.drop_connect, self.recipe.dropout) if largest else (0.0, 0.0)
        with autocast(images, self.recipe, self.bf16):
            logits: Tensor = self.net(x, arch, drop, dropout)
        return logits.float()

    def backward(self, images: Tensor, targets: Tensor, teacher_only: bool, rng: np.random.Generator) -> float:
        """See `Objective`."""
        if self.teacher is not None:
            with autocast(images, self.recipe, self.bf16):
                answers = self.teacher.probabilities(images)
            targets = torch.lerp(targets, answers, self.recipe.teacher_weight)
        logits = self._forward(images, self.largest, True)
        loss = soft_cross_entropy(logits, targets, self.recipe.label_smoothing)
        loss.backward()  # type: ignore[no-untyped-call]
        shown = whole = loss.detach()
        if not teacher_only:
            soft = logits.detach().softmax(dim=1)
            others = [self.smallest, *self.net.space.sample(self.recipe.random_subnets, rng)]
            for arch in others:
                loss_of_one = distillation(self._forward(images, arch, False), soft, self.recipe.distillation)
                loss_of_one.backward()  # type: ignore[no-untyped-call]
                whole = whole + loss_of_one.detach()
        return float(torch.where(whole.isfinite(), shown, whole))


class Single:
    """One network alone, against labels and, where given, a teacher's answers."""

    def __init__(self, net: nn.Module, side: int, recipe: Recipe, bf16: bool) -> None:
        self.net, self.side, self.recipe, self.bf16 = net, side, recipe, bf16

    def backward(self, images: Tensor, targets: Tensor, teacher_only: bool, rng: np.random.Generator) -> float:
        """See `Objective`; `teacher_only` and `rng` change nothing."""
        with autocast(images, self.recipe, self.bf16):
            logits = self.net(resize_batch(images, min(self.side, images.shape[-1])))
        loss = soft_cross_entropy(logits, targets, self.recipe.label_smoothing)
        loss.backward()  # type: ignore[no-untyped-call]
        return float(loss.detach())
