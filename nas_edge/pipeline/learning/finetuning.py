"""`finetune`: from a run to better weights for its network, as it is or for int8."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas_edge.files import make_directory, write_json
from nas_edge.pipeline.exporting.int8 import form_of_run
from nas_edge.pipeline.learning.fitting import fitting_batch
from nas_edge.pipeline.networks import FINETUNED, bundle_dataset, bundle_evaluator, bundle_preprocess, subnet_of_run
from nas_edge.pipeline.report import Success
from nas_edge.pipeline.running.directory import load_run
from nas_edge.progress import Progress, silent
from nas_edge.spaces import Precision
from nas_edge.units import format_duration

if TYPE_CHECKING:
    from nas_edge.supernet.static import StaticNet


@dataclass(frozen=True)
class FinetuneReport(Success):
    """Accuracy on the search split before and after, 0..1, with 95 % intervals.

    Attributes:
        precision: that both were measured in; "int8" after training for it.
        notes: what else is to be known.
    """

    run: Path
    before: tuple[float, float, float]
    after: tuple[float, float, float]
    kept: bool
    seconds: float
    precision: str = "fp32"
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        names = ("accuracy", "low", "high")
        return {
            "run": str(self.run),
            "split": "search",
            "precision": self.precision,
            "before": dict(zip(names, self.before, strict=True)),
            "after": dict(zip(names, self.after, strict=True)),
            "kept": self.kept,
            "wall_s": round(self.seconds, 1),
            **({"notes": list(self.notes)} if self.notes else {}),
        }

    def lines(self) -> list[str]:
        """For a person."""
        before, after = (
            f"{100 * a:.1f} % ({100 * low:.1f} to {100 * high:.1f})" for a, low, high in (self.before, self.after)
        )
        told = (
            "kept: export and evaluate use the new weights" if self.kept else "not better: the inherited weights stay"
        )
        where = "search split" + (", in int8" if self.precision == "int8" else "")
        lines = [f"{where}: {before} before, {after} after {format_duration(self.seconds)}; {told}"]
        return lines + [f"note: {note}" for note in self.notes]


def finetune_flow(
    run: Path,
    *,
    data: str | None = None,
    epochs: int = 5,
    time_limit_s: float | None = None,
    qat: bool = False,
    seed: int = 0,
    progress: Progress = silent,
) -> FinetuneReport:
    """Train a run's network on its own; better weights are kept in the run, worse ones are not.

    With `qat` it is trained as the int8 file for its devices computes (`training.single.fake_quantised`), and judged
    in int8: by the file that `export --precision int8` would write before and after.

    Args:
        run: directory of a search, or of a network that was trained alone.
        data: other images of the same classes; by default those the bundle was trained on.
        epochs: passes over the training images.
        time_limit_s: for the training.
        qat: train for int8.
        seed: of everything random.
        progress: told all along.

    Raises:
        ConfigError: not a run. DataError, TrainingError: see `train_flow`.

    """
    from nas_edge.supernet.weights import save_weights, to_stored_precision
    from nas_edge.training.measuring.answers import ranges_of
    from nas_edge.training.measuring.evaluate import Evaluation, Evaluator
    from nas_edge.training.recipe import Recipe
    from nas_edge.training.single.finetune import finetune, finetune_for_int8, finetune_recipe

    start = time.monotonic()
    found = load_run(run)
    subnet, bundle, _ = subnet_of_run(found, data)
    preprocess = bundle_preprocess(bundle)
    dataset = bundle_dataset(bundle, data, progress)
    recipe = finetune_recipe(Recipe.from_dict(bundle.header.get("recipe", {})), epochs, seed)
    recipe = fitting_batch(recipe, len(dataset.train))
    precision = Precision.INT8 if qat else Precision.FP32
    form, notes = form_of_run(found) if qat else (None, ())
    evaluator = bundle_evaluator(bundle, precision, data, form) if qat else Evaluator(dataset.train, preprocess)
    side = subnet.resolution

    def figures(net: StaticNet) -> tuple[float, float, float]:
        answers: Evaluation = evaluator.evaluate(net, side, dataset.search, precision=precision)
        return (answers.accuracy, *answers.interval())

    before = figures(subnet)
    work = make_directory(run / "finetune")
    if qat:
        ranges = ranges_of(subnet, evaluator.calibration_batches(side))
        trained, _ = finetune_for_int8(
            subnet, dataset, preprocess, recipe, work, ranges=ranges, form=evaluator.form, time_limit_s=time_limit_s,
            progress=progress,
        )  # fmt: skip
    else:
        trained, _ = finetune(subnet, dataset, preprocess, recipe, work, time_limit_s=time_limit_s, progress=progress)
    to_stored_precision(trained)
    after = figures(trained)
    kept = after[0] >= before[0]
    if kept:
        save_weights(trained, run / FINETUNED)
    report = FinetuneReport(run, before, after, kept, time.monotonic() - start, precision.value, notes)
    shutil.rmtree(work)
    write_json(run / "finetune.json", {"format": 1, **report.to_json(), "recipe": recipe.to_dict()})
    return report
