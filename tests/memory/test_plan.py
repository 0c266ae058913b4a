"""Plans of whole networks: nothing is overwritten that is still read, and no more memory is used than must be."""

from __future__ import annotations

import itertools
import re

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


def run_symbolically(plan: MemoryPlan) -> None:
    """Run a plan on an arena that remembers which tensor each byte belongs to.

    Raises AssertionError where a layer finds another tensor's bytes in its input, or writes beyond the arena.
    """
    arena = np.full(plan.arena_bytes, -99)
    sizes = [plan.layers[0].in_bytes, *(layer.out_bytes for layer in plan.layers)]

    def span(tensor: int) -> slice:
        start = plan.tensors[tensor + 1]
        assert start is not None
        return slice(start, start + sizes[tensor + 1])

    def store(where: slice, name: int) -> None:
        assert where.stop <= plan.arena_bytes
        arena[where] = name

    store(span(IMAGE), IMAGE)
    for i, layer in enumerate(plan.layers):
        scratch = plan.scratch[i]
        if scratch is not None:
            store(slice(scratch, scratch + scratch_bytes(layer)), -50)
        for tensor in layer.inputs:  # scratch is written before and while the inputs are read
            assert (arena[span(tensor)] == tensor).all(), f"{layer.name} finds its input overwritten"
        if i + 1 == len(plan.layers):
            assert plan.tensors[-1] is None
            return
        out = span(i)
        if scratch is not None:
            assert out.stop <= scratch or scratch + scratch_bytes(layer) <= out.start
        for tensor in layer.inputs:
            source = span(tensor)
            apart = out.stop <= source.start or source.stop <= out.start
            in_place = out.start == source.start and layer.kind in (
                LayerKind.ADD,
                LayerKind.DEPTHWISE,
                LayerKind.POINTWISE,
            )
            assert apart or in_place, f"{layer.name} writes over an input that it still reads"
            if in_place and layer.kind is LayerKind.POINTWISE:
                assert layer.out_channels <= layer.in_channels
        store(out, i)


def test_random_subnets_run_in_their_arenas_without_losing_a_byte_that_is_read_later() -> None:
    for layers in (*subnets(60, 1), *subnets(30, 1, TINY), *subnets(10, 1, SearchSpace.named("lite0"))):
        run_symbolically(plan_memory(layers))


def test_random_subnets_need_no_more_than_what_lives_at_once() -> None:
    for layers in (*subnets(200, 2), *subnets(100, 2, TINY)):
        plan = plan_memory(layers)
        assert plan.bound_bytes <= plan.arena_bytes <= 1.05 * plan.bound_bytes


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
    plan = plan_memory(layers)
    run_symbolically(plan)
    assert plan.arena_bytes >= plan.bound_bytes


def test_the_peak_is_told_with_its_layer_and_shapes() -> None:
    layers = layers_of(MCU.lower(MCU.largest(), CLASSES))
    plan = plan_memory(layers)
    pattern = r"layer b02\.expand \(pointwise, 48 x 48 x \d+ to 48 x 48 x \d+\) needs [\d.]+KB"
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
