"""One architecture trained from scratch as a plain network: what it reaches without the supernet's weights.

The loop, the data and the recipe are the supernet's; nothing elastic is left: no other architecture, no distillation,
no phases. The epoch that answers the search split best is kept, the same choice that a person makes who trains one
network.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from nas_edge.data import Dataset, Preprocess
from nas_edge.errors import NasEdgeError
from nas_edge.progress import Progress, silent
from nas_edge.spaces import Population, SearchSpace
from nas_edge.supernet.recalibrate import recalibrate
from nas_edge.supernet.static import StaticNet
from nas_edge.supernet.supernet import initialise
from nas_edge.supernet.weights import to_stored_precision, write_tensors
from nas_edge.training.measuring.evaluate import Evaluator
from nas_edge.training.objectives.losses import Single
from nas_edge.training.recipe import Recipe
from nas_edge.training.running.average import WeightAverage
from nas_edge.training.running.device import present_device
from nas_edge.training.running.loop import CHECKPOINT, Setting, Trained, train, uses_bf16

BEST = "best.safetensors"


def alone_recipe(recipe: Recipe, epochs: int | None, seed: int) -> Recipe:
    """A supernet's recipe for one network: the same but for what only a supernet has.

    Args:
        recipe: of the supernet. Of progressive shrinking the learning rate and warm-up of the first phase, which
            trains one network, and the epochs of all phases are taken.
        epochs: None for the recipe's own.
        seed: of everything random.
    """
    own = recipe
    if recipe.phases:
        first, total = recipe.phases[0], sum(phase.epochs for phase in recipe.phases)
        own = replace(recipe, epochs=total, learning_rate=first.learning_rate, warmup_epochs=first.warmup_epochs)
    epochs = own.epochs if epochs is None else epochs
    return replace(
        own, epochs=epochs, warmup_epochs=min(own.warmup_epochs, epochs / 4), teacher_epochs=0, freeze_epochs=0,
        phases=(), random_subnets=0, bf16=None, seed=seed,
    )  # fmt: skip


def fresh_network(space: SearchSpace, arch: Population, num_classes: int, recipe: Recipe) -> StaticNet:
    """An architecture (int8 [genes]) with random weights, drawn as a supernet's are, regularised as the recipe says."""
    torch.manual_seed(recipe.seed)
    net = StaticNet.of(space, arch, num_classes)
    initialise(net)
    net.dropout = recipe.dropout
    net.drop_branches(recipe.drop_connect)
    return net


@dataclass(frozen=True)
class Alone:
    """A network that was trained alone.

    Attributes:
        net: with the weights of the best epoch, rounded to float16, in evaluation mode.
        trained: what the loop did.
        epoch: whose weights were kept.
        accuracy: on the search split, plain view, 0..1: the figure that the epoch was chosen by.
    """

    net: StaticNet
    trained: Trained
    epoch: int
    accuracy: float


def train_alone(
    net: StaticNet,
    dataset: Dataset,
    preprocess: Preprocess,
    recipe: Recipe,
    evaluator: Evaluator,
    out: Path,
    *,
    time_limit_s: float | None = None,
    progress: Progress = silent,
) -> Alone:
    """Train a network, or go on from `out`; the averaged weights of the best epoch are returned.

    Args:
        net: from `fresh_network`; changed in place.
        dataset: weights are fitted to the train split, the epoch is chosen on the search split.
        preprocess: from pictures to numbers.
        recipe: from `alone_recipe`.
        evaluator: recalibrates batch norms: averaging weights leaves their running figures behind.
        out: directory of checkpoint, history and best weights.
        time_limit_s: as in `training.running.loop.train`.
        progress: told how far it is.

    Raises:
        TrainingError, FormatError: see `training.running.loop.train`.
    """
    if not (out / CHECKPOINT).exists():  # nothing to go on from: the best of another training is none of this one
        with suppress(OSError):
            (out / BEST).unlink(missing_ok=True)
    best = _BestEpoch(net, dataset, evaluator.on(present_device()), out / BEST, progress)
    setting = Setting(
        net, Single(net, net.resolution, recipe, uses_bf16(recipe)), dataset, preprocess, net.resolution, recipe, out
    )
    done = train(setting, time_limit_s=time_limit_s, after_epoch=best, progress=progress)
    if not best.state:  # finished in an earlier sitting, whose best weights were lost
        best.look(done.epochs, net.state_dict())
    net.load_state_dict(best.state, strict=False)
    to_stored_precision(net)
    return Alone(net.eval(), done, best.epoch, best.accuracy)


class _BestEpoch:
    """Evaluates after each epoch and keeps the best weights, in memory and in a file for a run that is cut.

    Attributes:
        state, epoch, accuracy: of the best so far; the later of equals.
        last: accuracy of the latest weights.
    """

    def __init__(self, net: StaticNet, dataset: Dataset, evaluator: Evaluator, path: Path, progress: Progress) -> None:
        self.dataset, self.evaluator, self.path, self.progress = dataset, evaluator, path, progress
        self.probe = deepcopy(net).to(evaluator.device)
        self.state: dict[str, Tensor] = {}
        self.epoch, self.accuracy, self.last = 0, -1.0, -1.0
        if path.exists():
            self._read()

    def __call__(self, epoch: int, average: WeightAverage) -> dict[str, float]:
        """The accuracy on the search split after an epoch."""
        self.look(epoch, average.state)
        return {"search_accuracy": self.last}

    def look(self, epoch: int, state: Mapping[str, Tensor]) -> None:
        """Evaluate some weights, and keep them where none were better."""
        self.probe.load_state_dict(state, strict=False)
        side = self.probe.resolution
        recalibrate(self.probe, self.evaluator.calibration_batches(side))
        self.last = self.evaluator.evaluate(self.probe, side, self.dataset.search).accuracy
        if self.last >= self.accuracy:
            self.epoch, self.accuracy = epoch, self.last
            self.state = {name: tensor.cpu().clone() for name, tensor in self.probe.state_dict().items()}
            self._keep()

    def _keep(self) -> None:
        about = {"epoch": str(self.epoch), "accuracy": repr(self.accuracy)}
        try:
            write_tensors(self.path, self.state, about)
        except NasEdgeError as error:  # a full disk must not end a training; the weights are in memory as well
            self.progress(0, 1, f"not saved ({error}); training goes on")

    def _read(self) -> None:
        """What an earlier sitting kept; a file that is not whole is as good as none."""
        try:
            with safe_open(str(self.path), "pt") as handle:
                about = handle.metadata() or {}
                state = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118 - not a mapping
            if {name: t.shape for name, t in state.items()} == {n: t.shape for n, t in self.probe.state_dict().items()}:
                self.state, self.epoch, self.accuracy = state, int(about["epoch"]), float(about["accuracy"])
        except (SafetensorError, OSError, KeyError, ValueError):
            return
