"""Each proxy does what its paper says: on networks small enough to check by hand, or by a property it must have."""

from __future__ import annotations

import copy
import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn

from nas_edge.errors import SpaceError, UnknownNameError
from nas_edge.spaces import Activation, BlockSpec, Kind, SearchSpace
from nas_edge.supernet.static import StaticNet
from nas_edge.training.measuring import zero_cost as zc


def chain(*channels: int, side: int = 8) -> StaticNet:
    """1x1 convolutions with ReLU6, pooling, classifier of two."""
    specs = [
        BlockSpec(Kind.HEAD, side, side, a, a, b, activation=Activation.RELU6) for a, b in itertools.pairwise(channels)
    ]
    last = channels[-1]
    specs.append(BlockSpec(Kind.POOLING, side, side, last, last, last, groups=last))
    specs.append(BlockSpec(Kind.LINEAR, 1, 1, last, last, 2))
    torch.manual_seed(0)
    return StaticNet(specs, 1e-5, 0.1).eval()


@pytest.fixture
def net(tiny_space) -> StaticNet:
    return zc.fresh_net(tiny_space, tiny_space.largest(), 4, seed=0)


@pytest.fixture
def batch(net) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(6, 3, net.resolution, net.resolution, generator=generator), torch.arange(6) % 4


def state(net: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in net.state_dict().items()}


@pytest.mark.parametrize("name", zc.PROXIES)
def test_the_same_seed_gives_the_same_score_and_the_network_stays_as_it_was(tiny_space, net, batch, name):
    before = state(net)
    first = zc.zero_cost(name, net, *batch, seed=3)
    assert math.isfinite(first)
    assert zc.zero_cost(name, net, *batch, seed=3) == first
    again = zc.zero_cost(name, zc.fresh_net(tiny_space, tiny_space.largest(), 4, seed=0), *batch, seed=3)
    assert again == first
    assert not net.training
    assert all(torch.equal(before[key], value) for key, value in net.state_dict().items())


@pytest.mark.parametrize("name", ["synflow", "zen", "grad_norm", "naswot"])
def test_a_larger_network_promises_more(tiny_space, name):
    scores = []
    for arch in (tiny_space.smallest(), tiny_space.largest()):
        small = zc.fresh_net(tiny_space, arch, 4, seed=0)
        images = torch.randn(6, 3, small.resolution, small.resolution, generator=torch.Generator().manual_seed(0))
        scores.append(zc.zero_cost(name, small, images, torch.arange(6) % 4))
    assert scores[0] < scores[1]


def test_unknown_proxies_are_refused_with_the_known_ones(net, batch):
    with pytest.raises(UnknownNameError, match="did you mean synflow"):
        zc.zero_cost("sinflow", net, *batch)


# NASWOT


def test_naswots_kernel_counts_what_two_images_switch_alike():
    codes = torch.tensor([[1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 1]], dtype=torch.bool)
    kernel = zc.alike(codes)
    assert kernel.tolist() == [[4, 3, 0], [3, 4, 1], [0, 1, 4]]
    # 4 (16 - 1) - 3 (12 - 0) + 0 = 24
    assert zc.log_determinant(kernel) == pytest.approx(math.log(24))


def test_naswot_is_the_kernel_of_all_rectifiers_by_hand():
    net = chain(3, 5, 4, side=2)
    images = torch.randn(5, 3, 2, 2, generator=torch.Generator().manual_seed(4))
    x, codes = images, []
    for block in list(net.blocks)[:2]:
        x = nn.functional.conv2d(x, block.conv.weight)
        x = (x - x.mean((0, 2, 3), keepdim=True)) / (x.var((0, 2, 3), correction=0, keepdim=True) + 1e-5).sqrt()
        codes.append((x > 0).flatten(1))
        x = x.clamp(0, 6)
    c = torch.cat(codes, dim=1).numpy()
    hamming = (c[:, None] != c[None]).sum(axis=2)
    expected = np.linalg.slogdet(c.shape[1] - hamming)[1]
    assert zc.naswot(net, images) == pytest.approx(expected, rel=1e-9)


def test_images_that_are_the_same_have_no_determinant():
    image = torch.randn(1, 3, 2, 2, generator=torch.Generator().manual_seed(4))
    net = chain(3, 5, side=2)
    assert zc.naswot(net, image.repeat(3, 1, 1, 1)) == -math.inf


# SynFlow


def test_synflow_by_hand_is_layers_times_the_product_of_all_weights():
    net = chain(3, 5, 4, side=2)
    product = np.ones((1, 3))
    for module in (net.blocks[0].conv, net.blocks[1].conv, net.blocks[3]):
        weight = module.weight.detach().double().abs().numpy()
        product = product @ weight.reshape(weight.shape[0], weight.shape[1]).T
    assert zc.synflow(net) == pytest.approx(math.log(3 * product.sum()), rel=1e-6)


def test_each_layer_of_a_chain_has_the_same_flow():
    flows = [float(flow) for flow in zc.synaptic_flow(chain(3, 16, 8, 32, 4))[0]]
    assert len(flows) == 5
    assert flows == pytest.approx([flows[0]] * 5, rel=1e-9)


def test_synflow_is_blind_to_signs_norms_and_data_but_not_to_weights(net):
    score = zc.synflow(net)
    other = copy.deepcopy(net)
    for module in other.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data.normal_()
            module.bias.data.normal_()
        elif isinstance(module, nn.Conv2d):
            module.weight.data.neg_()
    assert zc.synflow(other) == pytest.approx(score, rel=1e-12)
    other.blocks[0].conv.weight.data.mul_(3.0)  # every path goes through the stem
    assert zc.synflow(other) == pytest.approx(score + math.log(3), rel=1e-6)


def test_synflow_of_a_deep_network_stays_within_the_range_of_floats():
    deep = chain(*[64] * 400)
    assert math.isfinite(zc.synflow(deep))


# Zen-score


def test_weights_times_c_before_a_norm_add_log_c_as_if_the_norm_were_not_there():
    net = chain(3, 16, 16, 8)
    generator = torch.Generator().manual_seed(2)
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.data.normal_(generator=generator)
    inputs, noise = torch.randn(2, 4, 3, 8, 8, generator=generator)
    score = zc.zen_score(net, inputs, noise)
    for block, factor in ((0, 7.0), (1, 0.2)):
        scaled = copy.deepcopy(net)
        scaled.blocks[block].conv.weight.data.mul_(factor)
        assert zc.zen_score(scaled, inputs, noise) == pytest.approx(score + math.log(factor), abs=1e-3)


def test_of_a_linear_network_without_norms_it_is_the_log_of_the_change_by_hand():
    spec = BlockSpec(Kind.HEAD, 4, 4, 3, 3, 5, norm=False)
    pool = BlockSpec(Kind.POOLING, 4, 4, 5, 5, 5, groups=5)
    net = StaticNet([spec, pool, BlockSpec(Kind.LINEAR, 1, 1, 5, 5, 2)], 1e-5, 0.1).eval()
    inputs, noise = torch.randn(2, 6, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    change = nn.functional.conv2d(0.01 * noise, net.blocks[0].conv.weight).detach()
    expected = math.log(float(change.flatten(1).norm(dim=1).mean()))
    assert zc.zen_score(net, inputs, noise) == pytest.approx(expected, abs=1e-3)


def test_zen_is_a_matter_of_the_architecture_not_of_its_weights(tiny_space):
    scores = {zc.zen(zc.fresh_net(tiny_space, tiny_space.largest(), 4, seed), seed=5) for seed in (0, 1)}
    assert len(scores) == 1


# Gradient norm


def test_the_gradient_norm_is_autograds(net, batch):
    images, labels = batch
    other = copy.deepcopy(net).train()
    other.dropout = 0.0
    nn.functional.cross_entropy(other(images), labels).backward()
    weights = [m.weight for m in other.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    expected = sum(float(w.grad.norm()) for w in weights)
    assert zc.grad_norm(net, images, labels) == pytest.approx(expected, rel=1e-5)


# As an accuracy's stand-in


def test_populations_are_scored_once_each_at_their_own_resolution(tiny_space, monkeypatch):
    rows = tiny_space.sample(4, np.random.default_rng(0))
    images = np.random.default_rng(1).normal(size=(5, 3, 40, 40)).astype(np.float32)
    scores = zc.ZeroCostScores("naswot", tiny_space, 4, lambda: (images, np.arange(5) % 4), seed=2)
    first = scores.predict(rows)
    sides, known = [], zc.naswot
    monkeypatch.setattr(zc, "naswot", lambda net, x: sides.append(x.shape[-1]) or known(net, x))
    assert np.array_equal(scores.predict(np.concatenate([rows, rows]))[:4], first)
    assert sides == []
    scores.predict(tiny_space.largest()[None])
    assert sides == [48]
    scores.check(tiny_space)
    with pytest.raises(SpaceError, match="made for space 'tiny', not for 'lite0'"):
        scores.check(SearchSpace.named("lite0"))


def test_a_search_by_a_proxy_finds_what_the_proxy_likes_within_the_budget(tiny_space):
    from nas_edge.search import AdditiveMetric, Constraint, search
    from nas_edge.search.metrics import FunctionMetric

    metric = FunctionMetric("zero-cost", "", zc.ZeroCostScores("synflow", tiny_space, 4, unread).predict, maximise=True)
    macs = AdditiveMetric("macs", "MACs", tiny_space.costs(lambda block: block.macs, 4))
    limit = float(np.median(macs(tiny_space.enumerate())))
    found = search(
        tiny_space, {"accuracy": metric, "macs": macs}, [Constraint("macs", "<=", limit)], strategy="evolution",
        options={"initial": 20, "children": 10, "population": 10}, evaluations=60,
    )  # fmt: skip
    assert found.figures["macs"] <= limit
    some = tiny_space.sample(30, np.random.default_rng(5))
    some = some[macs(some) <= limit]
    assert found.figures["accuracy"] >= np.median(metric(some))


def unread() -> zc.Pictures:
    raise AssertionError("pictures are read")


@pytest.mark.parametrize("name", zc.PROXIES)
def test_pictures_are_read_only_by_proxies_that_look_at_them(tiny_space, name):
    if name in zc.PROXIES_OF_IMAGES:
        with pytest.raises(AssertionError, match="pictures are read"):
            zc.ZeroCostScores(name, tiny_space, 4, unread)
    else:
        assert np.isfinite(zc.ZeroCostScores(name, tiny_space, 4, unread).predict(tiny_space.smallest()[None])).all()
