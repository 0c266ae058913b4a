"""Times of the layers of a network, for runtimes that tell them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable


@dataclass(frozen=True)
class LayerTime:
    """One layer as the runtime made it: often several operators of the model in one.

    Attributes:
        name: the runtime's; names of the model's nodes are in it, joined by " + " where several became one.
        kind: "Conv", "Reformat" ..., "" where the runtime does not say.
        ms: of one run, on average.

    """

    name: str
    kind: str
    ms: float


@runtime_checkable
class LayeredRuntime(Protocol):
    """A `Runtime` that tells how long each layer takes."""

    def layer_times(self, onnx_model: bytes, precision: str, threads: int, repeats: int = 50) -> tuple[LayerTime, ...]:
        """Layers in the order in which they run. Looking on takes time: their sum is more than an undisturbed run.

        Raises:
            MeasurementError, DeviceError: as `prepare`.

        """


def slowest(layers: Sequence[LayerTime], count: int) -> list[LayerTime]:
    """The layers that take longest, longest first."""
    return sorted(layers, key=lambda layer: -layer.ms)[:count]
