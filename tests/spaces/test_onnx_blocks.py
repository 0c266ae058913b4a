"""Blocks as ONNX compute what a plain torch implementation of the same blocks computes."""

import json
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
import torch.nn.functional as F

from nas_edge.errors import ExportError, SpaceError
from nas_edge.spaces import Activation, BlockSpec, Kind, Padding, SearchSpace, preset_names
from nas_edge.spaces.onnx_blocks import build_onnx, seeded_weights, weight_names

ACTIVATIONS = {
    Activation.RELU: F.relu,
    Activation.RELU6: F.relu6,
    Activation.H_SWISH: lambda x: x * F.relu6(x + 3) / 6,
    Activation.NONE: lambda x: x,
}


def pad_same(x, kernel, stride):
    """TensorFlow's definition, written down a second time on purpose."""
    amounts = []
    for size in (x.shape[3], x.shape[2]):
        wanted = (-(-size // stride) - 1) * stride + kernel
        total = max(wanted - size, 0)
        amounts += [total // 2, total - total // 2]
    return F.pad(x, amounts)


def reference(blocks, weights, x):
    """The blocks in torch, float64, layer by layer."""
    w = {name: torch.from_numpy(value).double() for name, value in weights.items()}
    x = torch.from_numpy(x).double()
    for i, block in enumerate(blocks):
        name = f"b{i:02d}."

        def conv(x, layer, name=name, block=block, kernel=1, stride=1, groups=1):
            if block.padding is Padding.SAME:
                x, padding = pad_same(x, kernel, stride), 0
            else:
                padding = kernel // 2
            weight, bias = w[f"{name}{layer}.weight"], w.get(f"{name}{layer}.bias")
            return F.conv2d(x, weight, bias, stride, padding, 1, groups)

        act = ACTIVATIONS[block.activation]
        if block.kind is Kind.POOLING:
            x = x.mean((2, 3), keepdim=True)
        elif block.kind is Kind.LINEAR:
            x = F.linear(x.flatten(1), w[name + "linear.weight"], w[name + "linear.bias"])
        elif block.kind in (Kind.STEM, Kind.HEAD):
            x = act(conv(x, "conv", kernel=block.kernel, stride=block.stride, groups=block.groups))
        else:
            y = act(conv(x, "expand")) if block.mid_channels != block.in_channels else x
            y = act(conv(y, "depthwise", kernel=block.kernel, stride=block.stride, groups=block.groups))
            if block.se:
                gate = F.relu(conv(y.mean((2, 3), keepdim=True), "se_reduce"))
                y = y * F.relu6(conv(gate, "se_expand") + 3) / 6
            y = conv(y, "project")
            x = x + y if block.residual else y
    return x.numpy()


def run(model, x):
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})[0]


def assert_equal_to_reference(blocks, batch=1):
    weights = seeded_weights(blocks, seed=3)
    model = build_onnx(blocks, weights, batch=batch)
    onnx.checker.check_model(model, full_check=True)
    first = blocks[0]
    x = np.random.default_rng(0).standard_normal((batch, first.in_channels, first.height, first.width), np.float32)
    got, want = run(model, x), reference(blocks, weights, x)
    assert got.shape == want.shape
    assert 0.01 < np.abs(want).max() < 1e3
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=2e-5 * np.abs(want).max())


INVERTED = BlockSpec(Kind.INVERTED_RESIDUAL, 13, 10, 16, 48, 24, 3, 1, 48, Padding.SYMMETRIC, Activation.RELU6)
BLOCKS = {
    "stem": BlockSpec(Kind.STEM, 32, 32, 3, 3, 16, 3, 2, 1, Padding.SAME, Activation.RELU6),
    "stem symmetric": BlockSpec(Kind.STEM, 32, 32, 3, 3, 16, 3, 2, 1, activation=Activation.H_SWISH),
    "plain": INVERTED,
    "same k5 stride 2, odd and even sides": replace(INVERTED, kernel=5, stride=2, padding=Padding.SAME),
    "symmetric k7 stride 2": replace(INVERTED, kernel=7, stride=2),
    "same k5 on two pixels": replace(INVERTED, kernel=5, height=2, width=2, padding=Padding.SAME),
    "residual": replace(INVERTED, out_channels=16, residual=True),
    "no expansion": replace(INVERTED, mid_channels=16, groups=16, out_channels=16, residual=True),
    "se and h_swish": replace(INVERTED, se=True, activation=Activation.H_SWISH, kernel=5, stride=2),
    "se, relu, residual": replace(INVERTED, se=True, activation=Activation.RELU, out_channels=16, residual=True),
    "head": BlockSpec(Kind.HEAD, 5, 5, 24, 24, 64, activation=Activation.RELU6),
    "head without norm": BlockSpec(Kind.HEAD, 1, 1, 24, 24, 64, activation=Activation.H_SWISH, norm=False),
    "head without activation": BlockSpec(Kind.HEAD, 5, 5, 24, 24, 64),
    "pooling": BlockSpec(Kind.POOLING, 5, 4, 24, 24, 24, groups=24),
    "linear": BlockSpec(Kind.LINEAR, 1, 1, 24, 24, 6),
}


@pytest.mark.parametrize("name", BLOCKS)
def test_a_block_computes_what_torch_computes(name):
    assert_equal_to_reference((BLOCKS[name],), batch=2)


@pytest.mark.parametrize("name", preset_names())
def test_a_whole_network_of_each_preset_computes_what_torch_computes(name):
    space = SearchSpace.named(name)
    row = space.sample(1, np.random.default_rng(5))[0]
    row[space.columns["r"]] = 1
    assert_equal_to_reference(space.lower(row, num_classes=6))


def test_weights_are_the_bytes_that_the_blocks_announce():
    for name in preset_names():
        space = SearchSpace.named(name)
        blocks = space.lower(space.largest(), num_classes=10)
        elements = sum(int(np.prod(shape)) for shape in weight_names(blocks).values())
        assert 4 * elements == sum(block.weight_bytes for block in blocks)


def test_names_follow_blocks_and_layers():
    space = SearchSpace.named("lite0")
    blocks = space.lower(space.smallest(), num_classes=6)
    names = weight_names(blocks)
    assert list(names)[:2] == ["b00.conv.weight", "b00.conv.bias"]
    assert names["b02.depthwise.weight"] == (48, 1, 3, 3)
    assert names[f"b{len(blocks) - 1:02d}.linear.weight"] == (6, 1280)
    model = build_onnx(blocks)
    assert {"b00.conv", "b02.expand", "b02.depthwise", "b02.project"} <= {node.name for node in model.graph.node}
    assert [i.name for i in model.graph.input] == ["image"]
    assert [o.name for o in model.graph.output] == ["logits"]


def test_a_head_without_norm_has_no_bias():
    assert list(weight_names((BLOCKS["head without norm"],))) == ["b00.conv.weight"]


def test_a_part_of_a_network_reads_input_and_gives_output():
    model = build_onnx((INVERTED,))
    assert [i.name for i in model.graph.input] == ["input"]
    assert [o.name for o in model.graph.output] == ["output"]


def test_the_seed_decides_the_weights():
    a, b, c = (build_onnx((INVERTED,), seed=s).SerializeToString() for s in (1, 1, 2))
    assert a == b
    assert a != c


def test_a_dynamic_batch_takes_any_batch():
    model = build_onnx((INVERTED,), batch=None)
    for n in (1, 3):
        assert run(model, np.ones((n, 16, 13, 10), np.float32)).shape == (n, 24, 13, 10)


def test_labels_are_kept_in_the_metadata():
    model = build_onnx((BLOCKS["linear"],), labels=list("abcdef"))
    assert json.loads({p.key: p.value for p in model.metadata_props}["labels"]) == list("abcdef")
    with pytest.raises(ExportError, match="3 labels do not fit an output of 6"):
        build_onnx((BLOCKS["linear"],), labels=list("abc"))


def test_blocks_that_do_not_chain_are_refused():
    with pytest.raises(SpaceError, match=r"block 0 \(inverted_residual\) gives .* block 1 \(pooling\) takes"):
        build_onnx((INVERTED, BLOCKS["pooling"]))
    with pytest.raises(SpaceError, match="at least one block"):
        build_onnx(())
    with pytest.raises(SpaceError, match="residual needs stride 1"):
        build_onnx((replace(INVERTED, residual=True),))


def test_weights_that_do_not_fit_are_named():
    weights = seeded_weights((INVERTED,))
    with pytest.raises(ExportError, match=r"1 weights are missing, the first is 'b00\.project\.bias'"):
        build_onnx((INVERTED,), {k: v for k, v in weights.items() if k != "b00.project.bias"})
    with pytest.raises(ExportError, match="belong to no block"):
        build_onnx((INVERTED,), {**weights, "b01.conv.weight": np.zeros(1)})
    with pytest.raises(ExportError, match=r"has shape \(1,\), not \(24,\)"):
        build_onnx((INVERTED,), {**weights, "b00.project.bias": np.zeros(1)})
    with pytest.raises(ExportError, match="NaN"):
        build_onnx((INVERTED,), {**weights, "b00.project.bias": np.full(24, np.nan)})
