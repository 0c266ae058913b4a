"""`train`: from images to a bundle."""

from __future__ import annotations

import os
import shlex
import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas_edge import __version__
from nas_edge.devices import LocalDevice
from nas_edge.errors import ConfigError, SpaceError
from nas_edge.files import make_directory, read_described, read_yaml, write_yaml
from nas_edge.pipeline.bundle import ACCURACY, CALIBRATION, FORMAT, HEADER, PREDICTOR, SPACE, WEIGHTS, WORK
from nas_edge.pipeline.learning.beginning import beginning, hold_to_beginning
from nas_edge.pipeline.report import Success
from nas_edge.pipeline.running.directory import held
from nas_edge.progress import Progress, silent
from nas_edge.spaces import SearchSpace, Template
from nas_edge.spreading import Spread

if TYPE_CHECKING:
    from nas_edge.data import Dataset, Preprocess
    from nas_edge.pipeline.learning.measuring import Measuring
    from nas_edge.pipeline.learning.starting import Start
    from nas_edge.supernet.supernet import Supernet
    from nas_edge.training.measuring.evaluate import Evaluator
    from nas_edge.training.recipe import Recipe
    from nas_edge.training.running.loop import Trained

SUBNETS = 260
_HOLDOUT_SHARE = 0.25
_TRAINING_SHARE = 0.75  # of a time limit; the rest measures subnets
_MEASURING_SHARE = 0.9  # of that rest; then the predictor is fitted and three networks are looked at
EVERYWHERE = Spread()  # this machine's cores


@dataclass(frozen=True)
class TrainReport(Success):
    """A finished bundle.

    Attributes:
        out: its directory.
        header: content of `bundle.yaml`.
    """

    out: Path
    header: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """The bundle's header and where it lies."""
        return {"bundle": str(self.out), **self.header}

    def lines(self) -> list[str]:
        """For a person."""
        figures, trained = self.header["figures"], self.header["trained"]
        lines = [f"bundle {self.out}: {self.header['data']['summary']}"]
        if trained["cut_short"]:  # in this sitting or an earlier one: an end that was moved stays where it is
            lines.append(f"  trained for {trained['epochs']} epochs: a time limit cut it short")
        for name, found in figures["search_split"].items():
            low, high = found["interval95"]
            share = f"{100 * found['accuracy']:.1f} % ({100 * low:.1f} to {100 * high:.1f})"
            lines.append(
                f"  {name:9} {found['macs'] / 1e6:7.1f} M MACs  {found['resolution']} px  {share} on the search split"
            )
        fit = figures["accuracy_predictor"]
        ceiling = f", noise ceiling {fit['ceiling_tau']:.2f}" if "ceiling_tau" in fit else ""
        lines.append(
            f"  accuracy predictor: RMSE {100 * fit['rmse']:.2f} points, Kendall's tau {fit['tau']:.2f}{ceiling}"
            f" on {fit['holdout']:.0f} subnets it was not fitted to"
        )
        if curve := figures.get("learning_curve"):
            points = ", ".join(f"{point['subnets']}: {100 * point['rmse']:.2f}" for point in curve)
            lines.append(f"  its RMSE in points by the number of subnets it is fitted to: {points}")
        lines.append(f"next: nas-edge search --target local --latency 5ms --bundle {shlex.quote(str(self.out))}")
        return lines


def read_recipe(path: Path) -> dict[str, Any]:
    """Changes to the default recipe from a YAML file. Raises ConfigError with file and line, FormatError."""
    from nas_edge.training.recipe import Recipe

    read_described(path, Recipe.from_dict)
    changes: dict[str, Any] = read_yaml(path)
    return changes


def train_flow(
    data: str,
    space: str,
    out: Path,
    *,
    init: str | None = None,
    init_normalisation: str | None = None,
    teacher: str | None = None,
    epochs: int | None = None,
    time_limit_s: float | None = None,
    resolutions: tuple[int, ...] | None = None,
    recipe: dict[str, Any] | None = None,
    name: str = "",
    seed: int = 0,
    subnets: int = SUBNETS,
    processes: int = 1,
    spread: Spread = EVERYWHERE,
    progress: Progress = silent,
) -> TrainReport:
    """Train a supernet on images and measure what a search needs; resumable at every stage.

    Args:
        data: name, folder or CSV.
        space: preset or YAML file.
        out: directory of the bundle.
        init: published start, or name or directory of a bundle (see `pipeline.learning.starting`); None for random
            weights.
        init_normalisation: of images, for a file that does not say it: imagenet, half or none.
        teacher: name or directory of a bundle whose network teaches (see `pipeline.learning.teaching`), None for none.
        epochs: of the recipe, None for its own.
        time_limit_s: for everything; three quarters go into training.
        resolutions: input sides to train at, None for the space's own.
        recipe: changes to the default recipe, as plain data.
        name: of the bundle, by default that of the directory.
        seed: of everything random.
        subnets: how many are measured for the accuracy predictor, as far as the time limit allows.
        processes: that share each batch of the training; see `training.together.processes`.
        spread: over what the measuring of subnets is spread.
        progress: told all along.

    Raises:
        DataError, SpaceError, TrainingError, ConfigError, MissingExtraError: what cannot be used, and why.
    """
    import torch

    from nas_edge.data import Preprocess, load_dataset
    from nas_edge.pipeline.learning.fitting import fitting_batch
    from nas_edge.pipeline.learning.measuring import forget_measuring, plan_measuring
    from nas_edge.pipeline.learning.starting import told_start
    from nas_edge.pipeline.learning.teaching import find_teacher
    from nas_edge.training.recipe import Recipe, with_seed
    from nas_edge.training.running.history import keep_history
    from nas_edge.training.running.loop import CHECKPOINT, uses_bf16
    from nas_edge.training.supernet_run import SupernetRun, watch_interval
    from nas_edge.training.together.processes import train_in_processes

    began, cpu_before_s = time.monotonic(), _cpu_s()
    template = SearchSpace.named(space).template
    template = template.with_resolutions(resolutions) if resolutions else template
    check_choice(template)
    given = dict(recipe or {})
    given |= {"epochs": epochs} if epochs is not None else {}
    chosen = Recipe.from_dict(with_seed(given, seed))
    chosen = replace(chosen, bf16=uses_bf16(chosen))  # what was computed in belongs into the bundle
    start = told_start(init, template, init_normalisation, progress)
    taught = find_teacher(teacher, template) if teacher is not None else None
    preprocess = start.preprocess if start else taught.preprocess if taught else Preprocess()
    check_unfinished(out)
    dataset = load_dataset(data, seed=seed, progress=progress)
    if "batch_size" not in given:
        chosen = fitting_batch(chosen, len(dataset.train))
    if taught:
        taught.check(dataset.classes, preprocess)
    make_directory(out)
    progress(0, 1, dataset.describe())
    work = make_directory(out / WORK)
    with held(work):
        check_unfinished(out)  # another may have finished it while images were read here
        if not (begun := any(work.rglob(CHECKPOINT))):
            forget_measuring(work)
        hold_to_beginning(work, beginning(template, dataset, start, taught), begun)
        measuring_s = None if time_limit_s is None else time_limit_s * (1 - _TRAINING_SHARE) * _MEASURING_SHARE
        cores = spread.workers or torch.get_num_threads()
        plan = plan_measuring(template, dataset, preprocess, subnets, measuring_s, cores, work)
        limit = None
        if time_limit_s is not None:
            limit = max(1.0, time_limit_s * _TRAINING_SHARE - (time.monotonic() - began))
        progress(0, 1, plan.describe(time_limit_s, limit))
        asked = taught.network() if taught else None
        fill, watch_every = start.fill if start else None, watch_interval(chosen.epochs)
        run = SupernetRun(template, dataset, preprocess, chosen, fill, work, watch_every, asked)
        net, done = train_in_processes(run, processes, time_limit_s=limit, progress=progress)
        spent_s = max(time.monotonic() - began, done.seconds)  # earlier sittings count as well
        budget_s = None if time_limit_s is None else time_limit_s - spent_s
        figures = finish_bundle(net, dataset, preprocess, chosen, out, plan, budget_s, spread, progress)
        header = bundle_header(
            name or out.resolve().name, data, dataset, preprocess, chosen, start, done, figures, processes,
            time.monotonic() - began, _cpu_s() - cpu_before_s,
        )  # fmt: skip
        header["teacher"] = taught.to_dict() if taught else None
        keep_history(work, out)
        write_yaml(out / HEADER, header)
    shutil.rmtree(work)
    return TrainReport(out, header)


def check_choice(template: Template) -> None:
    """Raise SpaceError where a space has too few networks to fit an accuracy predictor to: before hours of training."""
    from nas_edge.training.fitting.accuracy_fit import MIN_SUBNETS

    size = SearchSpace(template).size()
    if size - round(_HOLDOUT_SHARE * size) < MIN_SUBNETS:
        raise SpaceError(
            f"space {template.name}: has {size} networks, too few to choose among (an accuracy predictor is fitted to"
            f" {MIN_SUBNETS} of them); give it more kernels, depths, expand ratios or resolutions, or train one network"
            " alone: --alone largest"
        )


def check_unfinished(out: Path) -> None:
    """Raise ConfigError where a finished bundle is in the way."""
    if (out / HEADER).exists():
        raise ConfigError(f"{out}: holds a finished bundle; choose another --out, or delete it to train anew")


def _cpu_s() -> float:
    """Seconds on all cores, of this process and of those that it has started and waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def finish_bundle(
    net: Supernet,
    dataset: Dataset,
    preprocess: Preprocess,
    recipe: Recipe,
    out: Path,
    plan: Measuring,
    budget_s: float | None,
    spread: Spread,
    progress: Progress,
) -> dict[str, Any]:
    """Write weights, space, calibration images, measured subnets and predictor; returns the figures.

    Raises:
        StorageError, ConfigError: cannot be written.
    """
    from nas_edge.accuracy import write_accuracy
    from nas_edge.data.calibration import choose_calibration, read_calibration, write_calibration
    from nas_edge.pipeline.learning.measuring import JOURNAL
    from nas_edge.supernet.weights import save_weights
    from nas_edge.training.fitting.accuracy_fit import fit_accuracy_predictor
    from nas_edge.training.measuring.evaluate import Evaluator, fixed_views
    from nas_edge.training.measuring.subnets import choose_subnets, measure_subnets

    save_weights(net, out / WEIGHTS)
    write_yaml(out / SPACE, net.template.to_dict())
    write_calibration(choose_calibration(dataset.train, recipe.seed), dataset.classes, out / CALIBRATION)
    evaluator = Evaluator(read_calibration(out / CALIBRATION), preprocess)
    augmentation = recipe.augmentation
    views = fixed_views(plan.views, augmentation.horizontal_flip, augmentation.vertical_flip)
    population = choose_subnets(net.space, net.num_classes, plan.subnets, recipe.seed)
    holdout = round(len(population) * _HOLDOUT_SHARE)
    measured = measure_subnets(
        net, evaluator, dataset.search, population, holdout, views, out / WORK / JOURNAL, progress, spread,
        None if budget_s is None else _MEASURING_SHARE * budget_s, _least_subnets(),
    )  # fmt: skip
    write_accuracy(out / ACCURACY, net.space, measured)
    predictor, report = fit_accuracy_predictor(net.space, measured, seed=recipe.seed, progress=progress)
    predictor.write(out / PREDICTOR)
    return {
        "search_split": search_figures(net, evaluator, dataset),
        "accuracy_predictor": {name: round(float(value), 5) for name, value in report.figures().items()},
        "learning_curve": [point.to_dict() for point in report.curve],
        "views": len(views),
    }


def _least_subnets() -> int:
    from nas_edge.training.fitting.accuracy_fit import MIN_SUBNETS

    return int(MIN_SUBNETS / (1 - _HOLDOUT_SHARE)) + 8


def search_figures(net: Supernet, evaluator: Evaluator, dataset: Dataset) -> dict[str, Any]:
    """Smallest, middle and largest architecture on the search split, plain view."""
    from nas_edge.training.supernet_run import middle

    space, classes = net.space, net.num_classes
    figures = {}
    for name, arch in (
        ("smallest", space.smallest()),
        ("middle", middle(space, classes)),
        ("largest", space.largest()),
    ):
        subnet = evaluator.recalibrated(net, arch)
        found = evaluator.evaluate(subnet, subnet.resolution, dataset.search)
        figures[name] = {
            "accuracy": round(found.accuracy, 5),
            "interval95": [round(v, 5) for v in found.interval()],
            "balanced_accuracy": round(found.balanced_accuracy, 5),
            "macs": float(space.macs(arch[None], classes)[0]),
            "resolution": subnet.resolution,
        }
    return figures


def bundle_header(
    name: str,
    data: str,
    dataset: Dataset,
    preprocess: Preprocess,
    recipe: Recipe,
    start: Start | None,
    done: Trained,
    figures: dict[str, Any],
    processes: int,
    wall_s: float,
    cpu_s: float,
) -> dict[str, Any]:
    """Content of `bundle.yaml`."""
    import torch

    ran = f"{processes} processes" if processes > 1 else f"{torch.get_num_threads()} threads"
    return {
        "format": FORMAT,
        "name": name,
        "classes": list(dataset.classes),
        "preprocess": preprocess.to_dict(),
        "data": {
            "spec": data,
            "seed": recipe.seed,
            "summary": dataset.describe(),
            "source": dataset.source,
            "sha256": {name: split.sha256() for name, split in dataset.splits.items()},
        },
        "init": {"name": start.name, "source": start.source, "licence": start.licence} if start else None,
        "recipe": recipe.to_dict(),
        "trained": {
            "nas_edge": __version__,
            "torch": str(torch.__version__),  # its own class of str, which YAML cannot write
            "hardware": f"{LocalDevice().fingerprint().machine}, {ran}",
            "date": time.strftime("%Y-%m-%d", time.gmtime()),
            "epochs": done.epochs,
            "steps": done.steps,
            "cut_short": done.cut_short,
            "training_hours": round(done.seconds / 3600, 3),
            "last_sitting_hours": round(wall_s / 3600, 3),
            "last_sitting_cpu_hours": round(cpu_s / 3600, 3),  # of all cores of this machine
        },
        "figures": figures,
    }
