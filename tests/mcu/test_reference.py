"""The integers that define the semantics: one exact rounding, no overflow, no difference between ways of summing."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas_edge.errors import DataError, ExportError
from nas_edge.mcu.graph import Int8Graph, Int8Layer, Requantise, Tensor
from nas_edge.mcu.packing import packed_biases, packed_multipliers, packed_weights
from nas_edge.mcu.reference import run, run_layer
from nas_edge.mcu.requantise import addition, folded_bias, logit_multipliers, multipliers, requantise, scaled
from nas_edge.memory import Layer, LayerKind, packed_weight_bytes
from tests.mcu.kernel_cases import Case, random_cases

SCALES = st.floats(1e-8, 1e7)
CODES = st.integers(-128, 127)


def half_up(value: Fraction) -> int:
    return (value + Fraction(1, 2)).__floor__()


@given(SCALES, st.integers(-(2**31) + 1, 2**31 - 1), CODES)
def test_a_code_is_the_real_product_rounded_once(scale: float, accumulator: int, zero: int) -> None:
    factors, left = multipliers(np.array([scale]))
    to = Requantise(np.zeros(1, np.int32), factors, left, zero)
    got = int(requantise(np.array([accumulator]), to)[0])
    exact = half_up(Fraction(int(factors[0]), 2 ** (32 - left)) * accumulator) + zero
    assert got == min(max(exact, -128), 127)
    # The multiplier itself is so close that a code is within one of the real scale's.
    real = half_up(Fraction(scale) * accumulator) + zero
    assert abs(got - min(max(real, -128), 127)) <= 1


@given(st.lists(st.floats(1e-9, 2.0**29), min_size=1, max_size=5))
def test_multipliers_fit_31_bits_and_are_as_fine_as_they_can_be(scales: list[float]) -> None:
    factors, left = multipliers(np.array(scales))
    assert 0 <= int(factors.min()) <= int(factors.max()) < 2**31
    assert 0 <= left <= 30
    if left:
        assert int(factors.max()) >= 2**30 - 1
    assert (left > 0) == (max(scales) >= 0.5 * (1 - 2.0**-31))


@given(st.integers(0, 10**6))
def test_biases_leave_room_for_every_sum_of_products(seed: int) -> None:
    rng = np.random.default_rng(seed)
    weights = rng.integers(-127, 128, (3, int(rng.integers(1, 2000)))).astype(np.int8)
    bias = rng.integers(-(2**31), 2**31, 3)
    start = folded_bias(bias, weights, int(rng.integers(-128, 128))).astype(np.int64)
    most = 128 * np.abs(weights.astype(np.int64)).sum(axis=1)
    assert (np.abs(start) + most < 2**31).all()
    factors, left, common = logit_multipliers(np.array([1e-3, 2e-3, 5e-9]), start.astype(np.int32), weights)
    logits = scaled(start + most, Requantise(start.astype(np.int32), factors, left, 0))
    assert np.abs(logits).max() < 2**31
    wanted = (start + most) * np.array([1e-3, 2e-3, 5e-9])
    np.testing.assert_allclose(logits * common, wanted, atol=common + np.abs(wanted).max() * 1e-8)


@given(st.floats(1e-6, 1e3), st.floats(1e-6, 1e3), st.floats(1e-9, 1e3), CODES, CODES, CODES, CODES, CODES)
def test_a_sum_stays_in_32_bits_and_within_one_code_of_the_real_one(
    scale_a: float, scale_b: float, scale: float, zero_a: int, zero_b: int, zero: int, a: int, b: int
) -> None:
    # Parts more than a million times as coarse as their sum: what is left where they nearly cancel needs more bits.
    scale = max(scale, max(scale_a, scale_b) / 2**20)
    how = addition((scale_a, zero_a), (scale_b, zero_b), (scale, zero), -128, 127)
    parts = a * how.a_multiplier, a * how.a_multiplier + b * how.b_multiplier
    total = parts[1] + how.offset
    assert max(abs(how.offset), *map(abs, parts), abs(total)) < 2**31
    real = half_up((Fraction(scale_a) * (a - zero_a) + Fraction(scale_b) * (b - zero_b)) / Fraction(scale)) + zero
    got = total >> how.shift
    assert abs(min(max(got, -128), 127) - min(max(real, -128), 127)) <= 1


@pytest.mark.parametrize("case", [case for case in random_cases(5, 48) if case.item.layer.kind is not LayerKind.ADD])
def test_sums_are_those_of_whole_numbers(case: Case) -> None:
    """Against sums written out with Python's integers, which know no limits."""
    layer, to = case.item.layer, case.item.requantise
    assert to is not None
    rng = np.random.default_rng(0)
    got = run_layer(case.item, [value[None] for value in case.values], list(case.inputs))[0]
    for _ in range(5):
        y, x, o = (int(rng.integers(n)) for n in got.shape)
        bias, factor = (int(v[o % len(v)]) for v in (to.bias, to.multiplier))
        total = bias + sum(product(case, y, x, o))
        most = (2**31 - 1) >> to.left
        code = half_up(Fraction((min(max(total, -most - 1), most) << to.left) * factor, 2**32)) + to.zero
        if case.item.output.dtype == "int8":
            code = min(max(code, to.low), to.high)
        assert got[y, x, o] == code, layer


def product(case: Case, y: int, x: int, o: int) -> list[int]:
    layer, values, weights = case.item.layer, case.values[0], case.item.weights
    if layer.kind is LayerKind.POOL:
        return [int(v) for v in values[:, :, o].ravel()]
    assert weights is not None
    if layer.kind is LayerKind.LINEAR:
        return [int(a) * int(b) for a, b in zip(values.ravel(), weights[o], strict=True)]
    found = []
    for i in range(layer.kernel_height):
        for j in range(layer.kernel_width):
            row, column = y * layer.stride - layer.pads[0] + i, x * layer.stride - layer.pads[1] + j
            inside = 0 <= row < layer.height and 0 <= column < layer.width
            if layer.kind is LayerKind.DEPTHWISE:
                pairs = [(values[row, column, o] if inside else case.inputs[0].zero_point, weights[i, j, o])]
            else:
                seen = values[row, column] if inside else [case.inputs[0].zero_point] * layer.in_channels
                pairs = list(zip(seen, weights[o, i, j], strict=True))
            found += [int(a) * int(b) for a, b in pairs]
    return found


@pytest.mark.parametrize("case", random_cases(6, 30))
def test_packed_weights_are_as_many_bytes_as_memory_says(case: Case) -> None:
    item = case.item
    packed = packed_weights(item)
    assert packed.nbytes == packed_weight_bytes(item.layer)
    if item.requantise is not None and item.layer.kind is not LayerKind.POOL:
        assert len(packed_biases(item)) == len(packed_multipliers(item)) == -(-item.layer.out_channels // 4) * 4
        assert packed_biases(item)[: item.layer.out_channels].tolist() == item.requantise.bias.tolist()
    if item.weights is not None:
        assert np.count_nonzero(packed) == np.count_nonzero(item.weights)


def test_two_outputs_lie_beside_each_other() -> None:
    layer = Layer("l", LayerKind.LINEAR, 1, 1, 3, 3)
    weights = np.arange(1, 10, dtype=np.int8).reshape(3, 3)
    to = Requantise(np.zeros(3, np.int32), np.ones(3, np.int32), 0, 0)
    item = Int8Layer(layer, Tensor(1, 1, 3, 1.0, 0), weights, to)
    assert packed_weights(item).reshape(2, 4, 2).tolist() == [
        [[1, 4], [2, 5], [3, 6], [0, 0]],
        [[7, 0], [8, 0], [9, 0], [0, 0]],
    ]


def test_graphs_that_contradict_themselves_are_refused() -> None:
    to = Requantise(np.zeros(3, np.int32), np.ones(3, np.int32), 0, 0)
    image, weights = Tensor(1, 1, 3, 1.0, 0), np.ones((3, 3), np.int8)

    def graph(layer: Layer, out: Tensor = image, weights: np.ndarray = weights, to: Requantise | None = to) -> None:
        Int8Graph("net", image, (Int8Layer(layer, out, weights, to),))

    good = Layer("l", LayerKind.LINEAR, 1, 1, 3, 3)
    graph(good)
    with pytest.raises(ExportError, match="'l' reads tensor 0"):
        graph(Layer("l", LayerKind.LINEAR, 1, 1, 3, 3, inputs=(0,)))
    with pytest.raises(ExportError, match="'l' takes 1 x 1 x 4, its input is 1 x 1 x 3"):
        graph(Layer("l", LayerKind.LINEAR, 1, 1, 4, 3))
    with pytest.raises(ExportError, match="'l' gives 1 x 1 x 3, its output is 1 x 1 x 2"):
        graph(good, Tensor(1, 1, 2, 1.0, 0))
    with pytest.raises(ExportError, match=r"weights \[out, in\] are \(3, 3\), not \(3, 2\)"):
        graph(good, weights=np.ones((3, 2), np.int8))
    with pytest.raises(ExportError, match="a sum has an addition"):
        graph(good, to=None)
    with pytest.raises(ExportError, match="has no layers"):
        Int8Graph("net", image, ())


def test_images_of_another_size_or_type_are_refused() -> None:
    to = Requantise(np.zeros(3, np.int32), np.ones(3, np.int32), 0, 0)
    item = Int8Layer(Layer("l", LayerKind.LINEAR, 1, 1, 3, 3), Tensor(1, 1, 3, 1.0, 0), np.ones((3, 3), np.int8), to)
    graph = Int8Graph("net", Tensor(1, 1, 3, 1.0, 0), (item,))
    assert run(graph, np.zeros((0, 1, 1, 3), np.int8)).shape == (0, 1, 1, 3)
    for images in (np.zeros((2, 1, 1, 3), np.uint8), np.zeros((2, 3), np.int8)):
        with pytest.raises(DataError, match="'net' takes int8 images"):
            run(graph, images)
