"""Plans of whole networks: nothing is overwritten that is still read, and no more memory is used than must be."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas_edge.errors import ExportError
from nas_edge.memory import IMAGE, Layer, LayerKind, MemoryPlan, layers_of, plan_memory, scratch_bytes
from nas_edge.spaces import SearchSpace
from nas_edge.spaces.onnx_blocks import weight_names

MCU = SearchSpace.named("mcu")
TINY = SearchSpace.named("mcu-tiny")
CLASSES = 6


def subnets(n: int, seed: int, space: SearchSpace = MCU) -> list[tuple[Layer, ...]]:
    return [layers_of(space.lower(row, CLASSES)) for row in space.sample(n, np.random.default_rng(seed))]


class Arena:
    """Bytes that remember which tensor they belong to."""

    def __init__(self, plan: MemoryPlan) -> None:
        self.owner = np.full(plan.arena_bytes, -99)
        self.size = plan.arena_bytes

    def write(self, start: int, count: int, name: int) -> None:
        assert 0 <= start <= start + count <= self.size
        self.owner[start : start + count] = name

    def check(self, start: int, count: int, name: int) -> None:
        assert (self.owner[start : start + count] == name).all(), f"tensor {name} is overwritten before it is read"


def groups_of(layer: Layer) -> Iterator[tuple[list[tuple[int, int]], int, int]]:
    """Of a convolution's fours of pixels: ranges of bytes that are read, then begin and size of what is written."""
    pixels, channels = layer.out_height * layer.out_width, layer.in_channels
    for pixel in range(0, pixels, 4):
        mine, read = range(pixel, min(pixel + 4, pixels)), []
        for one in mine:
            row, column = divmod(one, layer.out_width)
            left = column * layer.stride - layer.pads[1]
            begin, end = max(left, 0), min(left + layer.kernel_width, layer.width)
            for y in range(
                row * layer.stride - layer.pads[0], row * layer.stride - layer.pads[0] + layer.kernel_height
            ):
                if 0 <= y < layer.height and begin < end:
                    read.append(((y * layer.width + begin) * channels, (end - begin) * channels))
        yield read, pixel * layer.out_channels, len(mine) * layer.out_channels


def run_symbolically(plan: MemoryPlan) -> None:
    """Run a plan as the kernels do. AssertionError where a layer finds other bytes than those it should read."""
    arena = Arena(plan)
    at = dict(enumerate(plan.tensors, IMAGE))
    sizes = {IMAGE: plan.layers[0].in_bytes} | {i: layer.out_bytes for i, layer in enumerate(plan.layers)}
    assert at[IMAGE] is not None
    arena.write(at[IMAGE], sizes[IMAGE], IMAGE)
    for i, layer in enumerate(plan.layers):
        scratch, source, out = plan.scratch[i], at[layer.inputs[0]], at[i]
        assert source is not None
        if scratch is not None:  # written before and while the inputs are read
            arena.write(scratch, scratch_bytes(layer), -50)
        for tensor in layer.inputs:
            arena.check(at[tensor] or 0, sizes[tensor], tensor)
        if i + 1 == len(plan.layers):
            assert out is None
            return
        assert out is not None
        if layer.kind in (LayerKind.CONV, LayerKind.POINTWISE):
            for read, begin, count in groups_of(layer):
                for start, length in read:
                    arena.check(source + start, length, layer.inputs[0])
                arena.write(out + begin, count, i)
        else:
            for tensor in layer.inputs:
                start = at[tensor] or 0
                apart = out + sizes[i] <= start or start + sizes[tensor] <= out
                allowed = out == start and layer.kind in (LayerKind.ADD, LayerKind.DEPTHWISE)
                assert apart or allowed, f"{layer.name} writes over an input that it still reads"
            arena.write(out, sizes[i], i)
        if scratch is not None:
            arena.check(scratch, scratch_bytes(layer), -50)


def test_random_subnets_run_in_their_arenas_without_losing_a_byte_that_is_read_later() -> None:
    small = SearchSpace.named("lite0").restrict(resolutions=[64])
    for layers in (*subnets(25, 1, MCU.restrict(resolutions=[32, 48])), *subnets(25, 1, TINY), *subnets(3, 1, small)):
        run_symbolically(plan_memory(layers))


def test_channels_that_fill_no_word_and_odd_sizes_lose_no_byte_either() -> None:
    rng = np.random.default_rng(9)
    for _ in range(60):
        side, source, width, out = (int(v) for v in rng.integers((5, 1, 1, 1), (14, 7, 14, 14)))
        k, stride = int(rng.choice([3, 5])), int(rng.integers(1, 3))
        first = Layer("conv", LayerKind.CONV, side, side, 3, source, 3, 3, 2, (1, 1, 1, 1))
        small = first.out_height
        layers = [first, Layer("expand", LayerKind.POINTWISE, small, small, source, width, inputs=(0,))]
        pads = (k // 2,) * 4
        layers.append(Layer("dw", LayerKind.DEPTHWISE, small, small, width, width, k, k, stride, pads, (1,)))
        small = layers[-1].out_height
        layers.append(Layer("project", LayerKind.POINTWISE, small, small, width, out, inputs=(2,)))
        layers.append(Layer("head", LayerKind.POINTWISE, small, small, out, 2 * out + 1, inputs=(3,)))
        layers.append(Layer("pool", LayerKind.POOL, small, small, 2 * out + 1, 2 * out + 1, inputs=(4,)))
        layers.append(Layer("linear", LayerKind.LINEAR, 1, 1, 2 * out + 1, 5, inputs=(5,)))
        run_symbolically(plan_memory(layers))


def test_random_subnets_need_no_more_than_what_lives_at_once() -> None:
    for layers in (*subnets(200, 2), *subnets(100, 2, TINY)):
        plan = plan_memory(layers)
        assert plan.arena_bytes <= 1.05 * plan.bound_bytes
        assert plan.arena_bytes == max(plan.live_bytes)


def test_most_subnets_need_less_than_without_writing_over_what_has_been_read() -> None:
    plans = [plan_memory(layers) for layers in subnets(200, 2)]
    assert np.median([plan.arena_bytes / plan.bound_bytes for plan in plans]) < 0.9


def test_layers_bear_the_names_and_the_order_of_the_exported_graph() -> None:
    blocks = MCU.lower(MCU.largest(), CLASSES)
    weighted = [layer.name for layer in layers_of(blocks) if layer.kind not in (LayerKind.ADD, LayerKind.POOL)]
    assert weighted == list(dict.fromkeys(name.rpartition(".")[0] for name in weight_names(blocks)))


@pytest.mark.parametrize("name", ["mcu", "mcu-tiny", "lite0"])
def test_each_layer_takes_what_the_layers_it_reads_give(name: str) -> None:
    space = SearchSpace.named(name)
    for layers in subnets(20, 3, space):
        for i, layer in enumerate(layers):
            for source in layer.inputs:
                assert source < i
                if source != IMAGE:
                    before = layers[source]
                    assert (before.out_height, before.out_width, before.out_channels) == (
                        layer.height,
                        layer.width,
                        layer.in_channels,
                    )


def test_multiply_adds_of_layers_are_those_of_their_blocks() -> None:
    for row in MCU.sample(20, np.random.default_rng(4)):
        blocks = MCU.lower(row, CLASSES)
        assert sum(layer.macs for layer in layers_of(blocks)) == sum(block.macs for block in blocks)


def test_a_block_that_no_int8_kernel_computes_is_named() -> None:
    space = SearchSpace.named("mbv3-32")
    with pytest.raises(ExportError, match=r"block 0 \(stem\).*h_swish"):
        layers_of(space.lower(space.smallest(), CLASSES))


@st.composite
def graphs(draw: st.DrawFn) -> list[Layer]:
    """Any graph of pointwise layers and additions, of one size in pixels."""
    channels, layers = [draw(st.integers(1, 9))], []
    for i in range(draw(st.integers(1, 9))):
        first = draw(st.integers(0, i))
        twins = [j for j in range(i + 1) if channels[j] == channels[first]]
        if draw(st.booleans()) and len(twins) > 1:
            second = draw(st.sampled_from(twins))
            layers.append(
                Layer(f"l{i}", LayerKind.ADD, 2, 2, channels[first], channels[first], inputs=(first - 1, second - 1))
            )
        else:
            out = draw(st.integers(1, 9))
            layers.append(Layer(f"l{i}", LayerKind.POINTWISE, 2, 2, channels[first], out, inputs=(first - 1,)))
        channels.append(layers[-1].out_channels)
    return layers


@given(graphs())
@settings(deadline=None)
def test_any_graph_runs_in_its_arena_without_losing_a_byte_that_is_read_later(layers: list[Layer]) -> None:
    run_symbolically(plan_memory(layers))


def test_the_peak_is_told_with_its_layer_and_shapes() -> None:
    layers = layers_of(MCU.lower(MCU.largest(), CLASSES))
    plan = plan_memory(layers)
    pattern = r"layer b02\.(?:expand|depthwise) \(\w+, 48 x 48 x \d+ to (?:24 x 24|48 x 48) x \d+\) needs [\d.]+KB"
    assert re.fullmatch(pattern, plan.describe_peak())


def test_shortcuts_and_wide_tensors_are_written_over_in_place() -> None:
    layers = layers_of(MCU.lower(MCU.largest(), CLASSES))
    plan = plan_memory(layers)
    at = {layer.name: plan.tensors[i + 1] for i, layer in enumerate(layers)}
    for before, after in itertools.pairwise(layers):
        if after.kind is LayerKind.DEPTHWISE and before.kind is LayerKind.POINTWISE:
            assert at[before.name] == at[after.name]
    residual = next(i for i, layer in enumerate(layers) if layer.kind is LayerKind.ADD)
    assert plan.tensors[residual + 1] == plan.tensors[min(layers[residual].inputs) + 1]
