"""Memory on microcontrollers: the planner against its bound, against others, and predictions against firmware.

`emx-onnx-cgen` is looked for in PATH (see `emx`), TensorFlow Lite Micro in this environment.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from nas_edge.mcu.boards import load_board
from nas_edge.mcu.codegen import generate, write_library
from nas_edge.mcu.emulator import count_firmware
from nas_edge.mcu.firmware import Firmware, build_firmware
from nas_edge.memory import READAHEAD_BYTES, Layer, LayerKind, layers_of, parameter_bytes, plan_memory
from nas_edge.memory.firmware import core_names, firmware_size
from nas_edge.memory.population import PopulationMemory
from nas_edge.spaces import SearchSpace
from nas_edge.spaces.blocks import BlockSpec
from tests.benchmarks.emx import find_emx
from tests.benchmarks.emx_memory import emx_ram_bytes
from tests.mcu.graphs import random_graph, random_images

pytestmark = pytest.mark.benchmark

CLASSES = 6
ROOMY = {
    "cortex-m4": "mps2-an386",
    "cortex-m7": "mps2-an500",
    "cortex-m33": "mps2-an505",
    "cortex-m55": "mps3-an547",
}
"""A board with memory for any subnet, by core."""


def spread(space: SearchSpace, n: int, seed: int) -> list[tuple[BlockSpec, ...]]:
    """Random subnets, from the smallest arena to the greatest."""
    rows = space.sample(2000, np.random.default_rng(seed))
    order = np.argsort(PopulationMemory.of(space, CLASSES, firmware_size("cortex-m4")).arena_bytes(rows))
    chosen = order[np.linspace(0, len(order) - 1, n).astype(int)]
    return [space.lower(rows[i], CLASSES) for i in chosen]


def built(layers: tuple[Layer, ...], core: str, folder: Path) -> Firmware:
    shutil.rmtree(folder, ignore_errors=True)
    write_library(folder / "net", generate(random_graph(layers)))
    return build_firmware(load_board(ROOMY[core]), folder / "net", folder / "out")


def test_arenas_of_two_hundred_random_subnets_against_what_lives_at_once() -> None:
    print("\nspace     subnets  arena / liveness bound: median  worst   arenas predicted to the byte")
    for name in ("mcu", "mcu-tiny", "lite0"):
        space = SearchSpace.named(name)
        rows = space.sample(200, np.random.default_rng(11))
        memory = PopulationMemory.of(space, CLASSES, firmware_size("cortex-m4"))
        plans = [plan_memory(layers_of(space.lower(row, CLASSES))) for row in rows]
        ratios = np.array([plan.arena_bytes / plan.bound_bytes for plan in plans])
        exact = int((memory.arena_bytes(rows) == [plan.arena_bytes for plan in plans]).sum())
        print(f"{name:<10}{len(rows):>7}{np.median(ratios):>32.4f}{ratios.max():>7.4f}{exact:>25} of {len(rows)}")
        assert ratios.max() <= 1.05
        assert exact == len(rows)


def test_peak_ram_of_five_subnets_against_other_generators(tmp_path: Path) -> None:
    """Arena and stack of firmware that runs, against the frames of emx's C and the `head` of TFLM's arena."""
    from nas_edge.spaces.onnx_blocks import build_onnx

    program = find_emx()
    if program is None:
        pytest.skip("emx-onnx-cgen is not installed")
    print("\nsubnet   px  layers   nas-edge: arena + stack    emx-onnx-cgen  TFLM head")
    for number, blocks in enumerate(spread(SearchSpace.named("mcu"), 5, seed=12), 1):
        layers = layers_of(blocks)
        firmware = built(layers, "cortex-m4", tmp_path / "firmware")
        graph = random_graph(layers)
        ran = count_firmware(firmware, random_images(graph, 1).reshape(1, -1), graph.output.bytes)
        arena, stack = plan_memory(layers).arena_bytes, ran.stack_bytes
        model = build_onnx(blocks, seed=number)
        emx = emx_ram_bytes(program, model, load_board("stm32f405").core.flags, tmp_path)
        head = _tflm_head(model)
        told = "not installed" if head is None else f"{head:,}"
        print(f"{number:>6}{blocks[0].height:>5}{len(layers):>8}{arena:>17,} + {stack:<6}{emx:>16,}{told:>11}")
        assert arena + stack < emx
        assert head is None or arena < head


def _tflm_head(model: object) -> int | None:
    """Activations and scratch as TensorFlow Lite Micro plans them; None where its wheel is not installed."""
    from importlib.util import find_spec

    if find_spec("tflite_micro") is None:
        return None
    from nas_edge.runtimes.litert import artefact
    from nas_edge.runtimes.tflite.micro import run_micro
    from nas_edge.spaces.onnx_quantise import CANONICAL, quantise
    from nas_edge.spaces.onnx_ranges import observe

    side = model.graph.input[0].type.tensor_type.shape.dim[2].dim_value  # type: ignore[attr-defined]
    images = np.random.default_rng(0).standard_normal((2, 1, 3, side, side)).astype(np.float32)
    int8 = quantise(model, observe(model, images), CANONICAL)  # type: ignore[arg-type]
    file = artefact(int8.SerializeToString(), "int8").data
    return run_micro(file, np.zeros((1, side, side, 3), np.int8)).head_bytes


@pytest.mark.parametrize("core", core_names())
def test_predicted_flash_and_stack_of_twenty_subnets_against_firmware(core: str, tmp_path: Path) -> None:
    """Flash by arm-none-eabi-size, stack by paint: predictions never under, and at most 2 KiB over."""
    size, over = firmware_size(core), []
    subnets = [*spread(SearchSpace.named("mcu"), 12, seed=13), *spread(SearchSpace.named("mcu-tiny"), 8, seed=14)]
    print(f"\n{core}: px  layers   flash predicted    built   over   RAM predicted     used   over   stack")
    for blocks in subnets:
        layers = layers_of(blocks)
        firmware = built(layers, core, tmp_path / "firmware")
        graph = random_graph(layers)
        ran = count_firmware(firmware, random_images(graph, 1).reshape(1, -1), graph.output.bytes)
        flash, ram = size.flash_bytes(layers), size.sram_bytes(plan_memory(layers).arena_bytes, CLASSES)
        used = firmware.static_ram_bytes + ran.stack_bytes
        over.append((flash - firmware.flash_bytes, ram - used))
        print(
            f"{blocks[0].height:>14}{len(layers):>8}{flash:>18,}{firmware.flash_bytes:>9,}{over[-1][0]:>7,}"
            f"{ram:>16,}{used:>9,}{over[-1][1]:>7,}{ran.stack_bytes:>8,}"
        )
    least, most = np.min(over, axis=0), np.max(over, axis=0)
    print(f"flash: {least[0]:,} to {most[0]:,} bytes over; RAM: {least[1]:,} to {most[1]:,} bytes over")
    assert least.min() >= 0
    assert most.max() <= 2048


@pytest.mark.parametrize("core", core_names())
def test_sizes_that_the_figures_of_firmware_must_have(core: str, tmp_path: Path) -> None:
    """For whoever changes a kernel: what `memory.firmware` must say, from networks that differ in one kernel each."""

    def flash(extra: list[Layer]) -> int:
        layers = (*_BASE[:1], *extra, *_BASE[1:])
        chained = tuple(_after(layer, i - 1) for i, layer in enumerate(layers))
        return built(chained, core, tmp_path).flash_bytes - sum(map(parameter_bytes, chained)) - READAHEAD_BYTES

    base = flash([])
    once = {name: flash([layer]) - base for name, layer in _EXTRA.items()}
    again = {name: (flash([layer] * 9) - base - once[name]) / 8 for name, layer in _EXTRA.items()}
    print(f"\n{core}: five layers (conv, depthwise 3x3, pointwise, mean, linear) in {base:,} bytes")
    for name in _EXTRA:
        print(f"  {name:<14} carried with its first call {once[name]:>6,}, each further call {again[name]:>6.1f}")


_BASE = (
    Layer("conv", LayerKind.CONV, 8, 8, 3, 8, 3, 3, 1, (1, 1, 1, 1)),
    Layer("depthwise", LayerKind.DEPTHWISE, 8, 8, 8, 8, 3, 3, 1, (1, 1, 1, 1)),
    Layer("pointwise", LayerKind.POINTWISE, 8, 8, 8, 8),
    Layer("pool", LayerKind.POOL, 8, 8, 8, 8),
    Layer("linear", LayerKind.LINEAR, 1, 1, 8, CLASSES),
)
_EXTRA = {
    "depthwise 3x3": Layer("d3", LayerKind.DEPTHWISE, 8, 8, 8, 8, 3, 3, 1, (1, 1, 1, 1)),
    "depthwise 5x5": Layer("d5", LayerKind.DEPTHWISE, 8, 8, 8, 8, 5, 5, 1, (2, 2, 2, 2)),
    "depthwise 7x7": Layer("d7", LayerKind.DEPTHWISE, 8, 8, 8, 8, 7, 7, 1, (3, 3, 3, 3)),
    "pointwise": Layer("p", LayerKind.POINTWISE, 8, 8, 8, 8),
    "add": Layer("a", LayerKind.ADD, 8, 8, 8, 8),
}


def _after(layer: Layer, source: int) -> Layer:
    """A layer that reads the one before it (an addition: twice), with a name of its own."""
    from dataclasses import replace

    inputs = (source, source) if layer.kind is LayerKind.ADD else (source,)
    return replace(layer, name=f"{layer.name}_{source + 1}", inputs=inputs)
