"""A subnet as an ONNX file, in the structure that latency tables were measured with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nas_edge.errors import ExportError
from nas_edge.files import write_bytes
from nas_edge.spaces.onnx_blocks import build_onnx
from nas_edge.supernet.fold import fold
from nas_edge.supernet.static import StaticNet


def build_model(
    net: StaticNet, *, classes: Sequence[str] | None = None, batch: int | None = 1, name: str = "nas-edge"
) -> bytes:
    """A network as a serialised ONNX model that the ONNX checker has accepted.

    Input "image" float32 [batch, 3, side, side], output "logits" float32 [batch, classes].

    Args:
        net: extracted and recalibrated; its batch norms are folded as they are in evaluation.
        classes: names, kept in the model's metadata as JSON under "labels".
        batch: a fixed batch size, or None for a dynamic one.
        name: of the graph.

    Raises:
        ExportError: the network cannot be folded, labels do not fit, or the checker objects.

    """
    import onnx

    model = build_onnx(net.specs, fold(net), batch=batch, name=name, labels=classes)
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"the ONNX checker objects: {str(error).splitlines()[0]}") from error
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def export_onnx(
    net: StaticNet,
    path: Path,
    *,
    classes: Sequence[str] | None = None,
    batch: int | None = 1,
    name: str = "nas-edge",
) -> bytes:
    """Write a network as an ONNX file, whole or not at all.

    Prove it with `parity.check_parity` before anybody relies on it.

    Returns:
        What was written.

    Raises:
        ExportError: as `build_model`. ConfigError, StorageError: the file cannot be written.

    """
    data = build_model(net, classes=classes, batch=batch, name=name)
    write_bytes(path, data)
    return data
