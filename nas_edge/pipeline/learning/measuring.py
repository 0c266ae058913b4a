"""How long measuring a bundle's subnets will take: told before training starts, and fitted into a time limit."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nas_edge.errors import FormatError
from nas_edge.files import read_json, write_json
from nas_edge.units import format_duration

if TYPE_CHECKING:
    from nas_edge.data import Dataset, Preprocess
    from nas_edge.spaces import Template

PLAN = "measuring.json"
JOURNAL = "subnets.jsonl"  # what was measured so far
_TIMED = 64  # images
_WANTED = 80  # subnets that a predictor of some use is fitted to and judged by
_SMALL_SPLIT = 2000  # search images; below it each is looked at in several views
_VIEWS = 8


@dataclass(frozen=True)
class Measuring:
    """What is to be measured after training.

    Attributes:
        views: of each search image, at most.
        subnets: wanted.
        subnet_s: seconds for one of median MACs, on one core.
        cores: that share the work.
    """

    views: int
    subnets: int
    subnet_s: float
    cores: int

    @property
    def seconds(self) -> float:
        """For all subnets wanted."""
        return self.subnet_s * self.subnets / self.cores

    def describe(self, time_limit_s: float | None, training_s: float | None) -> str:
        """For a person, before training starts."""
        views = f"each image in {self.views} view{'s' * (self.views > 1)}"
        if time_limit_s is None or training_s is None:
            return f"after training about {format_duration(self.seconds)} to measure {self.subnets} subnets, {views}"
        return (
            f"within {format_duration(time_limit_s)}: at most {format_duration(training_s)} of training, the rest "
            f"measures up to {self.subnets} subnets, {views}"
        )


def plan_measuring(
    template: Template,
    dataset: Dataset,
    preprocess: Preprocess,
    subnets: int,
    budget_s: float | None,
    cores: int,
    work: Path,
) -> Measuring:
    """Time a network of median MACs on a few images; fewer views where the budget has no room for 80 subnets.

    Each sitting of a training plans anew, until a subnet is measured: what was measured under some views is worth
    nothing under others. From then on a sitting has its own number of subnets and cores, and the views that were.

    Args:
        template: the space.
        dataset: its search split is measured on.
        preprocess: from pictures to numbers.
        subnets: wanted.
        budget_s: seconds for measuring, None for as long as it takes.
        cores: that share the work.
        work: keeps the plan (`PLAN`) and what is measured (`JOURNAL`).

    Raises:
        FormatError: a plan that is none. DataError: an image cannot be decoded.
    """
    path = work / PLAN
    if path.exists() and (work / JOURNAL).exists():
        return replace(_read(path), subnets=subnets, cores=cores)
    views = _VIEWS if len(dataset.search) < _SMALL_SPLIT else 1
    recalibration_s, image_s = _timed(template, dataset, preprocess)
    images = len(dataset.search)

    def subnet_s(views: int) -> float:
        return recalibration_s + image_s * images * views

    room_s = float("inf") if budget_s is None else budget_s * cores
    while views > 1 and subnet_s(views) * min(subnets, _WANTED) > room_s:
        views //= 2
    plan = Measuring(views, subnets, subnet_s(views), cores)
    write_json(path, {"format": 1, **asdict(plan)})
    return plan


def forget_measuring(work: Path) -> None:
    """Drop a plan and what was measured: of the weights of another training."""
    for name in (PLAN, JOURNAL):
        (work / name).unlink(missing_ok=True)


def _timed(template: Template, dataset: Dataset, preprocess: Preprocess) -> tuple[float, float]:
    """Seconds of a recalibration and of an image, on one thread, by a network with random weights."""
    from nas_edge.data.calibration import MAX_IMAGES
    from nas_edge.spaces import SearchSpace
    from nas_edge.supernet.recalibrate import recalibrate
    from nas_edge.supernet.static import StaticNet
    from nas_edge.training.measuring.evaluate import Evaluator
    from nas_edge.training.measuring.subnet_work import one_thread
    from nas_edge.training.supernet_run import middle

    space, classes = SearchSpace(template), len(dataset.classes)
    net = StaticNet.of(space, middle(space, classes), classes)
    # A single image twice: by itself it has no variance.
    few = dataset.search.subset(np.arange(min(_TIMED, max(2, len(dataset.search)))) % len(dataset.search))
    evaluator = Evaluator(few, preprocess)
    with one_thread():
        batches = evaluator.calibration_batches(net.resolution)
        recalibrate(net, batches)  # first use compiles kernels
        began = time.monotonic()
        recalibrate(net, batches)
        between = time.monotonic()
        evaluator.evaluate(net, net.resolution, few)
        ended = time.monotonic()
    calibrated = min(MAX_IMAGES, len(dataset.train))
    return (between - began) * calibrated / len(few), (ended - between) / len(few)


def _read(path: Path) -> Measuring:
    data = read_json(path)
    if not isinstance(data, dict) or data.get("format") != 1:
        raise FormatError(f"{path}: 'format: 1' is expected; delete {path.parent} to train anew")
    try:
        return Measuring(**{key: value for key, value in data.items() if key != "format"})
    except TypeError as error:
        raise FormatError(f"{path}: is no plan of measuring ({error}); delete {path.parent} to train anew") from error
