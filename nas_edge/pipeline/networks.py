"""From a run or a bundle to a network with weights: extracted, recalibrated or fine-tuned."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from nas_edge.errors import ExportError
from nas_edge.pipeline.bundle import HEADER, Bundle, load_bundle
from nas_edge.pipeline.running.directory import Run
from nas_edge.spaces import Population, Precision

if TYPE_CHECKING:
    from nas_edge.data import Dataset, Preprocess, Split
    from nas_edge.progress import Progress
    from nas_edge.spaces.onnx_quantise import QdqForm
    from nas_edge.supernet.static import StaticNet
    from nas_edge.training.measuring.evaluate import Evaluator, View

FINETUNED = "finetuned.safetensors"


def bundle_preprocess(bundle: Bundle) -> Preprocess:
    """The `Preprocess` that a bundle was trained with. Raises ConfigError."""
    from nas_edge.data import Preprocess

    return Preprocess.from_dict(bundle.preprocess, f"{bundle.path / HEADER}: preprocess")


def bundle_dataset(bundle: Bundle, data: str | None, progress: Progress | None = None) -> Dataset:
    """The images a bundle was trained on, or `data`, with the bundle's own splits (seed and fractions).

    Published weights may have numbers for classes: folders as many, in the order of their names, are those.

    Raises:
        DataError: not found, or its classes are not the bundle's.
    """
    from nas_edge.data import load_dataset
    from nas_edge.errors import DataError

    stored = bundle.header.get("data", {})
    spec = data or str(stored.get("spec", ""))
    if not spec:
        raise DataError(
            f"bundle {bundle.name!r} does not say what it was trained on; name images of its classes, --data photos/"
        )
    dataset = load_dataset(spec, seed=int(stored.get("seed", 0)), progress=progress)
    numbered = bundle.classes == tuple(map(str, range(bundle.num_classes)))
    if dataset.classes != bundle.classes and not (numbered and len(dataset.classes) == bundle.num_classes):
        raise DataError(f"{spec}: classes {_few(dataset.classes)} are not the bundle's ({_few(bundle.classes)})")
    return dataset


def _few(names: tuple[str, ...], most: int = 8) -> str:
    return ", ".join(names[:most]) + (f" ... ({len(names)})" if len(names) > most else "")


def bundle_calibration(bundle: Bundle, data: str | None = None) -> Split:
    """The training images that a bundle's networks are recalibrated on: its own, or drawn anew from its data set.

    Args:
        bundle: that is asked.
        data: where the data set lies, for a bundle that ships no images; None for where it is looked for by name.

    Raises:
        FormatError: they are damaged. DataError: it ships none, and they are not found, or others.
    """
    from nas_edge.data.calibration import choose_calibration, read_calibration
    from nas_edge.errors import DataError

    if bundle.ships_images:
        return read_calibration(bundle.calibration)
    stored = bundle.header.get("data", {})
    try:
        train = bundle_dataset(bundle, data).train
    except DataError as error:
        raise DataError(f"bundle {bundle.name!r} ships no images, and its batch norms need some: {error}") from error
    known = stored.get("sha256", {}).get("train")
    if known is not None and train.sha256() != known:
        given = data or stored["spec"]
        raise DataError(f"{given}: is not what bundle {bundle.name!r} was trained on ({stored['summary']})")
    return choose_calibration(train, int(stored.get("seed", 0)))


def bundle_evaluator(
    bundle: Bundle, precision: Precision = Precision.FP32, data: str | None = None, form: QdqForm | None = None
) -> Evaluator:
    """Recalibration, and ranges of int8, from the bundle's calibration images; raises as `bundle_calibration`.

    The form of int8 is by default the one for this machine; that of a run's devices comes from `exporting.int8`.
    """
    from nas_edge.training.measuring.evaluate import Evaluator

    calibration, preprocess = bundle_calibration(bundle, data), bundle_preprocess(bundle)
    if precision is not Precision.INT8:
        return Evaluator(calibration, preprocess)
    from nas_edge.runtimes.saturation import local_form

    return Evaluator(calibration, preprocess, form or local_form())


def bundle_views(bundle: Bundle) -> tuple[View, ...]:
    """The fixed views of each image under which the bundle's subnets were measured."""
    from nas_edge.training.measuring.evaluate import fixed_views
    from nas_edge.training.recipe import Recipe

    augmentation = Recipe.from_dict(bundle.header.get("recipe", {})).augmentation
    count = int(bundle.header.get("figures", {}).get("views", 1))
    return fixed_views(count, augmentation.horizontal_flip, augmentation.vertical_flip)


def subnet_of_bundle(bundle: Bundle, arch: Population, evaluator: Evaluator | None = None) -> StaticNet:
    """One architecture (int8 [genes]) with inherited weights, recalibrated, in evaluation mode."""
    return (evaluator or bundle_evaluator(bundle)).recalibrated(bundle.supernet(), arch)


def subnet_of_run(run: Run, data: str | None = None) -> tuple[StaticNet, Bundle, Population]:
    """The network of a run: its own weights where it was fine-tuned or trained alone, else inherited ones.

    Args:
        run: that is asked.
        data: as in `bundle_calibration`.

    Raises:
        DataError: see `bundle_calibration`.
        FormatError, UnknownNameError: run, bundle or weights are missing or damaged.
    """
    from nas_edge.supernet.static import StaticNet
    from nas_edge.supernet.weights import load_weights

    bundle = load_bundle(run.bundle)
    arch = bundle.space.from_json(dict(run.arch), str(run.path / "arch.json"))
    weights = run.path / FINETUNED
    if not weights.is_file():
        return subnet_of_bundle(bundle, arch, bundle_evaluator(bundle, data=data)), bundle, arch
    net = StaticNet.of(bundle.space, arch, bundle.num_classes)
    load_weights(net, weights)
    return net.eval(), bundle, arch


def deployed_model(net: StaticNet, bundle: Bundle, precision: str, form: QdqForm | None = None) -> bytes:
    """A recalibrated network as the file that is deployed, batch 1; in int8 with ranges of the calibration images.

    The form of int8 is by default the one for this machine.

    Raises:
        ExportError: a precision that networks are not exported in.
    """
    from nas_edge.export.onnx_file import build_model

    if precision == "fp32":
        return build_model(net, classes=bundle.classes)
    if precision == "fp16":
        import onnx

        from nas_edge.spaces.onnx_half import half

        model = half(onnx.load_from_string(build_model(net, classes=bundle.classes)))
        return bytes(model.SerializeToString(deterministic=True))
    if precision == "int8":
        from nas_edge.training.measuring.answers import int8_model

        evaluator = bundle_evaluator(bundle)
        model = int8_model(net, evaluator.calibration_batches(net.resolution), form or evaluator.form)
        return bytes(model.SerializeToString(deterministic=True))
    raise ExportError(f"networks are deployed in fp32, fp16 or int8, not {precision}")


def finetuned(path: Path) -> bool:
    """Whether a run has weights of its own."""
    return (path / FINETUNED).is_file()
