"""The int8 model that ONNX Runtime runs and the graph in integers are the same network."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from nas_edge.errors import ExportError
from nas_edge.mcu.from_onnx import read_graph
from nas_edge.mcu.graph import Int8Graph
from nas_edge.mcu.reference import dequantise, quantise_images, run, run_layer, tensors
from nas_edge.memory import IMAGE, LayerKind, layers_of
from nas_edge.spaces import SearchSpace
from nas_edge.spaces.blocks import Activation, BlockSpec, Kind, Padding
from nas_edge.spaces.onnx_blocks import build_onnx
from nas_edge.spaces.onnx_quantise import CANONICAL, TFLITE, QdqForm, quantise
from nas_edge.spaces.onnx_ranges import RangeMethod, observe

SMALL = (
    BlockSpec(Kind.STEM, 13, 13, 3, 3, 10, 3, 2, padding=Padding.SAME, activation=Activation.RELU),
    BlockSpec(Kind.INVERTED_RESIDUAL, 7, 7, 10, 30, 10, 5, 1, 30, Padding.SAME, Activation.RELU6, residual=True),
    BlockSpec(Kind.INVERTED_RESIDUAL, 7, 7, 10, 22, 9, 7, 2, 22, Padding.SYMMETRIC, Activation.RELU),
    BlockSpec(Kind.HEAD, 4, 4, 9, 9, 21, activation=Activation.RELU),
    BlockSpec(Kind.POOLING, 4, 4, 21, 21, 21),
    BlockSpec(Kind.LINEAR, 1, 1, 21, 21, 5),
)


def images_for(blocks: Sequence[BlockSpec], n: int, seed: int = 0) -> np.ndarray:
    shape = (n, blocks[0].in_channels, blocks[0].height, blocks[0].width)
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def quantised(blocks: Sequence[BlockSpec], form: QdqForm = CANONICAL, seed: int = 0) -> onnx.ModelProto:
    model = build_onnx(blocks, seed=seed, batch=None)
    return quantise(model, observe(model, [images_for(blocks, 16)], RangeMethod.EXTREMES), form)


def session_outputs(model: onnx.ModelProto, feeds: np.ndarray, names: Sequence[str] = ()) -> list[np.ndarray]:
    """What ONNX Runtime gives, and the codes of further tensors."""
    onnxruntime = pytest.importorskip("onnxruntime")
    wide = onnx.ModelProto()
    wide.CopyFrom(model)
    kinds = {item.name: item.data_type for item in model.graph.initializer}
    zeros = {node.output[0]: node.input[2] for node in model.graph.node if node.op_type == "QuantizeLinear"}
    for name in names:
        wide.graph.output.append(helper.make_tensor_value_info(name, kinds[zeros[name]], None))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(wide.SerializeToString(), options, providers=["CPUExecutionProvider"])
    wanted = [*(item.name for item in model.graph.output), *names]
    return session.run(wanted, {model.graph.input[0].name: feeds})


def code_names(model: onnx.ModelProto, graph: Int8Graph) -> list[str]:
    """The tensor of codes that each layer gives, and before them the image's, by the order of the model's nodes."""
    given = {name: node for node in model.graph.node for name in node.output}
    names = []
    for node in model.graph.node:
        if node.op_type == "QuantizeLinear":
            producer = given.get(node.input[0])
            if producer is None or producer.op_type != "Flatten":
                names.append(node.output[0])
    assert len(names) == len(graph.layers) + (graph.output.dtype == "int8")
    return names


def as_int8(codes: np.ndarray) -> np.ndarray:
    """Codes of ONNX, channels first, as the graph has them."""
    moved = codes.transpose(0, 2, 3, 1) if codes.ndim == 4 else codes[:, None, None, :]
    return (moved.astype(np.int16) - (128 if codes.dtype == np.uint8 else 0)).astype(np.int8)


def layer_differences(model: onnx.ModelProto, images: np.ndarray) -> dict[str, tuple[int, float]]:
    """Of each layer that is fed what ONNX Runtime feeds it: the largest difference, and the share of other codes."""
    graph = read_graph(model)
    _, *codes = session_outputs(model, images, code_names(model, graph))
    given = [as_int8(one) for one in codes]
    found = {}
    for item, wanted in zip(graph.layers, given[1:], strict=False):
        sources = [given[i - IMAGE] for i in item.layer.inputs]
        got = run_layer(item, sources, [graph.tensor(i) for i in item.layer.inputs])
        difference = np.abs(got.astype(int) - wanted)
        found[item.name] = int(difference.max()), float((difference > 0).mean())
    return found


@pytest.mark.parametrize("form", [CANONICAL, TFLITE], ids=["uint8", "int8"])
def test_each_layer_is_within_one_code_of_onnx_runtime(form: QdqForm) -> None:
    differences = layer_differences(quantised(SMALL, form), images_for(SMALL, 12, 1))
    assert len(differences) == len(layers_of(SMALL)) - (1 if form.float_output else 0)
    assert max(largest for largest, _ in differences.values()) <= 1
    assert max(share for _, share in differences.values()) < 0.01


def test_logits_are_those_of_onnx_runtime_up_to_the_layers_roundings() -> None:
    model, images = quantised(SMALL), images_for(SMALL, 40, 2)
    graph = read_graph(model)
    assert graph.output.dtype == "int32"
    (wanted,) = session_outputs(model, images)
    got = dequantise(graph.output, run(graph, quantise_images(graph, images)))[:, 0, 0]
    assert np.abs(got - wanted).max() < 0.05 * wanted.std()
    assert (got.argmax(axis=1) == wanted.argmax(axis=1)).mean() >= 0.95


def test_the_layers_are_those_that_memory_plans_for() -> None:
    for blocks in (
        SMALL,
        SearchSpace.named("mcu").lower(SearchSpace.named("mcu").sample(1, np.random.default_rng(1))[0], 6),
    ):
        graph = read_graph(quantised(blocks))
        assert tuple(item.layer for item in graph.layers) == layers_of(blocks)


def test_a_block_that_takes_and_gives_codes_is_read_channels_last() -> None:
    blocks = SMALL[1:2]
    model = build_onnx(blocks, batch=None)
    inner = quantise(model, observe(model, [images_for(blocks, 8)]), inner=True)
    graph = read_graph(inner)
    assert graph.input.shape == (7, 7, 10)
    codes = np.random.default_rng(3).integers(0, 256, (4, 7, 7, 10)).astype(np.uint8)
    (wanted,) = session_outputs(inner, codes)
    got = run(graph, (codes.astype(np.int16) - 128).astype(np.int8)).astype(int) + 128
    assert np.abs(got - wanted).max() <= 2  # four layers, one code each at most, mostly absorbed


def test_a_layer_that_is_next_to_nothing_is_shifted_up() -> None:
    model = build_onnx(SMALL, batch=None)
    ranges = dict(observe(model, [images_for(SMALL, 4)]))
    ranges["b03.act.out"] = (0.0, 1e-6)
    graph = read_graph(quantise(model, ranges))
    found = {item.name: item for item in graph.layers}["b03.conv"]
    assert found.requantise is not None
    assert found.requantise.left > 0
    images = images_for(SMALL, 2)
    assert np.isfinite(session_outputs(quantise(model, ranges), images)[0]).all()
    assert layer_differences(quantise(model, ranges), images)["b03.conv"][0] <= 1


def test_relu_and_relu6_become_bounds() -> None:
    model = build_onnx(SMALL, batch=None)
    ranges = {name: (-9.0, 9.0) for name in observe(model, [images_for(SMALL, 4)])}
    graph = read_graph(quantise(model, ranges))
    bounds = {item.name: item.requantise for item in graph.layers}
    assert (bounds["b00.conv"].low, bounds["b00.conv"].high) == (0, 127)
    assert (bounds["b01.expand"].low, bounds["b01.expand"].high) == (0, 85)
    assert (bounds["b01.project"].low, bounds["b01.project"].high) == (-128, 127)
    found = layer_differences(quantise(model, ranges), images_for(SMALL, 4, 5))
    assert max(largest for largest, _ in found.values()) <= 1


def hard_swish_block(se: bool) -> tuple[BlockSpec, ...]:
    act = Activation.RELU if se else Activation.H_SWISH
    return (BlockSpec(Kind.INVERTED_RESIDUAL, 8, 8, 8, 24, 8, 3, 1, 24, activation=act, se=se),)


@pytest.mark.parametrize(("se", "node"), [(False, "b00.expand_act"), (True, "b00.se_gate")])
def test_what_no_kernel_computes_is_refused_with_the_node_and_what_to_do(se: bool, node: str) -> None:
    with pytest.raises(ExportError, match=rf"node '{node}'.*choose a space with ReLU"):
        read_graph(quantised(hard_swish_block(se)))


def test_a_float_model_is_refused() -> None:
    with pytest.raises(ExportError, match=r"node 'b00.conv'.*not quantised.*int8"):
        read_graph(build_onnx(SMALL))


@pytest.mark.parametrize(
    ("attribute", "value", "reason"),
    [("dilations", [2, 2], "dilation"), ("strides", [1, 2], "unequal strides"), ("group", 3, "3 groups")],
)
def test_attributes_without_a_kernel_are_refused(attribute: str, value: object, reason: str) -> None:
    model = quantised(SMALL)
    node = next(node for node in model.graph.node if node.name == "b00.conv")
    kept = [item for item in node.attribute if item.name != attribute]
    del node.attribute[:]
    node.attribute.extend([*kept, helper.make_attribute(attribute, value)])
    with pytest.raises(ExportError, match=rf"node 'b00.conv'.*{reason}"):
        read_graph(model)


def test_an_unknown_operator_is_named() -> None:
    model = quantised(SMALL)
    model.graph.node.append(helper.make_node("Softmax", ["logits"], ["p"], name="soft"))
    with pytest.raises(ExportError, match="node 'soft': operator Softmax"):
        read_graph(model)


def test_flattening_an_image_for_a_linear_layer_keeps_its_meaning() -> None:
    """ONNX flattens channels first, the graph keeps them last: weights must follow."""
    from onnx import numpy_helper

    rng = np.random.default_rng(4)
    weights = rng.standard_normal((3, 2 * 4 * 5)).astype(np.float32)
    model = helper.make_model(
        helper.make_graph(
            [
                helper.make_node("Flatten", ["image"], ["flat"], name="flat", axis=1),
                helper.make_node("Gemm", ["flat", "w"], ["logits"], name="fc", transB=1),
            ],
            "flat",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 2, 4, 5])],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 3])],
            [numpy_helper.from_array(weights, "w")],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    images = rng.standard_normal((6, 2, 4, 5)).astype(np.float32)
    model = quantise(model, observe(model, [images]))
    graph = read_graph(model)
    (wanted,) = session_outputs(model, images)
    got = dequantise(graph.output, run(graph, quantise_images(graph, images)))[:, 0, 0]
    np.testing.assert_allclose(got, wanted, atol=1e-4)


def test_all_tensors_are_kept_when_asked_for() -> None:
    graph = read_graph(quantised(SMALL))
    codes = quantise_images(graph, images_for(SMALL, 2))
    found = tensors(graph, codes)
    assert [one.shape[1:] for one in found] == [item.output.shape for item in graph.layers]
    assert np.array_equal(found[-1], run(graph, codes))
    assert LayerKind.ADD in {item.layer.kind for item in graph.layers}
