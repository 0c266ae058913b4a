"""A network on a board at the end of a serial line: inputs sent, run, timed layer by layer, outputs fetched.

The board runs `mcu/firmware/c/nas_serve.c`: the project's own firmware, or the user's project with the generated
library in it. The same protocol runs over the serial line of an emulator.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas_edge.devices.serial import MOST_PAYLOAD, SerialLink
from nas_edge.errors import DeviceError, MeasurementError

VERSION = 1
_HELLO = struct.Struct("<BHIIII")
_RUN = struct.Struct("<IIII")
_INPUT_STEP = 256
_LAYERS_STEP = 32


@dataclass(frozen=True)
class BoardNetwork:
    """What a board says of itself.

    Attributes:
        layers: of its network.
        input_bytes, output_bytes, arena_bytes: of the network.
        ticks_per_second: of its counter; 0 where that counts an emulator's time.

    """

    layers: int
    input_bytes: int
    output_bytes: int
    arena_bytes: int
    ticks_per_second: int


@dataclass(frozen=True)
class BoardRun:
    """One run on the board; ticks without what the timing itself took.

    Attributes:
        output: int8 [bytes of an output].
        layer_ticks: of each layer.
        between_ticks: around the layers.
        stack_bytes: deepest use, 0 where the board does not tell.

    """

    output: NDArray[np.int8]
    layer_ticks: tuple[int, ...]
    between_ticks: int
    stack_bytes: int

    @property
    def total_ticks(self) -> int:
        """Of the whole run."""
        return sum(self.layer_ticks) + self.between_ticks


class SerialBoard:
    """The network behind a link.

    Args:
        link: open.
        run_patience_s: for one run.

    """

    def __init__(self, link: SerialLink, run_patience_s: float = 60.0) -> None:
        self._link = link
        self._run_patience_s = run_patience_s

    def hello(self) -> BoardNetwork:
        """What is there. Raises DeviceError: nothing answers, or it speaks another version."""
        answer = self._link.request("H")
        if len(answer) != _HELLO.size or answer[0] != VERSION:
            raise DeviceError(
                f"serial line {self._link.name}: the firmware speaks another version; build it with this nas-edge"
            )
        _, layers, inputs, outputs, arena, rate = _HELLO.unpack(answer)
        return BoardNetwork(layers, inputs, outputs, arena, rate)

    def run(self, network: BoardNetwork, image: NDArray[np.int8]) -> BoardRun:
        """Run one input.

        Args:
            network: as of `hello`.
            image: int8 [input_bytes].

        Raises:
            MeasurementError: the image does not fit. DeviceError: the board does not answer or refuses.

        """
        if image.shape != (network.input_bytes,):
            raise MeasurementError(f"the board takes {network.input_bytes} bytes of input, not {list(image.shape)}")
        data = np.ascontiguousarray(image, np.int8).tobytes()
        for offset in range(0, len(data), _INPUT_STEP):
            self._link.request("I", struct.pack("<I", offset) + data[offset : offset + _INPUT_STEP])
        between, entries, empty, stack = _RUN.unpack(self._link.request("R", patience_s=self._run_patience_s))
        layers = self._read("L", network.layers, _LAYERS_STEP, 4)
        output = self._read("O", network.output_bytes, MOST_PAYLOAD // 2, 1)
        return BoardRun(
            np.frombuffer(output, np.int8).copy(),
            tuple(max(0, int(ticks) - empty) for ticks in np.frombuffer(layers, "<u4")),
            max(0, between - entries * empty),
            stack,
        )

    def _read(self, kind: str, count: int, step: int, size: int) -> bytes:
        found = b""
        for offset in range(0, count, step):
            wanted = min(step, count - offset)
            answer = self._link.request(kind, struct.pack("<IH", offset, wanted))
            if len(answer) != wanted * size:
                raise DeviceError(f"serial line {self._link.name}: {len(answer)} bytes instead of {wanted * size}")
            found += answer
        return found
