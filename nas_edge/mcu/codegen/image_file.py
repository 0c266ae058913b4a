"""`image.c`: pixels of 0 to 255 as the network's input codes, and the names of its classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas_edge.errors import ExportError
from nas_edge.mcu.codegen.naming import array_lines, comment, string_literal
from nas_edge.mcu.codegen.template import fill
from nas_edge.mcu.graph import Int8Graph, Tensor


@dataclass(frozen=True)
class Pixels:
    """How pixels become real values: (pixel - mean) / std, one of each for a channel."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def table(self, tensor: Tensor) -> NDArray[np.int8]:
        """The code of every pixel value, int8 [channels, 256], as ONNX Runtime's QuantizeLinear computes it.

        Raises:
            ExportError: another number of channels than the input has.

        """
        if not len(self.mean) == len(self.std) == tensor.channels:
            raise ExportError(f"{len(self.mean)} means and {len(self.std)} deviations for {tensor.channels} channels")
        values = np.arange(256, dtype=np.float32)[None]
        real = (values - np.asarray(self.mean, np.float32)[:, None]) / np.asarray(self.std, np.float32)[:, None]
        codes = np.rint(real / np.float32(tensor.scale)) + tensor.zero_point
        clipped: NDArray[np.int8] = np.clip(codes, -128, 127).astype(np.int8)
        return clipped

    def codes(self, images: NDArray[np.uint8], tensor: Tensor) -> NDArray[np.int8]:
        """Images uint8 [n, height, width, channels] as input codes, int8 of the same shape."""
        table = self.table(tensor)
        codes: NDArray[np.int8] = np.stack([table[c][images[..., c]] for c in range(tensor.channels)], axis=-1)
        return codes


def image_source(graph: Int8Graph, pixels: Pixels, labels: Sequence[str], origin: str) -> str:
    """`image.c`. Raises ExportError where labels are not one for each output."""
    outputs = graph.output.channels
    if len(labels) != outputs:
        raise ExportError(f"{len(labels)} class names for {outputs} outputs")
    table = pixels.table(graph.input)
    alike = bool((table == table[0]).all())
    rows = [table[0]] if alike else list(table)
    codes = [line for row in rows for line in ("    {", *array_lines(row.tolist(), " " * 8), "    },")]
    return fill(
        "image.c",
        title=comment(graph.name),
        origin=origin,
        which="" if alike else " of each channel",
        tables=len(rows),
        codes="\n".join(codes),
        table="0" if alike else "i % NET_INPUT_CHANNELS",
        labels="\n".join(f"    {string_literal(label)}," for label in labels),
    )
