"""Inherited against stand-alone accuracy: is a supernet's order of subnets the order that training each alone gives?

Subnets are drawn from each quartile of MACs, trained from scratch with one recipe and number of epochs, and looked at
on the same images and views as with the weights that they inherit. Choosing the epoch on those images as well favours
all of them alike.
"""

from __future__ import annotations

import csv
import io
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nas_edge.accuracy import kendall_tau
from nas_edge.accuracy.quality import LEAST_IMAGES
from nas_edge.errors import ConfigError, DataError, FormatError
from nas_edge.files import make_directory, read_json, write_json, write_text
from nas_edge.pipeline.alone.agreement import QUARTILES, Agreement, subnets_by_quartile
from nas_edge.pipeline.alone.flow import alone_flow
from nas_edge.pipeline.alone.subject import Subject
from nas_edge.pipeline.bundle import Bundle, load_bundle
from nas_edge.pipeline.networks import bundle_dataset, bundle_evaluator, bundle_views, subnet_of_run
from nas_edge.pipeline.report import Success
from nas_edge.pipeline.running.directory import RESULT, load_run
from nas_edge.progress import Progress, silent
from nas_edge.units import format_count, format_duration

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nas_edge.data import Dataset
    from nas_edge.spaces import Population

EACH = 3
STUDY, TABLE, _ASKED, _INHERITED = "study.json", "study.csv", "asked.json", "inherited.jsonl"
_FORMAT = 1


@dataclass(frozen=True)
class Compared:
    """One subnet both ways; accuracies 0..1 over all views of the search split.

    Attributes:
        run: directory of the network trained alone.
        cpu_s: of its training and evaluation, in the sitting that finished it.
    """

    arch: dict[str, Any]
    macs: float
    inherited: float
    alone: float
    epoch: int
    epochs: int
    cpu_s: float
    run: str


@dataclass(frozen=True)
class StudyReport(Success):
    """What the study found.

    Attributes:
        out: its directory.
        bundle: name.
        images, views: that every accuracy rests on.
        subnets: small ones first.
        agreement: of both ways.
        macs_tau: of MACs with the stand-alone accuracy: what size alone would have told.
    """

    out: Path
    bundle: str
    images: int
    views: int
    subnets: tuple[Compared, ...]
    agreement: Agreement
    macs_tau: float

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "out": str(self.out),
            "bundle": self.bundle,
            "images": self.images,
            "views": self.views,
            **asdict(self.agreement),
            "macs_tau": self.macs_tau,
            "subnets": [asdict(subnet) for subnet in self.subnets],
        }

    def lines(self) -> list[str]:
        """For a person."""
        found = self.agreement
        lines = ["    MACs   px  inherited    alone  epoch"]
        lines += [
            f"{format_count(s.macs):>8} {s.arch['r']:4d}  {100 * s.inherited:7.2f} %  {100 * s.alone:6.2f} %  "
            f"{s.epoch:3d} of {s.epochs}"
            for s in self.subnets
        ]
        low, high = found.over_subnets
        by_images = "{:.2f} to {:.2f}".format(*found.over_images)
        spent = format_duration(sum(subnet.cpu_s for subnet in self.subnets))
        return [
            *lines,
            f"tau        {found.tau:.2f}, 95 % bootstrap interval {low:.2f} to {high:.2f} over subnets, {by_images} "
            f"over images; labels allow {found.ceiling:.2f}, MACs alone reach {self.macs_tau:.2f}",
            f"labels     noise {100 * found.noise[0]:.2f} points inherited, {100 * found.noise[1]:.2f} alone, on "
            f"{self.views} views of {self.images} images of the search split",
            f"gap        alone {100 * found.gap:+.2f} points on average; {spent} of CPU time for all trainings",
            f"kept in    {self.out}",
        ]


def study_alone(
    bundle: str,
    out: Path,
    *,
    each: int = EACH,
    epochs: int | None = None,
    data: str | None = None,
    recipe: dict[str, Any] | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> StudyReport:
    """Train subnets alone and hold them against their inherited weights; the same call goes on where one was cut.

    Args:
        bundle: name or directory.
        out: directory of the study; each training is a run below it.
        each: subnets in every quartile of MACs.
        epochs: of every training, None for as many as the supernet had.
        data: the images the bundle was trained on, where they have moved.
        recipe: changes to the bundle's recipe.
        seed: of the choice, the trainings and the bootstrap.
        progress: told all along.

    Raises:
        UnknownNameError: no such bundle. DataError: the images are missing, too few, or of other classes. ConfigError:
            another study is in `out`. TrainingError: see `alone_flow`.
    """
    found = load_bundle(bundle)
    population = subnets_by_quartile(found.space, found.num_classes, each, seed)
    dataset = bundle_dataset(found, data, progress)
    if len(dataset.search) < LEAST_IMAGES:
        raise DataError(
            f"{dataset.name}: {len(dataset.search)} search images rank nothing; {LEAST_IMAGES} are the least"
        )
    asked = {
        "format": _FORMAT, "bundle": found.name, "epochs": epochs, "seed": seed, "images": dataset.search.sha256(),
        "recipe": recipe, "subnets": [found.space.to_json(arch) for arch in population],
    }  # fmt: skip
    _begin(out, asked)
    runs = []
    for number, arch in enumerate(population, 1):
        subject = Subject(found.space, arch, found, data)
        run, told = out / f"{number:02d}", _of(progress, number, population)
        if not (run / RESULT).exists():
            alone_flow(subject, run, epochs=epochs, recipe=recipe, seed=seed, dataset=dataset, progress=told)
        runs.append(run)
    inherited, alone = _answers(found, population, runs, dataset, data, out, progress)
    report = _report(found, population, runs, inherited, alone, out, seed)
    write_text(out / TABLE, _as_csv(report))
    write_json(out / STUDY, {"format": _FORMAT, "date": time.strftime("%Y-%m-%d", time.gmtime()), **report.to_json()})
    return report


def _begin(out: Path, asked: dict[str, Any]) -> None:
    """Note what is asked for, or see that it is what the study in a directory began with."""
    path = out / _ASKED
    if not path.exists():
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise ConfigError(f"{out}: exists already and is no study; choose another --out")
        make_directory(out)
        write_json(path, asked)
        return
    before = read_json(path)
    if not isinstance(before, dict) or before.get("format") != _FORMAT:
        raise FormatError(f"{path}: 'format: {_FORMAT}' is expected; a newer study needs a newer nas-edge")
    different = [key for key in asked if json.loads(json.dumps(asked[key])) != before.get(key)]
    if different:
        raise ConfigError(f"{out}: another study is under way there ({', '.join(different)} differ); use another --out")


def _of(progress: Progress, number: int, population: Population) -> Progress:
    def told(done: float, total: float, text: str) -> None:
        progress(number - 1 + done / max(total, 1), len(population), f"subnet {number}: {text}")

    return told


def _answers(
    bundle: Bundle,
    population: Population,
    runs: list[Path],
    dataset: Dataset,
    data: str | None,
    out: Path,
    progress: Progress,
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Right answers with inherited weights and alone, bool [subnets, images, views] each."""
    from nas_edge.training.measuring.subnets import answers_of_subnets

    evaluator, views, split = bundle_evaluator(bundle, data=data), bundle_views(bundle), dataset.search
    inherited = answers_of_subnets(
        bundle.supernet(), evaluator, split, population, views, out / _INHERITED, progress=progress
    )
    alone = []
    for number, run in enumerate(runs):
        progress(number, len(runs), "evaluating what was trained")
        net, _, _ = subnet_of_run(load_run(run))
        alone.append(evaluator.evaluate(net, net.resolution, split, views).correct)
    return inherited, np.stack(alone)


def _report(
    bundle: Bundle,
    population: Population,
    runs: list[Path],
    inherited: NDArray[np.bool_],
    alone: NDArray[np.bool_],
    out: Path,
    seed: int,
) -> StudyReport:
    macs = bundle.space.macs(population, bundle.num_classes)
    results = [load_run(run).result for run in runs]
    subnets = tuple(
        Compared(
            bundle.space.to_json(arch), float(macs[i]), round(float(inherited[i].mean()), 5),
            round(float(alone[i].mean()), 5), int(results[i]["trained"]["epoch"]), int(results[i]["trained"]["epochs"]),
            float(results[i]["cost"]["cpu_s"]), runs[i].name,
        )
        for i, arch in enumerate(population)
    )  # fmt: skip
    return StudyReport(
        out, bundle.name, inherited.shape[1], inherited.shape[2], subnets, Agreement.of(inherited, alone, seed),
        kendall_tau(macs, alone.mean(axis=(1, 2))),
    )  # fmt: skip


def _as_csv(report: StudyReport) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("quartile", "arch", "macs", "inherited", "alone", "epoch", "epochs", "cpu_s", "run"))
    each = max(1, len(report.subnets) // QUARTILES)
    for number, s in enumerate(report.subnets):
        arch = json.dumps(s.arch, separators=(",", ":"))
        writer.writerow(
            (number // each + 1, arch, int(s.macs), s.inherited, s.alone, s.epoch, s.epochs, s.cpu_s, s.run)
        )
    return text.getvalue()
