"""Layers counted by themselves: many in one program, each a call of its kernel on numbers that do not matter.

Kernels take as long for any numbers: what they do depends on shapes alone, as long as a requantisation neither shifts
left nor clamps to less than int8, which is how quantised networks come out. (The mean of a single pixel is the
exception: its scale is about 1.) So layers add up to networks.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from nas_edge.files import make_directory, write_text
from nas_edge.mcu.boards import Board
from nas_edge.mcu.codegen.library import kernel_files
from nas_edge.mcu.emulator.counting import Method, count_firmware
from nas_edge.mcu.emulator.counts import Count
from nas_edge.mcu.firmware import build_firmware
from nas_edge.memory import READAHEAD_BYTES, Layer, LayerKind, packed_weight_bytes, scratch_bytes
from nas_edge.progress import Progress, silent

LAYERS_A_PROGRAM = 160

_HEADER = """\
#ifndef NET_H
#define NET_H
#include <stdint.h>
#define NET_INPUT_BYTES 4
#define NET_OUTPUT_BYTES 4
#define NET_OUTPUTS 4
#define NET_ARENA_BYTES {arena}
#define NET_LAYERS {layers}
typedef int8_t net_output_t;
int net_init(void);
int8_t *net_input(void);
int net_run(const int8_t *input, net_output_t *output);
#endif
"""

_SOURCE = """\
#include "net.h"
#include "nas_kernels.h"

#define CHANNELS {channels}

static int32_t arena[NET_ARENA_BYTES / 4];
static const int32_t weights[{weights} / 4] __attribute__((unused)) = {{1}};
static int32_t bias[CHANNELS], multiplier[CHANNELS];
static const nas_requantise to __attribute__((unused)) = {{bias, multiplier, 0, 3, -128, 127}};
static const nas_requantise shifted __attribute__((unused)) = {{bias, multiplier, 2, 3, -128, 127}};
static const nas_addition sum __attribute__((unused)) = {{1 << 14, 1 << 14, 1 << 14, 15, -128, 127}};
static const nas_window windows[] __attribute__((unused)) = {{
{windows}
}};

#define X ((int8_t *)arena)
#define AT(offset) ((void *)(X + (offset)))
#define W ((const int8_t *)weights)

int net_init(void)
{{
    uint32_t state = 1;
    for (int32_t i = 0; i < NET_ARENA_BYTES / 4; i++)
        arena[i] = (int32_t)(state = state * 1664525u + 1013904223u);
    for (int32_t i = 0; i < CHANNELS; i++) {{
        bias[i] = i;
        multiplier[i] = 1 << 22;
    }}
    return 0;
}}

int8_t *net_input(void)
{{
    return X;
}}

int net_run(const int8_t *input, net_output_t *output)
{{
    (void)input;
{calls}
    NET_LAYER_HOOK(NET_LAYERS);
    for (int i = 0; i < NET_OUTPUTS; i++)
        output[i] = X[i];
    return 0;
}}
"""


def count_layers(
    layers: Sequence[Layer],
    board: Board,
    method: Method | None = None,
    progress: Progress = silent,
) -> dict[Layer, Count]:
    """What each layer takes on a board, by its shape: names and inputs of layers are of no importance.

    Args:
        layers: of any networks; equal shapes are counted once.
        board: emulated, with memory for the largest.
        method: as of `count_firmware`.
        progress: told how many are done.

    Returns:
        A count for each shape, under `shape(layer)`.

    Raises:
        ExportError: the largest does not fit. DeviceError, MeasurementError: as of `count_firmware`.

    """
    wanted = sorted({shape(layer) for layer in layers}, key=lambda layer: (layer.macs, repr(layer)))
    found: dict[Layer, Count] = {}
    for start in range(0, len(wanted), LAYERS_A_PROGRAM):
        progress(start, len(wanted), f"counting layers on {board.name}")
        part = wanted[start : start + LAYERS_A_PROGRAM]
        with tempfile.TemporaryDirectory(prefix="nas-edge-layers-") as place:
            write_bench(part, Path(place) / "network")
            firmware = build_firmware(board, Path(place) / "network", Path(place) / "firmware")
            run = count_firmware(firmware, np.zeros((1, 4), np.int8), 4, method)
        found |= dict(zip(part, run.layers, strict=True))
    return found


def shape(layer: Layer) -> Layer:
    """The layer without what does not change its cost."""
    return replace(layer, name="", inputs=())


def write_bench(layers: Sequence[Layer], folder: Path) -> None:
    """A program that calls each layer's kernel once. Raises ConfigError, StorageError."""
    make_directory(folder)
    arena = max(_arena_bytes(layer) for layer in layers)
    weights = max(_rounded(packed_weight_bytes(layer) + READAHEAD_BYTES) for layer in layers)
    channels = max(_rounded(layer.out_channels) for layer in layers)
    calls = [line for i, layer in enumerate(layers) for line in (f"    NET_LAYER_HOOK({i});", f"    {_call(i, layer)}")]
    source = _SOURCE.format(
        channels=channels,
        weights=weights,
        windows=",\n".join(_window(layer) for layer in layers),
        calls="\n".join(calls),
    )
    write_text(folder / "net.h", _HEADER.format(arena=arena, layers=len(layers)))
    write_text(folder / "net.c", source)
    for name, text in kernel_files().items():
        write_text(folder / name, text)


def _rounded(size: int) -> int:
    return -(-size // 4) * 4


def _parts(layer: Layer) -> tuple[int, int, int]:
    """Bytes of the input (both inputs of a sum), of the output where it is not in place, and of scratch."""
    inputs = layer.in_bytes * (2 if layer.kind is LayerKind.ADD else 1)
    in_place = layer.kind in (LayerKind.ADD, LayerKind.DEPTHWISE)
    return _rounded(inputs), 0 if in_place else _rounded(layer.out_bytes), _rounded(scratch_bytes(layer))


def _arena_bytes(layer: Layer) -> int:
    return max(4, sum(_parts(layer)))


def _window(layer: Layer) -> str:
    numbers = (
        layer.height, layer.width, layer.in_channels, layer.kernel_height, layer.kernel_width, layer.stride,
        layer.pads[0], layer.pads[1], layer.out_height, layer.out_width, layer.out_channels, 3,
    )  # fmt: skip
    return f"    {{{', '.join(map(str, numbers))}}}"


def _call(i: int, layer: Layer) -> str:
    inputs, outputs, _ = _parts(layer)
    y, scratch = f"AT({inputs})", f"AT({inputs + outputs})"
    pixels, channels, out = layer.height * layer.width, layer.in_channels, layer.out_channels
    calls = {
        LayerKind.CONV: f"nas_conv(&windows[{i}], X, W, &to, {y}, {scratch});",
        LayerKind.DEPTHWISE: f"nas_depthwise(&windows[{i}], X, W, &to, X, {scratch});",
        LayerKind.POINTWISE: f"nas_pointwise({pixels}, {channels}, {out}, X, W, &to, {y}, {scratch});",
        LayerKind.LINEAR: f"nas_linear({channels}, {out}, X, W, &to, {y}, {scratch});",
        LayerKind.ADD: f"nas_add({layer.out_bytes}, X, X + {layer.in_bytes}, &sum, X);",
        LayerKind.POOL: f"nas_average_pool({pixels}, {channels}, X, &{'shifted' if pixels == 1 else 'to'}, {y});",
    }
    return calls[layer.kind]
