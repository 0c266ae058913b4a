"""Subnets as ONNX: the same numbers as torch, the same structure as the table's networks."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from nas_edge.data import Preprocess, load_dataset
from nas_edge.errors import DataError, ExportError, ParityError
from nas_edge.export.onnx_file import build_model, export_onnx
from nas_edge.export.parity import TOLERANCE, check_parity
from nas_edge.spaces import SearchSpace, preset
from nas_edge.spaces.onnx_blocks import build_onnx, weight_names
from nas_edge.supernet.fold import fold

from .nets import lively, noise, rows


def test_folded_weights_are_those_that_the_builder_asks_for(tiny_template, tiny_space):
    for arch in rows(tiny_space, 5):
        net = lively(tiny_template, arch)
        weights = fold(net)
        assert {name: array.shape for name, array in weights.items()} == weight_names(net.specs)
        assert all(array.dtype == np.float32 for array in weights.values())


def test_every_architecture_computes_in_onnx_what_it_computes_in_torch(tiny_template, tiny_space):
    for seed, arch in enumerate(rows(tiny_space, 10)):
        net = lively(tiny_template, arch, seed=seed)
        report = check_parity(net, build_model(net), noise(9, net.resolution), Preprocess())
        assert report.passed
        assert report.images == 9
        assert report.max_abs_logit > 0.05


@pytest.mark.parametrize("name", ["ofa-mbv3-w1.0", "ofa-proxyless-w1.3", "mbv3-small", "mbv3-32", "mcu", "lite0"])
def test_every_preset_exports(name):
    template = preset(name)
    smallest = template.with_resolutions((template.resolutions[0],))
    net = lively(smallest, SearchSpace(smallest).smallest(), classes=7)
    assert check_parity(net, build_model(net), noise(2, net.resolution), Preprocess()).top1_agreement == 1


def test_real_photographs_go_through_unchanged(tiny_template, tiny_space):
    dataset = load_dataset("trashnet")
    split = dataset.search.subset(range(0, 328, 8))
    net = lively(tiny_template, tiny_space.largest(), classes=6)
    pixels = split.images(Preprocess(), net.resolution)
    report = check_parity(net, build_model(net, classes=dataset.classes), pixels, Preprocess(), labels=split.labels)
    assert report.max_abs_difference <= TOLERANCE
    assert report.top1_agreement == 1
    assert report.accuracy is not None
    assert 0 <= report.accuracy <= 1


def test_a_dynamic_and_a_larger_fixed_batch_agree_with_one_image_at_a_time(tiny_template, tiny_space):
    net = lively(tiny_template, tiny_space.smallest())
    for batch in (None, 1, 4):
        assert check_parity(net, build_model(net, batch=batch), noise(7, net.resolution), Preprocess()).images == 7


def test_the_structure_is_that_of_the_networks_in_a_table(tiny_template, tiny_space):
    net = lively(tiny_template, tiny_space.largest())
    exported = onnx.load_from_string(build_model(net)).graph
    measured = build_onnx(net.specs, seed=3).graph
    described = [[(n.op_type, n.name, list(n.input), list(n.output), n.attribute) for n in g.node] for g in
                 (exported, measured)]  # fmt: skip
    assert described[0] == described[1]
    assert not any(node.op_type == "BatchNormalization" for node in exported.node)


def test_the_file_names_its_classes_and_is_the_same_each_time(tiny_template, tiny_space, tmp_path):
    net = lively(tiny_template, tiny_space.smallest())
    data = export_onnx(net, tmp_path / "net.onnx", classes=list("abcde"))
    assert (tmp_path / "net.onnx").read_bytes() == data == build_model(net, classes=list("abcde"))
    properties = {p.key: p.value for p in onnx.load(tmp_path / "net.onnx").metadata_props}
    assert json.loads(properties["labels"]) == list("abcde")
    assert [path.name for path in tmp_path.iterdir()] == ["net.onnx"]


def test_labels_that_do_not_fit_the_network_are_refused(tiny_template, tiny_space):
    with pytest.raises(ExportError, match="3 labels do not fit"):
        build_model(lively(tiny_template, tiny_space.smallest()), classes=list("abc"))


def test_weights_that_are_not_finite_are_refused(tiny_template, tiny_space):
    net = lively(tiny_template, tiny_space.smallest())
    with torch.no_grad():
        net.blocks[-1].weight[0, 0] = float("nan")
    with pytest.raises(ExportError, match=r"linear.weight' is not finite"):
        build_model(net)


def test_a_module_that_is_not_its_block_is_refused(tiny_template, tiny_space):
    net = lively(tiny_template, tiny_space.smallest())
    net.blocks[0] = nn.Identity()
    with pytest.raises(ExportError, match=r"block 0 .* is a Identity"):
        build_model(net)


def test_a_file_of_other_weights_does_not_pass(tiny_template, tiny_space):
    net = lively(tiny_template, tiny_space.smallest(), seed=0)
    other = build_model(lively(tiny_template, tiny_space.smallest(), seed=1))
    with pytest.raises(ParityError, match="does not compute what the network computes"):
        check_parity(net, other, noise(2, net.resolution), Preprocess())


def test_a_network_that_gives_nan_does_not_pass(tiny_template, tiny_space):
    net = lively(tiny_template, tiny_space.smallest())
    model = build_model(net)
    with torch.no_grad():
        net.blocks[-1].bias[0] = float("nan")
    with pytest.raises(ParityError, match="nan"):
        check_parity(net, model, noise(2, net.resolution), Preprocess())


def test_parity_leaves_the_mode_of_the_network_alone_and_compares_evaluation(tiny_template, tiny_space):
    net = lively(tiny_template, tiny_space.smallest()).train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    check_parity(net, build_model(net), noise(2, net.resolution), Preprocess())
    assert net.training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_parity_without_images_or_with_a_file_that_is_no_model_is_an_error(tiny_template, tiny_space):
    net = lively(tiny_template, tiny_space.smallest())
    with pytest.raises(DataError, match="at least one image"):
        check_parity(net, build_model(net), noise(0, net.resolution), Preprocess())
    with pytest.raises(ExportError, match="does not load"):
        check_parity(net, b"not a model", noise(1, net.resolution), Preprocess())
    with pytest.raises(ExportError, match="do not fit the file's input"):
        check_parity(net, build_model(net), noise(1, net.resolution + 16), Preprocess())
