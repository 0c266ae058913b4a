"""Kernels against the reference on random shapes: a C program that calls each with its numbers and compares.

The same program runs on this machine and, as firmware, in the emulator. Every case has its own buffers, exactly as
large as they must be, with guards around what is written: a kernel that touches more is found out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nas_edge.mcu.codegen.library import kernel_files
from nas_edge.mcu.graph import Int8Layer, Requantise, Tensor
from nas_edge.mcu.packing import READAHEAD_BYTES, packed_biases, packed_multipliers, packed_weights
from nas_edge.mcu.reference import run_layer
from nas_edge.mcu.requantise import addition, folded_bias, multipliers
from nas_edge.memory import Layer, LayerKind, scratch_bytes


@dataclass(frozen=True, eq=False)
class Case:
    """One call of a kernel.

    Attributes:
        item: the layer.
        inputs: quantisation of its inputs.
        values: their codes.
        overlap: where in the output's memory the first input begins, in bytes; None where they lie apart.

    """

    item: Int8Layer
    inputs: tuple[Tensor, ...]
    values: tuple[NDArray[np.int8], ...]
    overlap: int | None = None

    @property
    def expected(self) -> NDArray[np.int8] | NDArray[np.int32]:
        """By the reference, flat."""
        return run_layer(self.item, [value[None] for value in self.values], list(self.inputs)).ravel()


def random_cases(seed: int, n: int) -> list[Case]:
    """Cases of all kinds in turn: odd sizes, channels of any number, one-sided padding, saturation, bounds."""
    rng = np.random.default_rng(seed)
    kinds = [*LayerKind] * (n // len(LayerKind) + 1)
    return [case_of(_layer(kind, rng), rng) for kind in kinds[:n]]


def _layer(kind: LayerKind, rng: np.random.Generator) -> Layer:
    height, width, channels, out = (int(v) for v in rng.integers([3, 3, 1, 1], [11, 11, 23, 19]))
    if kind is LayerKind.DEPTHWISE:
        kernel, stride = int(rng.choice([3, 5, 7])), int(rng.integers(1, 3))
        # Padding of at most the kernel less one, so that every window sees something, and at least one window.
        low = max(0, kernel - min(height, width))
        pads = tuple(int(p) for p in rng.integers(0, kernel, 4))
        pads = (max(pads[0], low), max(pads[1], low), *pads[2:])
        pads = tuple(min(p, kernel - 1) for p in pads)
        return Layer("d", kind, height, width, channels, channels, kernel, kernel, stride, pads)
    if kind is LayerKind.CONV:
        tall, wide = (int(v) for v in rng.integers(1, 6, 2))
        pads = tuple(int(p) for p in rng.integers([max(0, s - 3) for s in (tall, wide)] * 2, [tall, wide] * 2))
        return Layer("c", kind, height, width, channels, out, tall, wide, int(rng.integers(1, 4)), pads)
    if kind is LayerKind.LINEAR:
        return Layer("l", kind, 1, 1, int(rng.integers(1, 70)), out)
    if kind is LayerKind.POINTWISE:
        near = out + int(rng.integers(-4, 5))  # so that codes of one group of pixels reach into those of the next
        return Layer("p", kind, height, width, max(1, near) if rng.random() < 0.5 else int(rng.integers(1, 70)), out)
    return Layer(kind.value, kind, height, width, channels, channels)


def case_of(layer: Layer, rng: np.random.Generator) -> Case:
    """A layer with random numbers, a share of which are extreme."""
    kind = layer.kind
    taken = Tensor(layer.height, layer.width, layer.in_channels, 0.02, _zero(rng))
    logits = kind is LayerKind.LINEAR and rng.random() < 0.5
    zero = 0 if logits else _zero(rng)
    given = Tensor(layer.out_height, layer.out_width, layer.out_channels, 0.03, zero, "int32" if logits else "int8")
    bounds = (-128, 127) if rng.random() < 0.6 else (int(rng.integers(-128, 0)), int(rng.integers(0, 128)))
    values = tuple(_codes(taken, rng) for _ in range(2 if kind is LayerKind.ADD else 1))
    if kind is LayerKind.ADD:
        other = Tensor(*taken.shape, 0.02 * float(rng.uniform(0.1, 4)), _zero(rng))
        ends = [(one.scale, one.zero_point) for one in (taken, other, given)]
        item = Int8Layer(layer, given, addition=addition(*ends, *bounds))
        return Case(item, (taken, other), values, 0 if rng.random() < 0.5 else None)
    if kind is LayerKind.POOL:
        pixels = layer.height * layer.width
        factors, left = multipliers(np.array([rng.uniform(0.3, 3) / pixels]))
        bias = np.array([-pixels * taken.zero_point], np.int32)
        return Case(Int8Layer(layer, given, None, Requantise(bias, factors, left, zero, *bounds)), (taken,), values)
    depth = layer.kernel_height * layer.kernel_width * (1 if kind is LayerKind.DEPTHWISE else layer.in_channels)
    rows = rng.integers(-127, 128, (layer.out_channels, depth)).astype(np.int8)
    if rng.random() < 0.3:
        rows[:] = np.where(rng.random(rows.shape) < 0.5, -127, 127)  # the largest sums
    # From a few codes to far beyond saturation; at times so large that accumulators are shifted left.
    scales = 10 ** rng.uniform(-1.5, 1.0) * rng.uniform(0.5, 2, len(rows)) / (60 * np.sqrt(depth))
    if rng.random() < 0.15:
        scales = rng.uniform(0.3, 300, len(rows))
    bias = folded_bias(rng.integers(-2000, 2000, len(rows)), rows, taken.zero_point)
    if rng.random() < 0.1:
        bias[0] = 2**31 - 1 - 128 * np.abs(rows[0].astype(int)).sum()
    if logits:
        scales = np.minimum(scales, 0.5 * scales / scales.max())
    factors, left = multipliers(scales)
    to = Requantise(bias, factors, left, zero, *bounds)
    item = Int8Layer(layer, given, _shaped(layer, rows), to)
    return Case(item, (taken,), values, _overlap(layer, taken, given) if rng.random() < 0.7 else None)


def _overlap(layer: Layer, taken: Tensor, given: Tensor) -> int | None:
    """Where the input may lie in the output's memory: at its beginning, or at its end where a layer widens."""
    if layer.kind is LayerKind.DEPTHWISE:
        return 0 if given.height <= taken.height and given.width <= taken.width else None
    if layer.kind is LayerKind.POINTWISE:
        return max(0, given.bytes - taken.bytes)
    return None


def _shaped(layer: Layer, rows: NDArray[np.int8]) -> NDArray[np.int8]:
    if layer.kind is LayerKind.LINEAR:
        return rows
    if layer.kind is LayerKind.DEPTHWISE:
        return np.ascontiguousarray(rows.T).reshape(layer.kernel_height, layer.kernel_width, -1)
    return rows.reshape(-1, layer.kernel_height, layer.kernel_width, layer.in_channels)


def _zero(rng: np.random.Generator) -> int:
    return int(rng.choice([-128, 127, 0, int(rng.integers(-128, 128))]))


def _codes(tensor: Tensor, rng: np.random.Generator) -> NDArray[np.int8]:
    if rng.random() < 0.2:
        return np.full(tensor.shape, rng.choice([-128, 127]), np.int8)
    return rng.integers(-128, 128, tensor.shape).astype(np.int8)


def write_program(folder: Path, cases: Sequence[Case]) -> Path:
    """The kernels, and a `net.c` whose one run writes for each case 0 (right), 1 (wrong) or 2 (guard overwritten)."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in kernel_files().items():
        (folder / name).write_text(text, encoding="utf-8")
    header = _HEADER.format(cases=len(cases), output=-(-len(cases) // 4) * 4)
    (folder / "net.h").write_text(header, encoding="utf-8")
    (folder / "net.c").write_text("".join(_source(cases)), encoding="utf-8")
    (folder / "host.c").write_text(_HOST, encoding="utf-8")
    return folder


_HEADER = """\
#include <stdint.h>
#define NET_INPUT_BYTES 4
#define NET_OUTPUT_BYTES {output}
#define NET_OUTPUTS {output}
#define NET_ARENA_BYTES 4
#define NET_LAYERS 1
#define CASES {cases}
typedef int8_t net_output_t;
int net_init(void);
int8_t *net_input(void);
int net_run(const int8_t *input, net_output_t *output);
"""

_HOST = """\
#include <stdio.h>
#include "net.h"
int main(void)
{
    static int8_t output[NET_OUTPUT_BYTES];
    net_run(net_input(), output);
    for (int i = 0; i < CASES; i++)
        printf("%d\\n", output[i]);
    return 0;
}
"""

_START = """\
#include <string.h>
#include "net.h"
#include "nas_kernels.h"
#ifndef NET_LAYER_HOOK
#define NET_LAYER_HOOK(id)
#endif
#define GUARD 16
static int8_t nothing[4];
int net_init(void) { return 0; }
int8_t *net_input(void) { return nothing; }
/* Fills a buffer and its guards; says later whether the guards are whole. */
static void prepare(int8_t *buffer, int32_t bytes) { memset(buffer, 0x5a, (size_t)bytes + 2 * GUARD); }
static int whole(const int8_t *buffer, int32_t bytes)
{
    for (int i = 0; i < GUARD; i++)
        if (buffer[i] != 0x5a || buffer[GUARD + bytes + i] != 0x5a)
            return 0;
    return 1;
}
"""


def _source(cases: Sequence[Case]) -> Iterator[str]:
    yield _START
    for i, case in enumerate(cases):
        yield from _case(i, case)
    yield "int net_run(const int8_t *input, net_output_t *output)\n{\n    (void)input;\n    NET_LAYER_HOOK(0);\n"
    for i in range(len(cases)):
        yield f"    output[{i}] = case_{i}();\n"
    yield "    NET_LAYER_HOOK(NET_LAYERS);\n    return 0;\n}\n"


def _case(i: int, case: Case) -> Iterator[str]:
    item, layer = case.item, case.item.layer
    expected = case.expected
    scratch = scratch_bytes(layer)
    for number, values in enumerate(case.values):
        yield _array("int8_t", f"x{number}_{i}", values.ravel())
    yield _array("int8_t" if expected.dtype == np.int8 else "int32_t", f"expected_{i}", expected)
    if item.requantise is not None:
        if item.weights is not None:
            weights = np.concatenate([packed_weights(item), np.full(READAHEAD_BYTES, 77, np.int8)])
            yield _array("int8_t", f"w_{i}", weights)
        yield _array("int32_t", f"bias_{i}", packed_biases(item))
        yield _array("int32_t", f"multiplier_{i}", packed_multipliers(item))
        to = item.requantise
        numbers = f"{to.left}, {to.zero}, {to.low}, {to.high}"
        yield f"static const nas_requantise to_{i} = {{bias_{i}, multiplier_{i}, {numbers}}};\n"
    size = max(expected.nbytes, 0 if case.overlap is None else case.overlap + case.values[0].size)
    yield f"static int8_t y_{i}[{size} + 2 * GUARD] __attribute__((aligned(4)));\n"
    yield f"static int8_t scratch_{i}[{scratch} + 2 * GUARD] __attribute__((aligned(4)));\n"
    yield f"static __attribute__((noinline)) int8_t case_{i}(void)\n{{\n    int8_t *y = y_{i} + GUARD;\n"
    yield f"    const int8_t *x = {f'x0_{i}' if case.overlap is None else f'y + {case.overlap}'};\n"
    yield f"    prepare(y_{i}, {size});\n    prepare(scratch_{i}, {scratch});\n"
    if case.overlap is not None:
        yield f"    memcpy(y + {case.overlap}, x0_{i}, {case.values[0].size});\n"
    yield "    (void)x;\n" + _call(i, case)
    yield f"    if (!whole(y_{i}, {size}) || !whole(scratch_{i}, {scratch}))\n        return 2;\n"
    yield f"    return memcmp(y, expected_{i}, {expected.nbytes}) != 0;\n}}\n"


def _call(i: int, case: Case) -> str:
    item, layer = case.item, case.item.layer
    rest = f"w_{i}, &to_{i}, y, scratch_{i} + GUARD"
    if item.addition is not None:
        how = item.addition
        numbers = f"{how.a_multiplier}, {how.b_multiplier}, {how.offset}, {how.shift}, {how.low}, {how.high}"
        call = f"nas_add({case.values[0].size}, x, x1_{i}, &sum, y)"
        return f"    static const nas_addition sum = {{{numbers}}};\n    {call};\n"
    if layer.kind is LayerKind.POOL:
        return f"    nas_average_pool({layer.height * layer.width}, {layer.in_channels}, x, &to_{i}, y);\n"
    if layer.kind is LayerKind.LINEAR and item.output.dtype == "int32":
        rest = rest.replace("y,", "(int32_t *)(void *)y,")
        return f"    nas_linear_logits({layer.in_channels}, {layer.out_channels}, x, {rest});\n"
    if layer.kind is LayerKind.LINEAR:
        return f"    nas_linear({layer.in_channels}, {layer.out_channels}, x, {rest});\n"
    if layer.kind is LayerKind.POINTWISE:
        sizes = f"{layer.height * layer.width}, {layer.in_channels}, {layer.out_channels}"
        return f"    nas_pointwise({sizes}, x, {rest});\n"
    numbers = [
        layer.height, layer.width, layer.in_channels, layer.kernel_height, layer.kernel_width, layer.stride,
        layer.pads[0], layer.pads[1], layer.out_height, layer.out_width, layer.out_channels,
        case.inputs[0].zero_point,
    ]  # fmt: skip
    name = "nas_depthwise" if layer.kind is LayerKind.DEPTHWISE else "nas_conv"
    return (
        f"    static const nas_window window = {{{', '.join(map(str, numbers))}}};\n    {name}(&window, x, {rest});\n"
    )


def _array(kind: str, name: str, values: Iterable[int]) -> str:
    text = ", ".join(str(v) if v != -(2**31) else "INT32_MIN" for v in values)
    return f"static const {kind} {name}[] __attribute__((aligned(4))) = {{{text}}};\n"
