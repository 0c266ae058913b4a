"""`Runtime` and `Session`: the protocols of everything that runs and times a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nas_edge.errors import SpaceError


class Session(Protocol):
    """A network that is ready to run, with inputs of its own for timing.

    Life cycle: made by `Runtime.prepare`; `run` and `time` in any order, any number of times; `close` at the end.
    """

    @property
    def inputs(self) -> Mapping[str, tuple[int, ...]]:
        """Shape of each input; a dynamic batch is 1."""

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Outputs by name. Raises MeasurementError for inputs that are missing or do not fit."""

    def time(self, repeats: int) -> NDArray[np.float64]:
        """Run `repeats` times back to back on fixed seeded inputs: wall time of each, ms, float64 [repeats].

        Nothing but the run is inside the timed span: no making, copying or checking of inputs.
        """

    def close(self) -> None:
        """Give back memory and threads; the session cannot be used afterwards."""


class Runtime(Protocol):
    """Turns an ONNX model into a session."""

    @property
    def name(self) -> str:
        """As in tables and targets: "onnxruntime"."""

    @property
    def precisions(self) -> tuple[str, ...]:
        """Precisions it can run: "fp32", "fp16", "int8"."""

    def version(self) -> str:
        """Version of the library that runs the network."""

    def prepare(self, onnx_model: bytes, precision: str, threads: int) -> Session:
        """Load a model.

        Raises:
            MeasurementError: the model does not load. SpaceError: a precision that the runtime has not.

        """


def check_request(name: str, precisions: Sequence[str], precision: str, threads: int) -> None:
    """What every `Runtime.prepare` begins with.

    Args:
        name: of the runtime.
        precisions: that it has.
        precision: asked for.
        threads: likewise.

    Raises:
        SpaceError: a precision that it has not, or no threads.

    """
    if precision not in precisions:
        raise SpaceError(f"runtime {name!r} runs {', '.join(precisions)}, not {precision!r}")
    if threads < 1:
        raise SpaceError(f"runtime {name!r} needs at least one thread, not {threads}")
