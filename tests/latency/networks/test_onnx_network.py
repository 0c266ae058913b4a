"""Blocks are recognised in ONNX graphs of our own making and of others'."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from nas_edge.errors import ArchitectureError, FormatError
from nas_edge.latency.networks import read_onnx
from nas_edge.latency.table import canonical
from nas_edge.spaces import Activation, BlockSpec, Kind, Precision, SearchSpace, preset_names
from nas_edge.spaces.onnx_blocks import build_onnx

from .torch_nets import STYLES, export_net, net_blocks


@settings(max_examples=12, deadline=None)
@given(name=st.sampled_from(preset_names()), seed=st.integers(0, 10_000))
def test_every_network_that_is_written_here_is_recognised_whole(
    tmp_path_factory: pytest.TempPathFactory, name: str, seed: int
) -> None:
    space = SearchSpace.named(name)
    blocks = space.lower(space.sample(1, np.random.default_rng(seed))[0], 10)
    path = tmp_path_factory.mktemp("net") / "net.onnx"
    path.write_bytes(build_onnx(blocks).SerializeToString())
    found = read_onnx(path)
    assert tuple(map(canonical, found.blocks)) == tuple(map(canonical, blocks))
    assert (found.rest, found.operators, found.precision) == ((), (), Precision.FP32)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("opset", [11, 17])
def test_a_torch_export_is_recognised_whatever_its_style(tmp_path: Path, style: str, opset: int) -> None:
    path = export_net(tmp_path / "net.onnx", style, opset)
    found = read_onnx(path)
    assert found.blocks == net_blocks()
    assert found.rest == ()


def test_a_dynamic_batch_and_weights_in_another_file_do_not_matter(tmp_path: Path) -> None:
    space = SearchSpace.named("mbv3-32")
    blocks = space.lower(space.largest(), 10)
    path = tmp_path / "net.onnx"
    onnx.save_model(
        build_onnx(blocks, batch=None), path, save_as_external_data=True, location="weights.bin", size_threshold=64
    )
    (tmp_path / "weights.bin").unlink()
    assert len(read_onnx(path).blocks) == len(blocks)


def graph(nodes: list[onnx.NodeProto], weights: dict[str, np.ndarray], shape: list[int | str]) -> onnx.ModelProto:
    made = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [onnx.numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def other_net(side: int | str = 32) -> onnx.ModelProto:
    """A stem, a max pooling, a concatenation, a grouped convolution and an addition: hardly any of our blocks."""
    rng = np.random.default_rng(0)
    weights = {
        "w1": rng.standard_normal((8, 3, 3, 3)).astype(np.float32),
        "w2": rng.standard_normal((16, 8, 3, 3)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("MaxPool", ["b"], ["c"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Concat", ["c", "c"], ["d"], axis=1),
        helper.make_node("Conv", ["d", "w2"], ["e"], group=2, pads=[1, 1, 1, 1]),
        helper.make_node("Add", ["d", "e"], ["y"]),
    ]
    return graph(nodes, weights, [1, 3, side, side])


def test_what_is_no_block_is_stood_in_for_by_its_work_and_named(tmp_path: Path) -> None:
    path = tmp_path / "other.onnx"
    path.write_bytes(other_net().SerializeToString())
    found = read_onnx(path)
    assert [b.kind for b in found.blocks] == [Kind.STEM]
    assert dict(found.operators) == {"MaxPool": 1, "Concat": 1, "Conv": 1, "Add": 1}
    assert sum(b.macs for b in found.rest) == 16 * 16 * 16 * 8 * 9
    assert len(found.all_blocks) == 5


def test_an_open_size_is_asked_for_and_a_fixed_one_kept(tmp_path: Path) -> None:
    path = tmp_path / "open.onnx"
    path.write_bytes(other_net("side").SerializeToString())
    with pytest.raises(ArchitectureError, match="--resolution"):
        read_onnx(path)
    assert read_onnx(path, 64).blocks[0].height == 64
    path.write_bytes(other_net(32).SerializeToString())
    with pytest.raises(ArchitectureError, match="fixed at 32"):
        read_onnx(path, 64)


def quantised(model: onnx.ModelProto) -> onnx.ModelProto:
    """With a pair of quantiser and dequantiser on every activation."""
    scale = [onnx.numpy_helper.from_array(np.float32(0.1), "s"), onnx.numpy_helper.from_array(np.uint8(0), "z")]
    nodes = []
    for node in model.graph.node:
        inputs = list(node.input)
        if node.op_type in ("Conv", "Gemm"):
            q, d = f"{node.name}.q", f"{node.name}.d"
            nodes.append(helper.make_node("QuantizeLinear", [inputs[0], "s", "z"], [q]))
            nodes.append(helper.make_node("DequantizeLinear", [q, "s", "z"], [d]))
            node.input[0] = d
        nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(scale)
    return model


def test_a_quantised_network_has_the_same_blocks_in_int8(tmp_path: Path) -> None:
    space = SearchSpace.named("mbv3-32")
    blocks = space.lower(space.largest(), 10, Precision.INT8)
    path = tmp_path / "int8.onnx"
    path.write_bytes(quantised(build_onnx(blocks)).SerializeToString())
    found = read_onnx(path)
    assert found.precision is Precision.INT8
    assert tuple(map(canonical, found.blocks)) == tuple(map(canonical, blocks))


@pytest.mark.parametrize("content", [b"", b"no onnx at all", b"\x08\x08" + b"\x00" * 50])
def test_what_is_no_onnx_is_refused_in_a_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.onnx"
    path.write_bytes(content)
    with pytest.raises(FormatError, match=r"bad\.onnx"):
        read_onnx(path)
    with pytest.raises(FormatError, match="cannot be read"):
        read_onnx(tmp_path / "absent.onnx")


def test_a_truncated_file_and_a_great_many_nodes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    space = SearchSpace.named("mbv3-32")
    whole = build_onnx(space.lower(space.smallest(), 10)).SerializeToString()
    path = tmp_path / "cut.onnx"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises((FormatError, ArchitectureError)):
        read_onnx(path)
    path.write_bytes(whole)
    monkeypatch.setattr("nas_edge.latency.networks.onnx_layers.MAX_NODES", 5)
    with pytest.raises(FormatError, match="nodes are more"):
        read_onnx(path)
    monkeypatch.setattr("nas_edge.latency.networks.onnx_layers.MAX_FILE_BYTES", 1000)
    with pytest.raises(FormatError, match="bytes is more"):
        read_onnx(path)


def test_two_inputs_and_shapes_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "two.onnx"
    model = other_net()
    model.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, [1, 3, 4, 4]))
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ArchitectureError, match="2 inputs"):
        read_onnx(path)
    weights = {"w": np.zeros((8, 5, 3, 3), np.float32)}
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"])]
    path.write_bytes(graph(nodes, weights, [1, 3, 32, 32]).SerializeToString())
    with pytest.raises((FormatError, ArchitectureError), match=r"two\.onnx"):
        read_onnx(path)


def test_stand_ins_can_be_priced() -> None:
    block = BlockSpec(Kind.STEM, 16, 16, 16, 16, 16, 3, 1, 2, activation=Activation.NONE)
    assert block.macs == 16 * 16 * 9 * 16 * 8
