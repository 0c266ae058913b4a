"""What firmware takes beside a network's own arena and parameters, for each core.

Upper limits by measurement, for GCC 12 with -O3 and sections that are not used left out: `tests/benchmarks/
test_mcu_memory.py` builds random subnets and prints what these figures must be. Another compiler gives others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntFlag
from types import MappingProxyType

from nas_edge.errors import UnknownNameError
from nas_edge.memory.footprint import READAHEAD_BYTES, parameter_bytes
from nas_edge.memory.layers import Layer, LayerKind, layers_of
from nas_edge.spaces.blocks import BlockSpec


class Kernel(IntFlag):
    """Kernels that a program carries only if it calls them; all others are counted as always there."""

    DEPTHWISE_3 = 1
    DEPTHWISE_5 = 2
    DEPTHWISE_7 = 4
    ADD = 8


_DEPTHWISE = {3: Kernel.DEPTHWISE_3, 5: Kernel.DEPTHWISE_5, 7: Kernel.DEPTHWISE_7}


def kernels_of(layer: Layer) -> Kernel:
    """Optional kernels that a layer calls."""
    if layer.kind is LayerKind.ADD:
        return Kernel.ADD
    if layer.kind is LayerKind.DEPTHWISE:
        return _DEPTHWISE.get(layer.kernel_height, Kernel(7))
    return Kernel(0)


@dataclass(frozen=True)
class FirmwareSize:
    """What comes on top of arena and parameters.

    Attributes:
        core: "cortex-m4".
        code_bytes: flash of what every program carries: kernels, start-up, the C library's parts.
        kernel_bytes: flash of each optional kernel, in the order of `Kernel`.
        window_call_bytes, call_bytes: flash that `net.c` takes for each layer with a window, and for each other one.
        stack_bytes: deepest use of the stack.
        static_bytes: variables beside arena and outputs.

    """

    core: str
    code_bytes: int
    kernel_bytes: tuple[int, int, int, int]
    window_call_bytes: int
    call_bytes: int
    stack_bytes: int
    static_bytes: int

    def call_bytes_of(self, layer: Layer) -> int:
        """Flash that `net.c` takes to call a layer's kernel."""
        return self.window_call_bytes if layer.kind in (LayerKind.CONV, LayerKind.DEPTHWISE) else self.call_bytes

    def variable_bytes(self, num_classes: int) -> int:
        """Static RAM beside the arena, a 32-bit logit for each class among it."""
        return self.static_bytes + 4 * num_classes

    def sram_bytes(self, arena_bytes: int, num_classes: int) -> int:
        """All RAM of a network's firmware, never too little."""
        return arena_bytes + self.stack_bytes + self.variable_bytes(num_classes)

    def flash_bytes(self, layers: Sequence[Layer]) -> int:
        """All flash of a network's firmware, never too little."""
        kernels = Kernel(0)
        for layer in layers:
            kernels |= kernels_of(layer)
        own = sum(parameter_bytes(layer) + self.call_bytes_of(layer) for layer in layers) + READAHEAD_BYTES
        return own + self.code_bytes + self.bytes_of(kernels)

    def bytes_of(self, kernels: int) -> int:
        """Flash of a set of optional kernels."""
        return sum(size for bit, size in enumerate(self.kernel_bytes) if kernels >> bit & 1)


def block_kernels(block: BlockSpec) -> int:
    """Optional kernels that a block calls, as a set of bits."""
    found = Kernel(0)
    for layer in layers_of((block,)):
        found |= kernels_of(layer)
    return int(found)


_SIZES: Mapping[str, FirmwareSize] = MappingProxyType(
    {
        size.core: size
        for size in (
            FirmwareSize("cortex-m4", 9600, (4568, 5084, 6428, 164), 116, 68, 832, 512),
            FirmwareSize("cortex-m7", 9700, (4588, 5080, 6428, 164), 116, 68, 832, 512),
            FirmwareSize("cortex-m33", 9400, (4424, 5016, 6360, 164), 116, 68, 832, 512),
            FirmwareSize("cortex-m55", 7900, (2928, 3768, 5176, 168), 116, 68, 1536, 512),
        )
    }
)


def core_names() -> tuple[str, ...]:
    """Cores whose firmware was measured."""
    return tuple(_SIZES)


def firmware_size(core: str) -> FirmwareSize:
    """Sizes for a core. Raises UnknownNameError."""
    if core not in _SIZES:
        raise UnknownNameError("core", core, _SIZES)
    return _SIZES[core]
