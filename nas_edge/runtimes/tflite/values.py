"""The tensors of a network's values: int8 or float32, converted where a layer wants the other form."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nas_edge.runtimes.tflite.file import FileWriter
from nas_edge.runtimes.tflite.reading import Network

_QUANTIZE, _DEQUANTIZE = ("QUANTIZE", 1, "QuantizeOptions"), ("DEQUANTIZE", 2, "DequantizeOptions")


class Values:
    """One tensor for each value and form, made when it is first asked for."""

    def __init__(self, network: Network, writer: FileWriter) -> None:
        self._network, self._file = network, writer
        self._tensors: dict[tuple[str, bool], int] = {}
        self._same: dict[str, str] = {}
        self._names = {edge.value: edge.name for edge in (*network.outputs, *network.inputs)}

    def edge(self, name: str) -> int:
        """An input or output of the network: int8 where the value is quantised."""
        return self.given(name, name in self._network.quantisations)

    def given(self, name: str, int8: bool) -> int:
        """The tensor that a layer fills, or that stands for a value already; converted where it has the other form."""
        name = self._same.get(name, name)
        if (name, int8) in self._tensors:
            return self._tensors[name, int8]
        made = self._tensors[name, int8] = self._tensor(name, int8)
        other = self._tensors.get((name, not int8))
        if other is not None:
            operator, version, options = _QUANTIZE if int8 else _DEQUANTIZE
            self._file.operator(operator, version, [other], made, options)
        return made

    def alias(self, name: str, source: str) -> None:
        """Have a value stand for another one, whose numbers it has."""
        self._same[name] = self._same.get(source, source)

    def _tensor(self, name: str, int8: bool) -> int:
        shape, codes = channels_last(self._network.shapes[name]), self._network.quantisations.get(name)
        usual = int8 == (codes is not None)
        shown = self._names.get(name, name) if usual else f"{name}.real"
        return self._file.tensor(
            shown, shape, np.int8 if int8 else np.float32, codes if int8 else None,
            dynamic_batch=self._network.dynamic_batch,
        )  # fmt: skip


def channels_last(shape: Sequence[int]) -> tuple[int, ...]:
    """[n, channels, height, width] as [n, height, width, channels]; other shapes as they are."""
    return (shape[0], shape[2], shape[3], shape[1]) if len(shape) == 4 else tuple(shape)
