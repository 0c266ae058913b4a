"""Fine-tuning one subnet on its own, from the weights it inherited: as it is, or for int8."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from nas_edge.data import Dataset, Preprocess
from nas_edge.data.calibration import choose_calibration
from nas_edge.progress import Progress, silent
from nas_edge.spaces.onnx_quantise import CANONICAL, QdqForm, Ranges
from nas_edge.supernet.recalibrate import recalibrate
from nas_edge.supernet.static import StaticNet
from nas_edge.training.measuring.evaluate import Evaluator
from nas_edge.training.objectives.losses import Single
from nas_edge.training.recipe import Recipe
from nas_edge.training.running.loop import Setting, Trained, train, uses_bf16
from nas_edge.training.single.fake_quantised import FakeQuantised, unfold

_RATE = 0.2  # of the supernet's learning rate: the weights are nearly right already
_INT8_RATE = 0.1  # of that: without batch norms a step goes further


def finetune_recipe(recipe: Recipe, epochs: int, seed: int) -> Recipe:
    """The supernet's recipe for one inherited network: a lower peak, no teacher phase, little drop-connect.

    Nothing of it is frozen, its head knows the classes already; float16 was for the GPU that trained the supernet.
    """
    return replace(
        recipe,
        epochs=epochs,
        teacher_epochs=0,
        freeze_epochs=0,
        phases=(),
        random_subnets=0,
        learning_rate=recipe.learning_rate * _RATE,
        warmup_epochs=min(recipe.warmup_epochs, epochs / 4),
        drop_connect=recipe.drop_connect / 2,
        ema=0.98,
        bf16=None,
        fp16=False,
        first_side=0,
        seed=seed,
    )


def finetune_for_int8(
    subnet: StaticNet,
    dataset: Dataset,
    preprocess: Preprocess,
    recipe: Recipe,
    out: Path,
    *,
    ranges: Ranges,
    form: QdqForm = CANONICAL,
    time_limit_s: float | None = None,
    progress: Progress = silent,
) -> tuple[StaticNet, Trained]:
    """Train the folded weights of `subnet` while they and all activations are rounded as in its int8 file.

    Returned as the same network with batch norms that do nothing, in evaluation mode: folded and quantised again it is
    what was trained, but for the ranges, which are observed anew.

    Args:
        subnet: recalibrated; changed in place.
        dataset: only its train split is read.
        preprocess: from pictures to numbers.
        recipe: from `finetune_recipe`; drop-connect and dropout play no part.
        out: directory of the checkpoint.
        ranges: of activations, observed on the float model.
        form: of the int8 file.
        time_limit_s: as in `training.running.loop.train`.
        progress: told how far it is.

    Raises:
        TrainingError, FormatError: see `training.running.loop.train`.
    """
    gentle = replace(recipe, learning_rate=recipe.learning_rate * _INT8_RATE, weight_decay=0.0, bf16=False)
    net = FakeQuantised(subnet, ranges, form)
    objective = Single(net, net.resolution, gentle, bf16=False)
    setting = Setting(net, objective, dataset, preprocess, net.resolution, gentle, out, torch.device("cpu"))
    done = train(setting, time_limit_s=time_limit_s, progress=progress)
    unfold(subnet, net.weights())
    return subnet.eval(), done


def finetune(
    subnet: StaticNet,
    dataset: Dataset,
    preprocess: Preprocess,
    recipe: Recipe,
    out: Path,
    *,
    time_limit_s: float | None = None,
    progress: Progress = silent,
) -> tuple[StaticNet, Trained]:
    """Train `subnet` in place, or go on from `out`; returned in evaluation mode, averaged weights.

    Raises:
        TrainingError, FormatError: see `training.running.loop.train`.
    """
    subnet.drop_branches(recipe.drop_connect)
    side = subnet.resolution
    objective = Single(subnet, side, recipe, uses_bf16(recipe))
    done = train(
        Setting(subnet, objective, dataset, preprocess, side, recipe, out),
        time_limit_s=time_limit_s,
        progress=progress,
    )
    # Averaging leaves running figures behind the weights: measure them anew.
    recalibrate(subnet, Evaluator(choose_calibration(dataset.train, recipe.seed), preprocess).calibration_batches(side))
    return subnet, done
