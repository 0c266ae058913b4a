"""Progressive shrinking: the objective of one of its phases (Once-for-All, Cai et al., ICLR 2020)."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from nas_edge.supernet.supernet import Supernet
from nas_edge.training.objectives.batches import resize_batch
from nas_edge.training.objectives.losses import distillation, soft_cross_entropy
from nas_edge.training.objectives.phases import Phase, space_of
from nas_edge.training.objectives.teacher import Teacher
from nas_edge.training.recipe import Recipe
from nas_edge.training.running.device import autocast


class Shrinking:
    """A few subnets of a phase's space a step, all at one random resolution, their gradients added.

    Each learns from the labels and, once there is a teacher (the largest network as it was after its own phase), from
    that one's answers with weight 1; the two losses are averaged. The largest alone has drop-connect and dropout.
    """

    def __init__(self, net: Supernet, phase: Phase, recipe: Recipe, bf16: bool, teacher: Teacher | None = None) -> None:
        self.net, self.phase, self.recipe, self.bf16, self.teacher = net, phase, recipe, bf16, teacher
        self.space = space_of(phase, net.space)
        self.column = self.space.columns["r"]

    def backward(self, images: Tensor, targets: Tensor, teacher_only: bool, rng: np.random.Generator) -> float:
        """See `Objective`; `teacher_only` changes nothing: phases say what is trained."""
        with autocast(images, self.recipe, self.bf16):
            soft = self.teacher.probabilities(images) if self.teacher is not None else None
        archs = self.space.sample(self.phase.subnets, rng)
        archs[:, self.column] = archs[0, self.column]
        side = min(self.net.template.resolutions[int(archs[0, self.column]) - 1], images.shape[-1])
        batch = resize_batch(images, side)
        regular = self.recipe if self.phase.largest_only else None
        drop, dropout = (regular.drop_connect, regular.dropout) if regular else (0.0, 0.0)
        total = 0.0
        for arch in archs:
            with autocast(images, self.recipe, self.bf16):
                logits = self.net(batch, arch, drop, dropout).float()
            loss = soft_cross_entropy(logits, targets, self.recipe.label_smoothing)
            if soft is not None:
                loss = (loss + distillation(logits, soft, self.recipe.distillation)) / 2
            loss.backward()  # type: ignore[no-untyped-call]
            total += float(loss.detach())
        return total / len(archs)
