"""Export: a run's network as a checked file in a folder that the device can use without nas-edge."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas_edge.errors import ConfigError, DataError, ExportError, UnknownNameError
from nas_edge.files import make_directory, write_json
from nas_edge.pipeline.running.directory import Run, load_run, sha256
from nas_edge.progress import Progress, silent
from nas_edge.units import format_bytes, format_count, format_ms

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from nas_edge.data import Preprocess
    from nas_edge.export.deploy import Figure, ModelCard
    from nas_edge.export.parity import ParityReport
    from nas_edge.export.quantise import QuantisationReport
    from nas_edge.pipeline.bundle import Bundle

FORMATS = ("onnx",)
PRECISIONS = ("fp32", "int8")
REPORT = "export.json"
_SPLITS = ("search", "test")
_MOST_IMAGES = 2000  # of each split: more would only take longer


@dataclass(frozen=True)
class ExportReport:
    """An exported file and the proof that it computes what the network computes.

    Attributes:
        run: directory of the search.
        directory: what was written.
        model: the file that a runtime loads.
        format, precision: of the file.
        parity: against torch on real images; of the float32 file that an int8 one is made from.
        quantisation: int8 against float32 on the same images; None for a float32 file.
        finetuned: whether the run's own weights were used, not the supernet's.

    """

    run: Path
    directory: Path
    model: Path
    format: str
    precision: str
    parity: ParityReport
    finetuned: bool
    quantisation: QuantisationReport | None = None

    @property
    def exit_code(self) -> int:
        """0: what does not agree is an error."""
        return 0

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "run": str(self.run),
            "directory": str(self.directory),
            "model": str(self.model),
            "format": self.format,
            "precision": self.precision,
            "bytes": self.model.stat().st_size,
            "sha256": sha256(self.model),
            "finetuned": self.finetuned,
            "parity": {
                "images": self.parity.images,
                "max_abs_difference": self.parity.max_abs_difference,
                "top1_agreement": self.parity.top1_agreement,
                "tolerance": self.parity.tolerance,
                "runtime": self.parity.runtime,
            },
            **({"quantisation": self.quantisation.to_json()} if self.quantisation else {}),
        }

    def lines(self) -> list[str]:
        """For a person."""
        parity = self.parity
        return [
            f"exported   {self.model} ({format_bytes(self.model.stat().st_size)}, {self.format}, {self.precision})",
            f"checked    ONNX checker, and {parity.runtime} against torch on {parity.images} images: largest "
            f"difference {parity.max_abs_difference:.1e}, top-1 agreement {100 * parity.top1_agreement:g} %",
            *self._of_int8(),
            f"deploy     python {self.directory / 'example.py'} IMAGE",
        ]

    def _of_int8(self) -> list[str]:
        if self.quantisation is None:
            return []
        lines = [f"quantised  {self.quantisation.describe()}"]
        if self.quantisation.weight_bits < 8:
            lines.append("note       this CPU's int8 sums overflow with 8-bit weights: they have 7 bits")
        return lines + [f"WARNING    {text}" for text in [self.quantisation.warning()] if text]


def export_flow(
    run: Path, format: str = "onnx", precision: str | None = None, out: Path | None = None, progress: Progress = silent
) -> ExportReport:
    """Export the network of a run and prove it on the bundle's images (search and test split).

    Labels are looked at for int8 alone, and those of the search split alone: what quantising costs is told in pairs.

    Args:
        run: directory of a search.
        format: "onnx".
        precision: "fp32" or "int8"; by default the run's.
        out: directory to write, by default `RUN/<format>-<precision>`.
        progress: told how far it is.

    Raises:
        UnknownNameError: no such format. ExportError: a precision that this format does not have yet.
        ParityError: the file computes something else. ConfigError, FormatError: no run, or a damaged one.

    """
    if format not in FORMATS:
        raise UnknownNameError("export format", format, FORMATS)
    found = load_run(run)
    wanted = precision or found.precision
    if wanted not in PRECISIONS:
        raise ExportError(f"{format} is exported as {' or '.join(PRECISIONS)} by this version, not {wanted!r}")
    directory = out or run / f"{format}-{wanted}"
    if directory.exists() and not directory.is_dir():
        raise ConfigError(f"{directory}: is a file; choose another directory to export to")
    make_directory(directory)

    progress(0, 5, "loading the network")
    from nas_edge.export.deploy import write_deploy
    from nas_edge.export.onnx_file import build_model
    from nas_edge.export.parity import check_parity
    from nas_edge.pipeline.networks import bundle_preprocess, finetuned, subnet_of_run

    net, bundle, _ = subnet_of_run(found)
    side, preprocess = net.resolution, bundle_preprocess(bundle)
    model = build_model(net, classes=bundle.classes)
    progress(1, 5, "reading images")
    proof = _proof_images(bundle, preprocess, side)
    parity = check_parity(net, model, proof.images, preprocess, progress=_part(progress, 2))
    quantisation = None
    if wanted == "int8":
        model, quantisation = _quantised(model, bundle, preprocess, side, proof, progress)
    progress(4, 5, "writing")
    card = _card(found, bundle, wanted, quantisation)
    write_deploy(
        directory, model, classes=bundle.classes, preprocess=preprocess, side=side, parity=parity, card=card,
        quantisation=quantisation,
    )  # fmt: skip
    report = ExportReport(
        run, directory, directory / "model.onnx", format, wanted, parity, finetuned(run), quantisation
    )
    write_json(directory / REPORT, {"format": 1, "date": time.strftime("%Y-%m-%d"), "export": report.to_json()})
    return report


def _part(progress: Progress, start: float) -> Progress:
    """One of the five steps of an export."""

    def told(done: float, total: float, text: str) -> None:
        progress(start + done / max(total, 1), 5, text)

    return told


@dataclass(frozen=True)
class _ProofImages:
    """What files are compared on: uint8 [n, side, side, 3]; labels int64 [n], `UNLABELLED` where they stay unread."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    on: str


def _proof_images(bundle: Bundle, preprocess: Preprocess, side: int) -> _ProofImages:
    """Images not trained on, else the bundle's own calibration images."""
    import numpy as np

    from nas_edge.data.calibration import read_calibration
    from nas_edge.export.quantise import UNLABELLED
    from nas_edge.pipeline.bundle import CALIBRATION
    from nas_edge.pipeline.networks import bundle_dataset

    try:
        dataset = bundle_dataset(bundle, None)
    except DataError:  # moved, or never on this machine: a bundle is enough to export from
        own = read_calibration(bundle.path / CALIBRATION)
        return _ProofImages(own.images(preprocess, side), np.asarray(own.labels), "images it was trained on")
    splits = [dataset.splits[name] for name in _SPLITS]
    splits = [split.subset(range(min(len(split), _MOST_IMAGES))) for split in splits]
    return _ProofImages(
        np.concatenate([split.images(preprocess, side) for split in splits]),
        np.concatenate([np.asarray(splits[0].labels), np.full(len(splits[1]), UNLABELLED)]),
        "search and test split; labels of the search split",
    )


def _quantised(
    model: bytes, bundle: Bundle, preprocess: Preprocess, side: int, proof: _ProofImages, progress: Progress
) -> tuple[bytes, QuantisationReport]:
    from nas_edge.data.calibration import read_calibration
    from nas_edge.export.quantise import compare_precisions, quantised_file
    from nas_edge.pipeline.bundle import CALIBRATION
    from nas_edge.runtimes.saturation import local_form

    form = local_form()
    images = read_calibration(bundle.path / CALIBRATION).images(preprocess, side)
    int8 = quantised_file(model, images, preprocess, form, _part(progress, 3))
    report = compare_precisions(
        model, int8, proof.images, preprocess, proof.labels, calibration_images=len(images), on=proof.on,
        weight_bits=form.weight_bits, progress=_part(progress, 3),
    )  # fmt: skip
    return int8, report


def exported_model(run: Path, precision: str) -> Path | None:
    """The ONNX file that was exported from a run, None where there is none yet, or one of older weights."""
    from nas_edge.pipeline.networks import FINETUNED

    path, weights = run / f"onnx-{precision}" / "model.onnx", run / FINETUNED
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
        figures.append(Figure("latency", format_ms(latency["predicted"]), f"{latency['origin']}, not verified"))
    for name, unit in (("macs", "multiply-adds"), ("params", "parameters")):
        if name in result:
            figures.append(Figure(unit, format_count(result[name]), "computed"))
    return figures
