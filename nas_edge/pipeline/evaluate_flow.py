"""Evaluate: the accuracy of one network on real images, with its interval."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas_edge.errors import ConfigError, UnknownNameError
from nas_edge.pipeline.architectures import read_architecture
from nas_edge.pipeline.bundle import Bundle, load_bundle
from nas_edge.pipeline.exporting.int8 import form_of_run
from nas_edge.pipeline.report import Success
from nas_edge.pipeline.running.directory import RESULT, Run, load_run
from nas_edge.progress import Progress, silent
from nas_edge.spaces import Precision
from nas_edge.units import format_count

if TYPE_CHECKING:
    from nas_edge.spaces import Population
    from nas_edge.spaces.onnx_quantise import QdqForm
    from nas_edge.supernet.static import StaticNet
    from nas_edge.training.measuring.evaluate import Evaluation

SPLITS = ("search", "test")
PRECISIONS = ("fp32", "fp16", "int8")


@dataclass(frozen=True)
class EvaluateReport(Success):
    """Accuracy of one network.

    Attributes:
        subject: the run or bundle.
        split: "search" or "test".
        images: how many.
        accuracy, balanced_accuracy: 0..1.
        interval: Wilson's 95 % interval of the accuracy.
        arch: as JSON.
        macs, params: of the network.
        finetuned: whether it has weights of its own, fine-tuned or trained alone.
        precision: that the images were answered in.
        notes: what else is to be known.

    """

    subject: str
    split: str
    images: int
    accuracy: float
    balanced_accuracy: float
    interval: tuple[float, float]
    arch: dict[str, Any]
    macs: float
    params: float
    finetuned: bool
    precision: str = "fp32"
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "subject": self.subject,
            "split": self.split,
            "images": self.images,
            "accuracy": self.accuracy,
            "interval95": list(self.interval),
            "balanced_accuracy": self.balanced_accuracy,
            "arch": self.arch,
            "macs": self.macs,
            "params": self.params,
            "finetuned": self.finetuned,
            "precision": self.precision,
            **({"notes": list(self.notes)} if self.notes else {}),
        }

    def lines(self) -> list[str]:
        """For a person."""
        low, high = self.interval
        return [
            f"accuracy   {100 * self.accuracy:.1f} % [{100 * low:.1f}, {100 * high:.1f}] on {self.images} images of "
            f"the {self.split} split; balanced {100 * self.balanced_accuracy:.1f} %",
            f"network    {self.arch['r']} px, {format_count(self.macs)} MACs, {format_count(self.params)} parameters, "
            f"{self.precision}" + (", with weights of its own" if self.finetuned else ""),
            *(f"note       {note}" for note in self.notes),
        ]


def evaluate_flow(
    subject: str,
    arch: str | None = None,
    *,
    split: str = "search",
    data: str | None = None,
    precision: str | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> EvaluateReport:
    """Evaluate the network of a run, or an architecture of a bundle.

    In int8 a run's network answers as the file for its devices does, which are asked whether they overflow; a bundle
    is for no device, and this machine is asked.

    Args:
        subject: directory of a run; or name or directory of a bundle.
        arch: of a bundle: a JSON file, JSON itself, "largest" (the default) or "smallest".
        split: "search", on which choices are made, or "test".
        data: other images of the same classes; by default those the bundle was trained on.
        precision: "fp32", "fp16" or "int8"; by default the run's, fp32 for a bundle.
        seed: unused by what is deterministic; kept so that every command takes one.
        progress: told how far it is.

    Raises:
        UnknownNameError: no such split, precision, run or bundle. ArchitectureError: not a point of the space.
        DataError: images missing, or of other classes.

    """
    if split not in SPLITS:
        raise UnknownNameError("split", split, SPLITS)
    if precision is not None and precision not in PRECISIONS:
        raise UnknownNameError("precision", precision, PRECISIONS)
    run = load_run(Path(subject)) if (Path(subject) / RESULT).is_file() else None
    wanted = Precision(precision or (run.precision if run else "fp32"))
    progress(0, 3, "loading the network")
    net, bundle, row, finetuned = _network(subject, run, arch, data)
    progress(1, 3, "reading images")
    from nas_edge.pipeline.networks import bundle_dataset

    dataset = bundle_dataset(bundle, data)
    progress(2, 3, "evaluating")
    form, notes = form_of_run(run) if run and wanted is Precision.INT8 else (None, ())
    found = accuracy_of(net, bundle, dataset.splits[split], wanted, data, form)
    space, classes = bundle.space, bundle.num_classes
    return EvaluateReport(
        subject, split, len(found.labels), found.accuracy, found.balanced_accuracy, found.interval(),
        space.to_json(row), float(space.macs(row[None], classes)[0]), float(space.params(row[None], classes)[0]),
        finetuned, wanted.value, notes,
    )  # fmt: skip


def accuracy_of(
    net: StaticNet,
    bundle: Bundle,
    split: Any,
    precision: Precision = Precision.FP32,
    data: str | None = None,
    form: QdqForm | None = None,
) -> Evaluation:
    """Answers of a network in a precision for the images of a split (`data.Split`), plain view.

    The form of int8 is by default the one for this machine.
    """
    from nas_edge.pipeline.networks import bundle_evaluator

    return bundle_evaluator(bundle, precision, data, form).evaluate(net, net.resolution, split, precision=precision)


def _network(
    subject: str, run: Run | None, arch: str | None, data: str | None
) -> tuple[StaticNet, Bundle, Population, bool]:
    from nas_edge.pipeline import networks

    if run is not None:
        if arch is not None:
            raise ConfigError(f"{subject}: is a run, which has its architecture; --arch goes with a bundle")
        net, bundle, row = networks.subnet_of_run(run, data)
        return net, bundle, row, networks.finetuned(run.path)
    bundle = load_bundle(subject)
    row = read_architecture(bundle.space, arch or "largest")
    evaluator = networks.bundle_evaluator(bundle, data=data)
    return networks.subnet_of_bundle(bundle, row, evaluator), bundle, row, False
