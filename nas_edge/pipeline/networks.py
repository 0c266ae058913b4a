"""From a run or a bundle to a network with weights: extracted, recalibrated or fine-tuned."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from nas_edge.pipeline.bundle import CALIBRATION, HEADER, Bundle, load_bundle
from nas_edge.pipeline.running.directory import Run
from nas_edge.spaces import Population

if TYPE_CHECKING:
    from nas_edge.data import Dataset, Preprocess
    from nas_edge.progress import Progress
    from nas_edge.supernet.static import StaticNet
    from nas_edge.training.evaluate import Evaluator

FINETUNED = "finetuned.safetensors"


def bundle_preprocess(bundle: Bundle) -> Preprocess:
    """The `Preprocess` that a bundle was trained with. Raises ConfigError."""
    from nas_edge.data import Preprocess

    return Preprocess.from_dict(bundle.preprocess, f"{bundle.path / HEADER}: preprocess")


def bundle_dataset(bundle: Bundle, data: str | None, progress: Progress | None = None) -> Dataset:
    """The images a bundle was trained on, or `data`, with the bundle's own splits (seed and fractions).

    Raises:
        DataError: not found, or its classes are not the bundle's.
    """
    from nas_edge.data import load_dataset
    from nas_edge.errors import DataError

    stored = bundle.header.get("data", {})
    spec = data or str(stored.get("spec", ""))
    if not spec:
        raise DataError(f"bundle {bundle.name!r} does not say what it was trained on; give --data")
    dataset = load_dataset(spec, seed=int(stored.get("seed", 0)), progress=progress)
    if dataset.classes != bundle.classes:
        raise DataError(
            f"{spec}: classes {', '.join(dataset.classes)} are not the bundle's ({', '.join(bundle.classes)})"
        )
    return dataset


def bundle_evaluator(bundle: Bundle) -> Evaluator:
    """Recalibration from the bundle's own calibration images. Raises FormatError where they are damaged."""
    from nas_edge.data.calibration import read_calibration
    from nas_edge.training.evaluate import Evaluator

    return Evaluator(read_calibration(bundle.path / CALIBRATION), bundle_preprocess(bundle))


def subnet_of_bundle(bundle: Bundle, arch: Population, evaluator: Evaluator | None = None) -> StaticNet:
    """One architecture (int8 [genes]) with inherited weights, recalibrated, in evaluation mode."""
    return (evaluator or bundle_evaluator(bundle)).recalibrated(bundle.supernet(), arch)


def subnet_of_run(run: Run) -> tuple[StaticNet, Bundle, Population]:
    """The network that a search chose: fine-tuned weights where the run has some, else inherited ones.

    Raises:
        FormatError, UnknownNameError: run, bundle or weights are missing or damaged.
    """
    from nas_edge.supernet.weights import load_weights

    bundle = load_bundle(run.bundle)
    arch = bundle.space.from_json(dict(run.arch), str(run.path / "arch.json"))
    weights = run.path / FINETUNED
    if not weights.is_file():
        return subnet_of_bundle(bundle, arch), bundle, arch
    net = bundle.supernet().extract(arch)
    load_weights(net, weights)
    return net.eval(), bundle, arch


def finetuned(path: Path) -> bool:
    """Whether a run has weights of its own."""
    return (path / FINETUNED).is_file()
