"""The deploy folder: the model, how to feed it, a program that does, and a card that says what it is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nas_edge import __version__
from nas_edge.data.preprocess import Preprocess
from nas_edge.errors import ExportError
from nas_edge.export.parity import ParityReport
from nas_edge.export.quantise import QuantisationReport
from nas_edge.files import make_directory, write_bytes, write_json, write_text
from nas_edge.units import format_bytes

MODEL = "model.onnx"
LABELS, PREPROCESS, EXAMPLE, CARD = (
    "labels.txt",
    "preprocess.json",
    "example.py",
    "model_card.md",
)


@dataclass(frozen=True)
class DeployKind:
    """What a folder holds for one kind of runtime.

    Attributes:
        model: name of the file that the runtime loads.
        example: file in this room that becomes `example.py`.
        needs: packages and programs of the example, in words.
        commands: lines of a shell that the card shows, and what each is for.

    """

    model: str = MODEL
    example: str = "deploy_example.py"
    needs: str = "onnxruntime, numpy and Pillow"
    commands: tuple[tuple[str, str], ...] = ()


ONNX_KIND = DeployKind()
C_KIND = DeployKind(example="deploy_example_c.py", needs="a C compiler, make, numpy and Pillow")
TFLITE_KIND = DeployKind(
    "model.tflite", "deploy_example_tflite.py", needs="ai-edge-litert (or tflite-runtime), numpy and Pillow"
)


@dataclass(frozen=True)
class Figure:
    """A line of the model card.

    Attributes:
        name: what is told, "accuracy", "latency".
        value: with unit and, where there is one, interval.
        origin: measured where and when, published by whom, or modelled.

    """

    name: str
    value: str
    origin: str


@dataclass(frozen=True)
class ModelCard:
    """What a person must know of a model before using it.

    Attributes:
        title: one line.
        arch: the architecture as JSON data.
        space: name of its search space.
        figures: accuracy, latency, MACs, parameters ..., each with its origin.
        data: what it was trained on, with licence.
        sources: licences and origins of what else is in it (pretrained weights).
        warnings: what it must not be relied on for.

    """

    title: str
    arch: Mapping[str, Any]
    space: str
    figures: Sequence[Figure]
    data: str
    sources: Sequence[str] = field(default=())
    warnings: Sequence[str] = field(default=())

    def markdown(
        self,
        classes: Sequence[str],
        side: int,
        model: bytes,
        parity: ParityReport,
        quantisation: QuantisationReport | None = None,
        kind: DeployKind = ONNX_KIND,
    ) -> str:
        """The card as Markdown."""
        numbers = quantisation.precision if quantisation else "float32"
        rows = [f"| {_cell(f.name)} | {_cell(f.value)} | {_cell(f.origin)} |" for f in self.figures]
        lines = [
            f"# {self.title}",
            "",
            f"Classifies pictures into {len(classes)} classes: {', '.join(classes)}.",
            f"Input: {side} x {side} pixels, prepared as `{PREPROCESS}` says; `{EXAMPLE}` does it.",
            "",
            "| figure | value | origin |",
            "| --- | --- | --- |",
            *rows,
            "",
            "## The file",
            "",
            f"- `{kind.model}`: {format_bytes(len(model))}, {numbers}, sha256 `{hashlib.sha256(model).hexdigest()}`",
            f"- Written by nas-edge {__version__} from the space `{self.space}`.",
            f"- `{EXAMPLE}` needs {kind.needs}.",
            *_checks(parity, quantisation),
            *(f"- {what}: `{line}`" for what, line in kind.commands),
            f"- Architecture: `{json.dumps(dict(self.arch))}`",
            "",
            "## What it was made from",
            "",
            f"- Images: {self.data}",
            *(f"- {source}" for source in self.sources),
        ]
        loud = [quantisation.warning()] if quantisation and quantisation.loud else []
        if self.warnings or loud:
            lines += ["", "## Limits", "", *(f"- {warning}" for warning in (*loud, *self.warnings))]
        return "\n".join(lines) + "\n"


def write_deploy(
    folder: Path,
    model: bytes,
    *,
    classes: Sequence[str],
    preprocess: Preprocess,
    side: int,
    parity: ParityReport,
    card: ModelCard,
    quantisation: QuantisationReport | None = None,
    kind: DeployKind = ONNX_KIND,
) -> tuple[Path, ...]:
    """Write a folder from which a runtime classifies pictures without nas-edge.

    The model, `labels.txt` (a class a line), `preprocess.json`, `example.py`, `model_card.md`. The model is written
    last: a folder that has it is whole.

    Args:
        folder: made if it is not there; files of these names are replaced.
        model: from `build_model`, proven by `check_parity`.
        classes: names, by number.
        preprocess: what the network was trained with.
        side: of its input, in pixels.
        parity: the proof, for the card; of the float32 file that an int8 one was made from.
        quantisation: what a lower precision costs, for the card; None for a float32 file.
        kind: of the folder; by default one for ONNX Runtime.
        card: the rest of what is told.

    Returns:
        The files.

    Raises:
        ExportError: a class name with a line break. ConfigError, StorageError: not writable, disk full.

    """
    if broken := [name for name in classes if len(name.splitlines()) != 1]:
        raise ExportError(f"class {broken[0]!r} does not fit on a line of {LABELS}; rename it")
    make_directory(folder)
    (folder / kind.model).unlink(missing_ok=True)  # an older one must not stand beside newer settings
    settings = preprocess.to_dict() | {"side": side, "input": "image", "output": "logits"}
    settings["precision"] = quantisation.precision if quantisation else "fp32"
    write_text(folder / LABELS, "".join(f"{name}\n" for name in classes))
    write_json(folder / PREPROCESS, settings)
    write_text(folder / EXAMPLE, Path(__file__).with_name(kind.example).read_text(encoding="utf-8"))
    write_text(folder / CARD, card.markdown(classes, side, model, parity, quantisation, kind))
    write_bytes(folder / kind.model, model)
    return tuple(folder / name for name in (kind.model, LABELS, PREPROCESS, EXAMPLE, CARD))


def _checks(parity: ParityReport, quantisation: QuantisationReport | None) -> list[str]:
    if quantisation is None:
        return [f"- Checked: {parity.describe()}."]
    if quantisation.precision != "int8":
        return [f"- Checked in float32: {parity.describe()}.", f"- Checked: {quantisation.describe()}."]
    kept = ", ".join(f"`{name}`" for name in quantisation.kept_float)
    return [
        f"- Checked before quantising: {parity.describe()}.",
        f"- Quantised: activations' ranges from {quantisation.calibration_images} training images, weights of "
        f"{quantisation.weight_bits} bits, one scale a channel.",
        *([f"- Kept in float32: {kept}."] if kept else []),
        f"- Checked: {quantisation.describe()}.",
    ]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
