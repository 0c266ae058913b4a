"""Export: a run's network as a checked file in a folder that the device can use without nas-edge."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas_edge.errors import ConfigError, NasEdgeError
from nas_edge.files import make_directory, write_json, write_text
from nas_edge.pipeline.devices.targets import MICROCONTROLLER
from nas_edge.pipeline.exporting.c import SOURCE, Chip, write_c
from nas_edge.pipeline.exporting.formats import ExportFormat, checked_precision, export_format
from nas_edge.pipeline.exporting.images import ProofImages, calibration_images, proof_images
from nas_edge.pipeline.exporting.int8 import form_of_run
from nas_edge.pipeline.exporting.litert import agreement_note, device_notes
from nas_edge.pipeline.exporting.report import SENSITIVITY, ExportReport
from nas_edge.pipeline.running.directory import Run, load_run
from nas_edge.progress import Progress, silent
from nas_edge.units import format_count, format_ms

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from nas_edge.data import Preprocess
    from nas_edge.export.deploy import Figure, ModelCard
    from nas_edge.export.quantise import QuantisationReport
    from nas_edge.export.sensitivity import LayerSensitivity
    from nas_edge.pipeline.bundle import Bundle
    from nas_edge.spaces.onnx_quantise import QdqForm

PLAN = "model.plan"
REPORT = "export.json"


@dataclass(frozen=True)
class ExportWishes:
    """What is asked for beyond format and precision.

    Attributes:
        keep_float: so many layers stay in float32: those that suffer most from int8.
        sensitivity: tell how much each layer suffers, even where none is kept.
        data: images of the same classes, a name, folder or CSV: where those that the bundle was trained on lie, or
            others to prove the file on; by default where the bundle says they are.
        calibration: images that ranges are observed on, likewise; by default the bundle's.
        target, host, serial: device that the file is for: engines are built on it, and it is asked whether int8 sums
            overflow there; by default the run's target, where it can be reached.

    """

    keep_float: int = 0
    sensitivity: bool = False
    data: str | None = None
    calibration: str | None = None
    target: str | None = None
    host: str | None = None
    serial: str | None = None


def export_flow(
    run: Path,
    format: str = "onnx",
    precision: str | None = None,
    out: Path | None = None,
    progress: Progress = silent,
    wishes: ExportWishes | None = None,
) -> ExportReport:
    """Export the network of a run and prove it on images that it was not trained on (search and test split).

    Where these are not at hand the bundle's calibration images stand in; a bundle that ships none needs `wishes.data`.
    Labels are looked at for lower precisions alone, and those of the search split alone: what these cost is told in
    pairs.

    Args:
        run: directory of a search.
        format: see `export_formats`.
        precision: "fp32", "fp16" or "int8"; by default the run's.
        out: directory to write, by default `RUN/<format>-<precision>`.
        progress: told how far it is.
        wishes: all else.

    Raises:
        UnknownNameError: no such format. ExportError: a precision that this format does not have, or layers to be kept
            in float where none is quantised. ParityError: the file computes something else. DeviceError: the device
            that was named cannot be reached. DataError: images missing, or of other classes. ConfigError, FormatError:
            no run, or a damaged one.

    """
    wishes, chosen = wishes or ExportWishes(), export_format(format)
    found = load_run(run)
    only = chosen.precisions[0] if len(chosen.precisions) == 1 else found.precision
    wanted = checked_precision(chosen, precision or only)
    if wanted != "int8" and (wishes.keep_float or wishes.sensitivity or wishes.calibration):
        raise ConfigError(
            f"--keep-float, --sensitivity and --calibrate are about int8: add --precision int8, not {wanted}"
        )
    format = chosen.name
    directory = out or run / f"{format}-{wanted}"
    if directory.exists() and not directory.is_dir():
        raise ConfigError(f"{directory}: is a file; choose another directory to export to")
    make_directory(directory)

    progress(0, 5, "loading the network")
    from nas_edge.export.deploy import write_deploy
    from nas_edge.export.onnx_file import build_model
    from nas_edge.export.parity import check_parity
    from nas_edge.pipeline.networks import bundle_preprocess, finetuned, subnet_of_run

    net, bundle, _ = subnet_of_run(found, wishes.data)
    side, preprocess = net.resolution, bundle_preprocess(bundle)
    chip = None
    if chosen.runtime == MICROCONTROLLER and (chip := Chip.of(wishes.target or found.target)) is not None:
        chip.refuse_too_large(net.specs)
    model = build_model(net, classes=bundle.classes)
    progress(1, 5, "reading images")
    proof = proof_images(bundle, wishes.data, preprocess, side)
    plain = model if wanted != "fp32" else chosen.proof(chosen.artefact(model, "fp32"), "fp32")
    parity = check_parity(net, plain, proof.images, preprocess, progress=_part(progress, 2))
    lowered = _Lowered(model, None, ())
    asked: tuple[str, ...] = ()
    if wanted != "fp32":
        int8 = None
        if wanted == "int8":
            calibration = calibration_images(bundle, wishes.data, wishes.calibration, preprocess, side)
            form, asked = form_of_run(
                found, chosen.runtime, target=wishes.target, host=wishes.host, serial=wishes.serial
            )
            int8 = _Int8(form, calibration)
        lowered = _lowered(model, chosen, wanted, int8, preprocess, proof, wishes, progress)
    artefact = chosen.artefact(lowered.model, wanted)
    progress(4, 5, "writing")
    card, file = _card(found, bundle, wanted, lowered.report), chosen.file
    memory: tuple[str, ...] = ()
    if chosen.runtime == MICROCONTROLLER:
        file = SOURCE
        figures, memory = write_c(directory, artefact, card.title, bundle.classes, preprocess, chip)
        card = replace(card, figures=(*card.figures, *figures))
    write_deploy(
        directory, artefact, classes=bundle.classes, preprocess=preprocess, side=side, parity=parity, card=card,
        quantisation=lowered.report, kind=chosen.kind(wanted),
    )  # fmt: skip
    if lowered.sensitive:
        from nas_edge.export.sensitivity import as_csv

        write_text(directory / SENSITIVITY, as_csv(lowered.sensitive))
    plan, notes = _engine(chosen, found, artefact, wanted, directory, wishes, progress)
    if chosen.runtime == "litert" and wanted == "int8":
        notes += agreement_note(lowered.model, chosen.proof(artefact, wanted), proof.images, preprocess)
        notes += device_notes(artefact, side, wishes.target or found.target, bool(wishes.target), directory)
    report = ExportReport(
        run, directory, directory / file, format, wanted, parity, finetuned(run), lowered.report,
        lowered.sensitive, chosen.kind(wanted).commands, plan, (*asked, *notes, *memory),
    )  # fmt: skip
    write_json(directory / REPORT, {"format": 1, "date": time.strftime("%Y-%m-%d"), "export": report.to_json()})
    return report


def _part(progress: Progress, start: float) -> Progress:
    """One of the five steps of an export."""

    def told(done: float, total: float, text: str) -> None:
        progress(start + done / max(total, 1), 5, text)

    return told


@dataclass(frozen=True)
class _Int8:
    """What an int8 model is made with; `calibration` are images uint8 [n, side, side, 3]."""

    form: QdqForm
    calibration: NDArray[np.uint8]


@dataclass(frozen=True)
class _Lowered:
    """An ONNX model in its precision (int8 in the canonical form), what that costs, and who suffers."""

    model: bytes
    report: QuantisationReport | None
    sensitive: tuple[LayerSensitivity, ...]


def _lowered(
    model: bytes,
    chosen: ExportFormat,
    precision: str,
    int8: _Int8 | None,
    preprocess: Preprocess,
    proof: ProofImages,
    wishes: ExportWishes,
    progress: Progress,
) -> _Lowered:
    from nas_edge.export.quantise import compare_precisions, observed_ranges, quantised_file
    from nas_edge.export.sensitivity import most_sensitive, sensitivities

    kept: tuple[str, ...] = ()
    sensitive: tuple[LayerSensitivity, ...] = ()
    lower, told = model, _part(progress, 3)
    if int8 is not None:
        images, form = int8.calibration, int8.form
        ranges = observed_ranges(model, images, preprocess, told)
        if wishes.keep_float or wishes.sensitivity:
            sensitive = sensitivities(model, ranges, images, preprocess, form, told)
            kept = most_sensitive(sensitive, wishes.keep_float)
        lower = quantised_file(model, images, preprocess, form, told, ranges=ranges, keep_float=kept)
    report = compare_precisions(
        model, chosen.proof(chosen.artefact(lower, precision), precision), proof.images, preprocess, proof.labels,
        calibration_images=len(int8.calibration) if int8 else 0, on=proof.on,
        weight_bits=int8.form.weight_bits if int8 else 16, precision=precision, kept_float=kept,
        progress=told,
    )  # fmt: skip
    return _Lowered(lower, report, sensitive)


def _engine(
    chosen: ExportFormat,
    run: Run,
    artefact: bytes,
    precision: str,
    directory: Path,
    wishes: ExportWishes,
    progress: Progress,
) -> tuple[Path | None, tuple[str, ...]]:
    """A TensorRT engine, built on the device: its file, and what to know of it.

    A device that was named must be reached; the run's own target need not.
    """
    if chosen.runtime != "tensorrt":
        return None, ()
    from nas_edge.pipeline.devices.bench import can_be_reached, open_bench
    from nas_edge.pipeline.devices.reaching import at_device, run_by
    from nas_edge.pipeline.devices.targets import load_target
    from nas_edge.runtimes.tensorrt import TensorRtRuntime

    named = bool(wishes.target or wishes.host or wishes.serial)
    try:
        target = run_by(at_device(load_target(wishes.target or run.target), wishes.host, wishes.serial), "tensorrt")
        if not named and (target.device.kind == "local" or not can_be_reached(target)):
            return None, ("no engine was built: name the device, --target NAME or --host user@addr",)
        progress(4, 5, "building the engine on the device")
        bench = open_bench(target)
        try:
            assert isinstance(bench.runtime, TensorRtRuntime)
            built = bench.runtime.export_plan(artefact, precision, directory / PLAN)
        finally:
            bench.close()
    except NasEdgeError as error:
        if named:
            raise
        return None, (f"no engine was built: {error}",)
    took = "" if built is None else f" in {built:.0f} s"
    return directory / PLAN, (
        f"{PLAN} was built{took} on {target.name} (TensorRT {bench.runtime.version()}), for it alone",
    )


def exported_model(run: Path, precision: str, format: str = "onnx") -> Path | None:
    """The file that was exported from a run, None where there is none yet, or one of older weights."""
    from nas_edge.pipeline.networks import FINETUNED

    path, weights = run / f"{format}-{precision}" / export_format(format).file, run / FINETUNED
    if not path.is_file() or (weights.is_file() and weights.stat().st_mtime > path.stat().st_mtime):
        return None
    return path


def _card(run: Run, bundle: Bundle, precision: str, quantisation: QuantisationReport | None) -> ModelCard:
    from nas_edge.export.deploy import ModelCard

    data = bundle.header.get("data", {})
    init = bundle.header.get("init")
    sources = [f"started from {init['name']} ({init['source']}, {init['licence']})"] if init else []
    return ModelCard(
        title=f"{' / '.join(bundle.classes)}: a {bundle.template.name} network for {run.target}",
        arch={key: value for key, value in run.arch.items() if key in ("r", "w", "d", "ks", "e")},
        space=bundle.template.name,
        figures=_figures(run.result, run.precision, precision, quantisation),
        data=" ".join(str(part) for part in (data.get("summary", ""), data.get("source", "")) if part),
        sources=sources,
    )


def _figures(
    result: Mapping[str, Any], searched: str, precision: str, quantisation: QuantisationReport | None
) -> list[Figure]:
    """Those of the search, where it was in this precision: accuracy and latency of another never stand in."""
    from nas_edge.export.deploy import Figure

    latency, accuracy = result.get("latency_ms") or {}, result.get("accuracy") or {}
    figures = []
    if quantisation is not None and quantisation.after is not None:
        where = f"measured on {quantisation.labelled} images ({quantisation.on})"
        figures.append(Figure("accuracy", f"{quantisation.after:.1%}", where))
    elif searched != precision:
        pass
    elif accuracy.get("measured") is not None:
        figures.append(Figure("accuracy", f"{accuracy['measured']:.1%}", "measured on the search split"))
    elif accuracy.get("predicted") is not None:
        figures.append(Figure("accuracy", f"{accuracy['predicted']:.1%}", "modelled: accuracy predictor"))
    if searched != precision:
        figures.append(Figure("latency", "not known", f"searched in {searched}; 'nas-edge profile' measures it"))
    elif latency.get("measured") is not None:
        figures.append(Figure("latency", format_ms(latency["measured"]), f"measured on {result['target']}, hot median"))
    elif latency.get("predicted") is not None:
        where = f"predicted from figures that are {latency['origin']}; not verified"
        figures.append(Figure("latency", format_ms(latency["predicted"]), where))
    for name, unit in (("macs", "multiply-adds"), ("params", "parameters")):
        if name in result:
            figures.append(Figure(unit, format_count(result[name]), "computed"))
    return figures
