"""Training a supernet, by the sandwich rule or progressive shrinking, watched by a few architectures' accuracy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nas_edge.data import Dataset, Preprocess
from nas_edge.data.calibration import choose_calibration
from nas_edge.errors import ConfigError, StorageError
from nas_edge.files import write_text
from nas_edge.progress import Progress, silent
from nas_edge.spaces import Population, SearchSpace, Template
from nas_edge.supernet.inherit import Inherited
from nas_edge.supernet.sorting import sort_channels
from nas_edge.supernet.supernet import Supernet
from nas_edge.supernet.weights import to_stored_precision
from nas_edge.training.measuring.evaluate import Evaluator
from nas_edge.training.objectives.losses import Sandwich
from nas_edge.training.objectives.phases import sorts_channels, space_of
from nas_edge.training.objectives.shrinking import Shrinking
from nas_edge.training.objectives.teacher import Teacher, teacher_of
from nas_edge.training.recipe import Recipe
from nas_edge.training.running.average import WeightAverage
from nas_edge.training.running.device import present_device
from nas_edge.training.running.loop import HISTORY, Setting, Trained, train, uses_bf16
from nas_edge.training.running.same_recipe import hold_to_recipe
from nas_edge.training.together.workers import Workers

_WATCH_EVERY = 5


@dataclass(frozen=True)
class SupernetRun:
    """A supernet training run as data.

    Attributes:
        template: the space.
        dataset: train and search splits are used, test is not.
        preprocess: from pictures to numbers.
        recipe: how.
        init: fills the fresh network with weights to begin with, None for random ones; what it says it took is told.
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
    watch_every: int = _WATCH_EVERY
    teacher: Teacher | None = None

    @property
    def side(self) -> int:
        """Resolution in pixels that batches are made at: no network, nor the teacher, sees an enlarged picture."""
        return max(*self.template.resolutions, self.teacher.side if self.teacher else 0)


def watch_interval(epochs: int) -> int:
    """Epochs between evaluations in a run of so many: at most five; short runs have learning curves as well."""
    return max(1, min(_WATCH_EVERY, epochs // 12))


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
        TrainingError, FormatError: see `training.running.loop.train`; what `init` raises.
    """
    import torch

    phases = range(len(run.recipe.phases))
    hold_to_recipe(run.out, run.recipe, {_directory(run, each).name: run.recipe.of_phase(each) for each in phases})
    torch.manual_seed(run.recipe.seed)
    net = Supernet(run.template, len(run.dataset.classes))
    if run.init is not None and isinstance(taken := run.init(net), Inherited):
        progress(0, 1, taken.describe())
    Workers.present().share(net)
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if run.recipe.phases:
        done = _shrink(run, net, time_limit_s, progress)
    else:
        objective = Sandwich(net, run.recipe, uses_bf16(run.recipe), run.teacher)
        setting = Setting(net, objective, run.dataset, run.preprocess, run.side, run.recipe, run.out)
        watch = _watcher(run, net, run.recipe.epochs)
        done = train(setting, time_limit_s=time_limit_s, after_epoch=watch, progress=progress)
    to_stored_precision(net)
    return net.eval(), done


def _shrink(run: SupernetRun, net: Supernet, time_limit_s: float | None, progress: Progress) -> Trained:
    """Phase after phase, each in a directory of its own, so that a cut run goes on within the phase it was in."""
    phases, parts = run.recipe.phases, list[Trained]()
    teacher = run.teacher
    for number, phase in enumerate(phases):
        before = phases[number - 1] if number else None
        if before is not None and sorts_channels(phase, before):
            sort_channels(net, trained=space_of(before, net.space))
        recipe, out = run.recipe.of_phase(number), _directory(run, number)
        objective = Shrinking(net, phase, recipe, uses_bf16(recipe), teacher)
        setting = Setting(net, objective, run.dataset, run.preprocess, run.side, recipe, out, whole=run.recipe)
        limit = None
        if time_limit_s is not None:
            cost = [each.epochs * each.subnets for each in phases]
            limit = (time_limit_s - sum(part.seconds for part in parts)) * cost[number] / sum(cost[number:])

        def told(done: float, total: float, text: str, name: str = phase.name) -> None:
            progress(done, total, f"{name}: {text}")

        parts.append(train(setting, time_limit_s=limit, after_epoch=_watcher(run, net, phase.epochs), progress=told))
        if phase.largest_only and teacher is None:
            evaluator = Evaluator(choose_calibration(run.dataset.train, run.recipe.seed), run.preprocess)
            teacher = teacher_of(evaluator.recalibrated(net, net.space.largest()))
    try:
        _join_histories(run)
    except (StorageError, ConfigError) as error:  # the network is worth more
        progress(0, 1, f"history not saved ({error})")
    return Trained(
        sum(part.epochs for part in parts), sum(part.steps for part in parts), sum(part.seconds for part in parts),
        any(part.cut_short for part in parts), parts[-1].saved,
    )  # fmt: skip


def _directory(run: SupernetRun, number: int) -> Path:
    """Where a phase is at work."""
    return run.out / f"{number + 1}-{run.recipe.phases[number].name}"


def _join_histories(run: SupernetRun) -> None:
    lines: list[str] = []
    for number, phase in enumerate(run.recipe.phases):
        path = _directory(run, number) / HISTORY
        if not path.exists():  # the disk was full all the time
            continue
        own = path.read_text(encoding="utf-8").splitlines()
        lines += [f"phase,{own[0]}"] if not lines else []
        lines += [f"{phase.name},{line}" for line in own[1:]]
    if Workers.present().speaks and lines:
        write_text(run.out / HISTORY, "\n".join(lines) + "\n")


def _watcher(run: SupernetRun, net: Supernet, epochs: int) -> Callable[[int, WeightAverage], dict[str, float]]:
    calibration = choose_calibration(run.dataset.train, run.recipe.seed)
    evaluator = Evaluator(calibration, run.preprocess, device=present_device())
    space, classes = net.space, net.num_classes
    archs = {"smallest": space.smallest(), "middle": middle(space, classes), "largest": space.largest()}
    probe = Supernet(run.template, classes)

    def watch(epoch: int, average: WeightAverage) -> dict[str, float]:
        due = run.watch_every and (epoch % run.watch_every == 0 or epoch == epochs)
        if not due:
            return dict.fromkeys(archs, float("nan"))
        probe.load_state_dict(average.state, strict=False)
        figures = {}
        for name, arch in archs.items():
            subnet = evaluator.recalibrated(probe, arch)
            figures[name] = evaluator.evaluate(subnet, subnet.resolution, run.dataset.search).accuracy
        return figures

    return watch
