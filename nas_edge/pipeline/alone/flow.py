"""`train --alone`: one architecture trained from scratch; the result is a run like a search's."""

from __future__ import annotations

import shlex
import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas_edge import __version__
from nas_edge.errors import ConfigError
from nas_edge.files import make_directory, write_yaml
from nas_edge.pipeline.alone.subject import Subject
from nas_edge.pipeline.bundle import CALIBRATION, FORMAT, HEADER, SPACE, WORK
from nas_edge.pipeline.learning.beginning import hold_to_beginning
from nas_edge.pipeline.learning.fitting import fitting_batch
from nas_edge.pipeline.networks import FINETUNED, bundle_evaluator
from nas_edge.pipeline.report import Success
from nas_edge.pipeline.running.directory import OWN_BUNDLE, RESULT, held, write_manifest, write_result
from nas_edge.progress import Progress, silent
from nas_edge.units import format_count, format_duration

if TYPE_CHECKING:
    from nas_edge.data import Dataset, Preprocess
    from nas_edge.training.measuring.evaluate import Evaluation, Evaluator
    from nas_edge.training.recipe import Recipe
    from nas_edge.training.single.alone import Alone

KIND = "alone"
_TRAINING_SHARE = 0.95  # of a time limit; the rest evaluates and writes


@dataclass(frozen=True)
class AloneReport(Success):
    """A network that was trained alone.

    Attributes:
        run: directory that export, profile, evaluate and finetune take.
        result: what `result.json` says.
    """

    run: Path
    result: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {"run": str(self.run), **self.result}

    def lines(self) -> list[str]:
        """For a person."""
        found, trained = self.result["accuracy"], self.result["trained"]
        lines = [f"alone      {_share(found)} on {found['images']} images of the search split, on which the epoch was"]
        lines[0] += f" chosen ({trained['epoch']} of {trained['epochs']})"
        if (inherited := self.result["inherited"]) is not None:
            lines.append(f"inherited  {_share(inherited)}: the same architecture with the weights of the bundle")
        cut = "; the time limit cut it short" if trained["cut_short"] else ""
        lines.append(
            f"network    {self.result['arch']['r']} px, {format_count(self.result['macs'])} MACs, "
            f"{format_count(self.result['params'])} parameters, trained in {format_duration(trained['seconds'])}{cut}"
        )
        return [*lines, f"run        {self.run}", f"next: nas-edge export {shlex.quote(str(self.run))}"]


def _share(found: dict[str, Any]) -> str:
    low, high = found["interval95"]
    return f"{100 * found['measured']:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"


def alone_flow(
    subject: Subject,
    out: Path,
    *,
    epochs: int | None = None,
    time_limit_s: float | None = None,
    recipe: dict[str, Any] | None = None,
    seed: int = 0,
    dataset: Dataset | None = None,
    progress: Progress = silent,
) -> AloneReport:
    """Train one architecture from scratch into a run directory; the same call goes on where one was cut.

    Args:
        subject: from `find_subject`.
        out: directory of the run.
        epochs: None for the recipe's, or as many as the bundle's supernet was trained for.
        time_limit_s: for everything.
        recipe: changes to the bundle's recipe, or to the default one.
        seed: of everything random; splits of a bundle's images are the bundle's own.
        dataset: the images, where they are loaded already.
        progress: told all along.

    Raises:
        DataError, TrainingError, ConfigError: what cannot be used, and why.
    """
    from nas_edge.training.running.history import keep_history
    from nas_edge.training.running.loop import CHECKPOINT, uses_bf16
    from nas_edge.training.single.alone import fresh_network, train_alone

    begun, cpu_s = time.monotonic(), time.process_time()
    chosen = subject.recipe(dict(recipe or {}), epochs, seed)
    chosen = replace(chosen, bf16=uses_bf16(chosen))
    work = out / WORK
    _check_free(out)
    dataset = dataset or subject.dataset(seed, progress)
    if "batch_size" not in (recipe or {}):
        chosen = fitting_batch(chosen, len(dataset.train))
    preprocess = subject.preprocess()
    make_directory(work)
    with held(work):
        hold_to_beginning(work, subject.beginning(dataset), begun=any(work.rglob(CHECKPOINT)))
        progress(0, 1, dataset.describe())
        net = fresh_network(subject.space, subject.arch, len(dataset.classes), chosen)
        evaluator = _evaluator(subject, dataset, preprocess, chosen)
        limit = None
        if time_limit_s is not None:
            limit = max(1.0, time_limit_s * _TRAINING_SHARE - (time.monotonic() - begun))
        found = train_alone(net, dataset, preprocess, chosen, evaluator, work, time_limit_s=limit, progress=progress)
        own = evaluator.evaluate(found.net, found.net.resolution, dataset.search)
        inherited = _inherited(subject, dataset)
        result = _result(subject, dataset, chosen, found, own, inherited) | {
            "cost": {"wall_s": round(time.monotonic() - begun, 1), "cpu_s": round(time.process_time() - cpu_s, 1)}
        }
        keep_history(work, out)
        _write(out, subject, dataset, preprocess, chosen, found, result, time.monotonic() - begun)
    shutil.rmtree(work)
    return AloneReport(out, result)


def _check_free(out: Path) -> None:
    if (out / RESULT).exists():
        raise ConfigError(f"{out}: holds a finished run; choose another --out, or delete it to train anew")
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / WORK).is_dir())):
        raise ConfigError(f"{out}: exists already and is no unfinished training; choose another --out")


def _evaluator(subject: Subject, dataset: Dataset, preprocess: Preprocess, recipe: Recipe) -> Evaluator:
    """Batch norms are recalibrated on the bundle's own calibration images, else on drawn training images."""
    from nas_edge.data.calibration import choose_calibration
    from nas_edge.training.measuring.evaluate import Evaluator

    if subject.bundle is not None:
        return bundle_evaluator(subject.bundle, data=subject.data)
    return Evaluator(choose_calibration(dataset.train, recipe.seed), preprocess)


def _inherited(subject: Subject, dataset: Dataset) -> Evaluation | None:
    """Answers of the same architecture with a supernet's weights; None where there is no supernet."""
    if not subject.inherits or subject.bundle is None:
        return None
    evaluator = bundle_evaluator(subject.bundle, data=subject.data)
    net = evaluator.recalibrated(subject.bundle.supernet(), subject.arch)
    return evaluator.evaluate(net, net.resolution, dataset.search)


def _figure(found: Evaluation) -> dict[str, Any]:
    return {
        "measured": round(found.accuracy, 5),
        "interval95": [round(bound, 5) for bound in found.interval()],
        "balanced": round(found.balanced_accuracy, 5),
        "images": len(found.labels),
        "split": "search",
    }


def _result(
    subject: Subject, dataset: Dataset, recipe: Recipe, found: Alone, own: Evaluation, inherited: Evaluation | None
) -> dict[str, Any]:
    space, row, classes = subject.space, subject.arch[None], len(dataset.classes)
    return {
        "kind": KIND,
        "target": "local",
        "bundle": "" if subject.bundle is None else _bundle_name(subject),
        "precision": "fp32",
        "space": space.name,
        "num_classes": classes,
        "arch": space.to_json(subject.arch),
        "accuracy": _figure(own),
        "inherited": None if inherited is None else _figure(inherited),
        "macs": float(space.macs(row, classes)[0]),
        "params": float(space.params(row, classes)[0]),
        "trained": {
            "epochs": found.trained.epochs, "epoch": found.epoch, "steps": found.trained.steps,
            "seconds": round(found.trained.seconds, 1), "cut_short": found.trained.cut_short,
        },
        "data": {"spec": subject.spec, "summary": dataset.describe()},
        "recipe": recipe.to_dict(),
    }  # fmt: skip


def _bundle_name(subject: Subject) -> str:
    """A directory from the root; an embedded bundle by its name, as searches write it."""
    from nas_edge.pipeline.bundle import bundle_directories

    assert subject.bundle is not None
    path = subject.bundle.path
    embedded = bundle_directories()[-1]
    return path.name if path.parent == embedded else str(path.resolve())


def _write(
    out: Path,
    subject: Subject,
    dataset: Dataset,
    preprocess: Preprocess,
    recipe: Recipe,
    found: Alone,
    result: dict[str, Any],
    wall_s: float,
) -> None:
    """The run's files; `result.json`, which makes it a run, comes last but for the manifest."""
    from nas_edge.data.calibration import choose_calibration, write_calibration
    from nas_edge.supernet.weights import save_weights

    save_weights(found.net, out / FINETUNED)
    inputs: dict[str, Path] = {}
    if subject.bundle is None:
        own = make_directory(out / OWN_BUNDLE)
        write_yaml(own / SPACE, subject.space.template.to_dict())
        write_calibration(choose_calibration(dataset.train, recipe.seed), dataset.classes, own / CALIBRATION)
        write_yaml(own / HEADER, _header(out.resolve().name, subject, dataset, preprocess, recipe))
    else:
        inputs["bundle"] = subject.bundle.path / HEADER
    write_result(out, result, {**result["arch"], "space": result["space"], "num_classes": result["num_classes"]})
    write_manifest(out, {"training": recipe.seed}, inputs, wall_s)


def _header(name: str, subject: Subject, dataset: Dataset, preprocess: Preprocess, recipe: Recipe) -> dict[str, Any]:
    """`bundle.yaml` of a run without a supernet: what export and evaluation must know of the images."""
    return {
        "format": FORMAT,
        "name": name,
        "classes": list(dataset.classes),
        "preprocess": preprocess.to_dict(),
        "data": {
            "spec": subject.spec,
            "seed": recipe.seed,
            "summary": dataset.describe(),
            "source": dataset.source,
            "sha256": {part: split.sha256() for part, split in dataset.splits.items()},
        },
        "recipe": recipe.to_dict(),
        "trained": {"nas_edge": __version__, "alone": True},
    }
