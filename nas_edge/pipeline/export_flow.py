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
    from nas_edge.data import Split
    from nas_edge.export.deploy import Figure, ModelCard
    from nas_edge.export.parity import ParityReport
    from nas_edge.pipeline.bundle import Bundle

FORMATS = ("onnx",)
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
        parity: against torch on real images.
        finetuned: whether the run's own weights were used, not the supernet's.

    """

    run: Path
    directory: Path
    model: Path
    format: str
    precision: str
    parity: ParityReport
    finetuned: bool

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
        }

    def lines(self) -> list[str]:
        """For a person."""
        parity = self.parity
        return [
            f"exported   {self.model} ({format_bytes(self.model.stat().st_size)}, {self.format}, {self.precision})",
            f"checked    ONNX checker, and {parity.runtime} against torch on {parity.images} images: largest "
            f"difference {parity.max_abs_difference:.1e}, top-1 agreement {100 * parity.top1_agreement:g} %",
            f"deploy     python {self.directory / 'example.py'} IMAGE",
        ]


def export_flow(
    run: Path, format: str = "onnx", precision: str | None = None, out: Path | None = None, progress: Progress = silent
) -> ExportReport:
    """Export the network of a run and prove it on the bundle's images (search and test split; labels are not used).

    Args:
        run: directory of a search.
        format: "onnx".
        precision: "fp32"; by default the run's.
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
    if wanted != "fp32":
        raise ExportError(f"{format} is exported as fp32 by this version, not {wanted!r}; add --precision fp32")
    directory = out or run / f"{format}-{wanted}"
    if directory.exists() and not directory.is_dir():
        raise ConfigError(f"{directory}: is a file; choose another directory to export to")
    make_directory(directory)

    progress(0, 4, "loading the network")
    import numpy as np

    from nas_edge.export.deploy import write_deploy
    from nas_edge.export.onnx_file import build_model
    from nas_edge.export.parity import check_parity
    from nas_edge.pipeline.networks import bundle_preprocess, finetuned, subnet_of_run

    net, bundle, _ = subnet_of_run(found)
    side, preprocess = net.resolution, bundle_preprocess(bundle)
    model = build_model(net, classes=bundle.classes)
    progress(1, 4, "reading images")
    images = np.concatenate([split.images(preprocess, side) for split in _parity_splits(bundle)])

    def compared(done: float, total: float, text: str) -> None:
        progress(2 + done / max(total, 1), 4, text)

    parity = check_parity(net, model, images, preprocess, progress=compared)
    progress(3, 4, "writing")
    card = _card(found, bundle)
    write_deploy(directory, model, classes=bundle.classes, preprocess=preprocess, side=side, parity=parity, card=card)
    report = ExportReport(run, directory, directory / "model.onnx", format, wanted, parity, finetuned(run))
    write_json(directory / REPORT, {"format": 1, "date": time.strftime("%Y-%m-%d"), "export": report.to_json()})
    return report


def _parity_splits(bundle: Bundle) -> list[Split]:
    """What file and network are compared on: images not trained on, else the bundle's own calibration images."""
    from nas_edge.data.calibration import read_calibration
    from nas_edge.pipeline.bundle import CALIBRATION
    from nas_edge.pipeline.networks import bundle_dataset

    try:
        dataset = bundle_dataset(bundle, None)
    except DataError:  # moved, or never on this machine: a bundle is enough to export from
        return [read_calibration(bundle.path / CALIBRATION)]
    splits = [dataset.splits[name] for name in _SPLITS]
    return [split.subset(range(min(len(split), _MOST_IMAGES))) for split in splits]


def exported_model(run: Path, precision: str) -> Path | None:
    """The ONNX file that was exported from a run, None where there is none yet, or one of older weights."""
    from nas_edge.pipeline.networks import FINETUNED

    path, weights = run / f"onnx-{precision}" / "model.onnx", run / FINETUNED
    if not path.is_file() or (weights.is_file() and weights.stat().st_mtime > path.stat().st_mtime):
        return None
    return path


def _card(run: Run, bundle: Bundle) -> ModelCard:
    from nas_edge.export.deploy import ModelCard

    data = bundle.header.get("data", {})
    init = bundle.header.get("init")
    sources = [f"started from {init['name']} ({init['source']}, {init['licence']})"] if init else []
    return ModelCard(
        title=f"{' / '.join(bundle.classes)}: a {bundle.template.name} network for {run.target}",
        arch={key: value for key, value in run.arch.items() if key in ("r", "w", "d", "ks", "e")},
        space=bundle.template.name,
        figures=_figures(run.result),
        data=" ".join(str(part) for part in (data.get("summary", ""), data.get("source", "")) if part),
        sources=sources,
    )


def _figures(result: Mapping[str, Any]) -> list[Figure]:
    from nas_edge.export.deploy import Figure

    latency, accuracy = result.get("latency_ms") or {}, result.get("accuracy") or {}
    figures = []
    if accuracy.get("measured") is not None:
        figures.append(Figure("accuracy", f"{accuracy['measured']:.1%}", "measured on the search split"))
    elif accuracy.get("predicted") is not None:
        figures.append(Figure("accuracy", f"{accuracy['predicted']:.1%}", "modelled: accuracy predictor"))
    if latency.get("measured") is not None:
        figures.append(Figure("latency", format_ms(latency["measured"]), f"measured on {result['target']}, hot median"))
    elif latency.get("predicted") is not None:
        figures.append(Figure("latency", format_ms(latency["predicted"]), f"{latency['origin']}, not verified"))
    for name, unit in (("macs", "multiply-adds"), ("params", "parameters")):
        if name in result:
            figures.append(Figure(unit, format_count(result[name]), "computed"))
    return figures
