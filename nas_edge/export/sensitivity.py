"""Which layers of a network suffer from int8: each is quantised alone, and what that does to the logits is measured."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas_edge.data.preprocess import Preprocess
from nas_edge.errors import DataError
from nas_edge.export.parity import BATCH, FileSession
from nas_edge.progress import Progress, silent
from nas_edge.spaces.onnx_quantise import CANONICAL, QdqForm, Ranges, quantisable_layers, quantise

MOST_IMAGES = 128


@dataclass(frozen=True)
class LayerSensitivity:
    """A layer that alone is quantised, its input and weights and what it gives.

    Attributes:
        name: of the node.
        noise: mean squared change of the logits over their variance; 0 is none, 1 buries them.
        agreement: share of images with the same answer as in float32, 0..1.

    """

    name: str
    noise: float
    agreement: float


def sensitivities(
    model: bytes,
    ranges: Ranges,
    images: NDArray[np.uint8],
    preprocess: Preprocess,
    form: QdqForm = CANONICAL,
    progress: Progress = silent,
) -> tuple[LayerSensitivity, ...]:
    """Every layer with weights, the most sensitive one first.

    Args:
        model: the float32 file.
        ranges: observed on it.
        images: uint8 [n, side, side, 3], resized; at most `MOST_IMAGES` are looked at.
        preprocess: scales them.
        form: of the int8 file.
        progress: told how far it is.

    Raises:
        DataError: no images. ExportError: the model cannot be quantised.

    """
    import onnx

    if not len(images):
        raise DataError("sensitivity is measured on images, and there are none")
    given = onnx.load_from_string(model)
    pixels = images[:MOST_IMAGES]
    batches = [preprocess.normalise(pixels[start : start + BATCH]) for start in range(0, len(pixels), BATCH)]
    plain = _logits(model, batches)
    variance = max(float(plain.var()), 1e-12)
    layers, found = quantisable_layers(given), []
    for number, name in enumerate(layers):
        progress(number, len(layers), f"quantising {name} alone")
        others = [node.name for node in given.graph.node if node.name not in _group(given, name)]
        alone = quantise(given, ranges, form, keep_float=others)
        logits = _logits(alone.SerializeToString(), batches)
        noise = float(((logits - plain) ** 2).mean()) / variance
        found.append(LayerSensitivity(name, noise, float((logits.argmax(1) == plain.argmax(1)).mean())))
    return tuple(sorted(found, key=lambda layer: -layer.noise))


def most_sensitive(found: Sequence[LayerSensitivity], count: int) -> tuple[str, ...]:
    """Names of the layers that would be kept in float first."""
    return tuple(layer.name for layer in found[:count])


def as_csv(found: Sequence[LayerSensitivity]) -> str:
    """A table for people: layer, noise, agreement."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["layer", "noise", "agreement"])
    writer.writerows([layer.name, f"{layer.noise:.6g}", f"{layer.agreement:.4f}"] for layer in found)
    return text.getvalue()


def _group(model: object, name: str) -> set[str]:
    """A layer and the activation behind it."""
    nodes = model.graph.node  # type: ignore[attr-defined]
    layer = next(node for node in nodes if node.name == name)
    after = [node for node in nodes if layer.output[0] in node.input]
    alone = len(after) == 1 and after[0].op_type in ("Relu", "Clip", "HardSwish")
    return {name, after[0].name} if alone else {name}


def _logits(model: bytes, batches: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    session = FileSession(model)
    return np.concatenate([session.logits(batch) for batch in batches])
