"""The int8 form: what ONNX Runtime makes of it, what it computes, and what it refuses."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from nas_edge.errors import DataError, ExportError
from nas_edge.spaces import Activation, BlockSpec, Kind, Padding, Precision, SearchSpace
from nas_edge.spaces.onnx_blocks import build_onnx, seeded_weights
from nas_edge.spaces.onnx_quantise import (
    CANONICAL,
    OUTPUT_RANGE,
    TENSORRT,
    TFLITE,
    QdqForm,
    observed_tensors,
    quantise,
    quantised_weights,
)
from nas_edge.spaces.onnx_ranges import RangeMethod, least_error_range, observe

RELU6 = BlockSpec(Kind.INVERTED_RESIDUAL, 12, 12, 16, 48, 16, 3, 1, 48, Padding.SAME, Activation.RELU6, residual=True)
SWISH_SE = replace(RELU6, activation=Activation.H_SWISH, se=True, kernel=5, padding=Padding.SYMMETRIC)
HEAD = BlockSpec(Kind.HEAD, 6, 6, 16, 16, 40, activation=Activation.H_SWISH)
POOLING = BlockSpec(Kind.POOLING, 6, 6, 40, 40, 40, groups=40)
LINEAR = BlockSpec(Kind.LINEAR, 1, 1, 40, 40, 5)
BLOCKS = {"relu6": RELU6, "swish with SE": SWISH_SE, "head": HEAD, "pooling": POOLING, "linear": LINEAR}


def network(name: str = "mbv3-32") -> onnx.ModelProto:
    space = SearchSpace.named(name)
    return build_onnx(space.lower(space.sample(1, np.random.default_rng(3))[0], 10), seed=1)


def images(model: onnx.ModelProto, n: int = 4) -> np.ndarray:
    shape = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    return np.random.default_rng(7).standard_normal([n, *shape[1:]], np.float32)


def quantised(model: onnx.ModelProto, form: QdqForm = CANONICAL, inner: bool = False) -> onnx.ModelProto:
    batches = [image[None] for image in images(model)]
    result = quantise(model, observe(model, batches, RangeMethod.EXTREMES), form, inner=inner)
    onnx.checker.check_model(result, full_check=True)
    return result


def run(model: onnx.ModelProto, x: np.ndarray, optimised: Path | None = None) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    if optimised:
        options.optimized_model_filepath = str(optimised)
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})[0]


def step(model: onnx.ModelProto) -> float:
    """Scale of the output."""
    return float(next(numpy_helper.to_array(i) for i in model.graph.initializer if i.name == "output.scale"))


def operators(path: Path) -> Counter[str]:
    return Counter(node.op_type for node in onnx.load(path).graph.node)


def decibels(wanted: np.ndarray, found: np.ndarray) -> float:
    return float(10 * np.log10((wanted**2).mean() / ((wanted - found) ** 2).mean()))


@pytest.mark.parametrize("name", ["lite0", "mbv3-32"])
def test_onnx_runtime_leaves_no_layer_in_float(name: str, tmp_path: Path) -> None:
    model = network(name)
    run(quantised(model), images(model, 1), tmp_path / "optimised.onnx")
    made, given = operators(tmp_path / "optimised.onnx"), Counter(node.op_type for node in model.graph.node)
    assert made["QLinearConv"] == given["Conv"]
    assert made["QGemm"] == given["Gemm"] == 1
    assert made["QLinearAdd"] == given["Add"]
    assert made["QLinearGlobalAveragePool"] == given["GlobalAveragePool"]
    assert not made["Conv"] + made["Gemm"] + made["Relu"] + made["Clip"] + made["Add"]


@pytest.mark.parametrize("block", [RELU6, HEAD, replace(RELU6, kernel=5, stride=2, residual=False)])
def test_a_block_alone_has_no_conversions_at_its_edges(block: BlockSpec, tmp_path: Path) -> None:
    block = replace(block, activation=Activation.RELU6)
    model = build_onnx([block])
    codes = np.zeros((1, block.height, block.width, block.in_channels), np.uint8)
    given = run(quantised(model, inner=True), codes, tmp_path / "optimised.onnx")
    assert given.dtype == np.uint8
    assert given.shape == (1, block.out_height, block.out_width, block.out_channels)
    assert set(operators(tmp_path / "optimised.onnx")) <= {"QLinearConv", "QLinearAdd"}


@pytest.mark.parametrize("block", BLOCKS.values(), ids=BLOCKS)
def test_a_block_alone_computes_what_it_computes_in_a_network(block: BlockSpec) -> None:
    model = build_onnx([block], seed=2)
    whole, inner = quantised(model), quantised(model, inner=True)
    x = images(model, 1)
    scales = {i.name: numpy_helper.to_array(i) for i in whole.graph.initializer}
    codes = np.clip(np.rint(x / scales["input.scale"]) + scales["input.zero"], 0, 255).astype(np.uint8)
    found, wanted = run(inner, codes.transpose(0, 2, 3, 1)), run(whole, x)
    if found.dtype == np.uint8:
        found = (found.transpose(0, 3, 1, 2) - scales["output.zero"].astype(int)) * scales["output.scale"]
    np.testing.assert_allclose(found, wanted, atol=1e-5)


@pytest.mark.parametrize("block", BLOCKS.values(), ids=BLOCKS)
def test_it_computes_what_the_float_model_does_but_for_rounding(block: BlockSpec) -> None:
    model = build_onnx([block], seed=2)
    x = images(model, 1)
    assert decibels(run(model, x), run(quantised(model), x)) > 25


def test_a_filter_of_zeros_keeps_its_bias() -> None:
    weights = seeded_weights([LINEAR], seed=2)
    weights["b00.linear.weight"][1] = 0.0
    weights["b00.linear.bias"][1] = 0.5
    model = build_onnx([LINEAR], weights)
    assert run(quantised(model), images(model, 1))[0, 1] == pytest.approx(0.5, rel=1e-3)


def test_a_tensor_that_is_always_zero_gets_a_scale_that_runtimes_take() -> None:
    stem = BlockSpec(Kind.STEM, 4, 4, 3, 3, 8, 3, activation=Activation.RELU)
    weights = seeded_weights([stem], seed=2)
    weights["b00.conv.bias"][:] = -1e3  # nothing gets through
    model = quantised(build_onnx([stem], weights))
    scales = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
    assert scales["output.scale"] == pytest.approx(1 / 255)
    assert not run(model, images(model, 1)).any()


def test_the_graph_means_the_same_to_the_reference_implementation_of_onnx() -> None:
    model = build_onnx([SWISH_SE, BlockSpec(Kind.HEAD, 12, 12, 16, 16, 8, activation=Activation.RELU)], seed=4)
    x, int8 = images(model, 1), quantised(model)
    int8.opset_import[0].version = 21  # the first that its DequantizeLinear knows; these operators did not change
    wanted = ReferenceEvaluator(int8).run(None, {"input": x})[0]
    np.testing.assert_allclose(run(int8, x), wanted, atol=1.001 * step(int8))  # of sums at the middle of two codes


def test_it_is_as_exact_as_onnx_runtimes_own_quantiser(tmp_path: Path) -> None:
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    model = network("lite0")
    x = images(model, 4)

    left = [{"image": image[None]} for image in x]

    class Reader(CalibrationDataReader):
        def get_next(self):
            return left.pop() if left else None

    onnx.save(model, tmp_path / "float.onnx")
    quantize_static(
        tmp_path / "float.onnx", tmp_path / "theirs.onnx", Reader(), quant_format=QuantFormat.QDQ, per_channel=True,
        activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
    )  # fmt: skip
    wanted = np.concatenate([run(model, image[None]) for image in x])
    theirs = np.concatenate([run(onnx.load(tmp_path / "theirs.onnx"), image[None]) for image in x])
    ours = np.concatenate([run(quantised(model), image[None]) for image in x])
    assert decibels(wanted, ours) > decibels(wanted, theirs) - 1


def test_signed_activations_are_the_unsigned_ones_moved_by_128() -> None:
    model = build_onnx([SWISH_SE], seed=2)
    signed = replace(TFLITE, float_output=True)
    assert zero_points(quantised(model, signed)) == {z - 128 for z in zero_points(quantised(model))}
    x = images(model, 1)
    plain = quantised(model)
    np.testing.assert_allclose(run(plain, x), run(quantised(model, signed), x), atol=1.001 * step(plain))


def test_every_zero_point_of_the_symmetric_form_is_0_and_biases_stay_float() -> None:
    model = build_onnx([SWISH_SE], seed=2)
    symmetric = quantised(model, TENSORRT)
    assert zero_points(symmetric) == {0}
    assert numpy_helper.to_array(next(i for i in symmetric.graph.initializer if i.name == "b00.expand.bias")).dtype == (
        np.float32
    )
    x = images(model, 1)
    assert decibels(run(model, x), run(symmetric, x)) > 20


def zero_points(model: onnx.ModelProto) -> set[int]:
    """Of activations: one number, not one a channel."""
    arrays_ = [numpy_helper.to_array(i) for i in model.graph.initializer if i.name.endswith(".zero")]
    return {int(array) for array in arrays_ if array.ndim == 0}


def test_logits_are_float_unless_a_form_wants_codes() -> None:
    model = build_onnx([LINEAR])
    assert quantised(model).graph.node[-1].op_type == "Gemm"
    assert quantised(model, TFLITE).graph.node[-1].op_type == "DequantizeLinear"


def test_labels_stay_with_the_model() -> None:
    model = build_onnx([LINEAR], labels=["a", "b", "c", "d", "e"])
    properties = {item.key: item.value for item in quantised(model).metadata_props}
    assert properties.pop("labels") == '["a", "b", "c", "d", "e"]'
    assert properties.pop("precision") == "int8"
    assert list(properties) == [OUTPUT_RANGE]
    low, high = json.loads(properties[OUTPUT_RANGE])
    assert low < high


@given(arrays(np.float32, (3, 4, 1, 1), elements=st.floats(-100, 100, width=32)), st.sampled_from([7, 8]))
def test_weights_are_rendered_within_half_a_step(weight: np.ndarray, bits: int) -> None:
    codes, scale = quantised_weights(weight, bits)
    assert np.abs(codes.astype(int)).max() <= 2 ** (bits - 1) - 1
    step = scale[:, None, None, None]
    assert (np.abs(codes * step - weight) <= 0.5001 * step + 1e-9).all()


def test_what_cannot_be_quantised_is_named() -> None:
    model = build_onnx([LINEAR])
    ranges = observe(model, [images(model, 1)])
    with pytest.raises(ExportError, match=r"1 tensors is not known, the first is 'input'"):
        quantise(model, {name: value for name, value in ranges.items() if name != "input"})
    with pytest.raises(ExportError, match=r"tensor 'input': a range of nan to 1"):
        quantise(model, ranges | {"input": (float("nan"), 1.0)})
    model.graph.node.append(helper.make_node("Softmax", ["logits"], ["odds"], name="last"))
    with pytest.raises(ExportError, match="node 'last': operator Softmax cannot be quantised"):
        observed_tensors(model)
    with pytest.raises(ExportError, match="7 or 8 bits, not 4"):
        QdqForm(weight_bits=4)


def test_ranges_need_images_and_finite_numbers() -> None:
    model = build_onnx([RELU6])
    with pytest.raises(DataError, match="there are none"):
        observe(model, [])
    with pytest.raises(ExportError, match="NaN or infinite"):
        observe(model, [np.full((1, 16, 12, 12), np.nan, np.float32)])


def test_extremes_are_those_of_all_batches() -> None:
    model = build_onnx([POOLING])
    x = images(model, 2)
    found = observe(model, [x[:1], x[1:]], RangeMethod.EXTREMES)
    assert found["input"] == (x.min(), x.max())
    pooled = x.mean(axis=(2, 3))
    np.testing.assert_allclose(found["output"], (pooled.min(), pooled.max()), rtol=1e-5)


def test_a_range_is_drawn_in_where_outliers_cost_more_than_they_are_worth() -> None:
    rng = np.random.default_rng(0)
    plain = rng.uniform(-1, 3, 50_000).astype(np.float32)
    low, high = least_error_range(plain, float(plain.min()), float(plain.max()))
    assert (low, high) == pytest.approx((-1, 3), rel=0.03)
    tailed = np.append(rng.standard_normal(500_000), [12.0]).astype(np.float32)
    low, high = least_error_range(tailed, float(tailed.min()), 12.0)
    assert 2.5 < -low < 6
    assert 2.5 < high < 9


def test_ranges_are_the_same_for_the_same_seed() -> None:
    model = build_onnx([RELU6], seed=5)
    batches = [images(model)[i][None] for i in range(4)]
    assert observe(model, batches, seed=1) == observe(model, batches, seed=1)


def test_blocks_of_a_network_add_up_to_the_work_of_the_network() -> None:
    """Operators of all blocks, each alone, are those of the network and of nothing else."""
    space = SearchSpace.named("lite0")
    specs = space.lower(space.smallest(), 6, Precision.INT8)
    alone = Counter(node.op_type for spec in specs for node in quantised(build_onnx([spec]), inner=True).graph.node)
    whole = Counter(node.op_type for node in quantised(build_onnx(specs)).graph.node)
    assert alone["QuantizeLinear"] == whole["QuantizeLinear"]
    assert alone["Conv"] == whole["Conv"]
