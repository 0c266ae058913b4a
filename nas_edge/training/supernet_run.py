"""Training a supernet: start, sandwich, watching a few architectures on the search split."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nas_edge.data import Dataset, Preprocess
from nas_edge.data.calibration import choose_calibration
from nas_edge.progress import Progress, silent
from nas_edge.spaces import Population, SearchSpace, Template
from nas_edge.supernet.supernet import Supernet
from nas_edge.supernet.weights import to_stored_precision
from nas_edge.training.average import WeightAverage
from nas_edge.training.evaluate import Evaluator
from nas_edge.training.loop import Setting, Trained, train, uses_bf16
from nas_edge.training.losses import Sandwich
from nas_edge.training.recipe import Recipe
from nas_edge.training.teacher import Teacher


@dataclass(frozen=True)
class SupernetRun:
    """A supernet training run as data.

    Attributes:
        template: the space.
        dataset: train and search splits are used, test is not.
        preprocess: from pictures to numbers.
        recipe: how.
        init: fills the fresh network with weights to begin with, None for random ones.
        out: directory of checkpoint and history.
        watch_every: epochs between evaluations of smallest, middle and largest on the search split; 0 for never.
        teacher: whose answers the largest learns from, None for labels alone.
    """

    template: Template
    dataset: Dataset
    preprocess: Preprocess
    recipe: Recipe
    init: Callable[[Supernet], object] | None
    out: Path
    watch_every: int = 5
    teacher: Teacher | None = None

    @property
    def side(self) -> int:
        """Resolution in pixels that batches are made at: no network, nor the teacher, sees an enlarged picture."""
        return max(*self.template.resolutions, self.teacher.side if self.teacher else 0)


def middle(space: SearchSpace, num_classes: int) -> Population:
    """An architecture, int8 [genes], of the median MACs of 999 random ones (fixed seed)."""
    population = space.sample(999, np.random.default_rng(0))
    chosen: Population = population[np.argsort(space.macs(population, num_classes))[len(population) // 2]]
    return chosen


def train_supernet(
    run: SupernetRun, *, time_limit_s: float | None = None, progress: Progress = silent
) -> tuple[Supernet, Trained]:
    """Train, or go on from `run.out`; the returned network has the averaged weights, rounded to float16.

    Raises:
        TrainingError, FormatError: see `training.loop.train`; what `init` raises.
    """
    import torch

    torch.manual_seed(run.recipe.seed)
    net = Supernet(run.template, len(run.dataset.classes))
    if run.init is not None:
        run.init(net)
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    objective = Sandwich(net, run.recipe, uses_bf16(run.recipe), run.teacher)
    setting = Setting(net, objective, run.dataset, run.preprocess, run.side, run.recipe, run.out)
    watch = _watcher(run, net)
    done = train(setting, time_limit_s=time_limit_s, after_epoch=watch, progress=progress)
    to_stored_precision(net)
    return net.eval(), done


def _watcher(run: SupernetRun, net: Supernet) -> Callable[[int, WeightAverage], dict[str, float]]:
    evaluator = Evaluator(choose_calibration(run.dataset.train, run.recipe.seed), run.preprocess)
    space, classes = net.space, net.num_classes
    archs = {"smallest": space.smallest(), "middle": middle(space, classes), "largest": space.largest()}
    probe = Supernet(run.template, classes)

    def watch(epoch: int, average: WeightAverage) -> dict[str, float]:
        due = run.watch_every and (epoch % run.watch_every == 0 or epoch == run.recipe.epochs)
        if not due:
            return dict.fromkeys(archs, float("nan"))
        probe.load_state_dict(average.state, strict=False)
        figures = {}
        for name, arch in archs.items():
            subnet = evaluator.recalibrated(probe, arch)
            figures[name] = evaluator.evaluate(subnet, subnet.resolution, run.dataset.search).accuracy
        return figures

    return watch
