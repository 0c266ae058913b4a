"""Sorting channels: important ones first, and no trained network computes anything else than before."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from nas_edge.spaces import Activation, SearchSpace, Stage, Stem, Tail, Template
from nas_edge.supernet.elastic import ElasticInverted
from nas_edge.supernet.sorting import sort_channels
from nas_edge.supernet.supernet import Supernet

from .test_supernet import randomised

IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
RATIOS = (2, 3, 4, 6)


def template(**changes) -> Template:
    swish = Activation.H_SWISH
    return Template(
        name="sorted",
        stem=Stem(16),
        first=Stage(16, 1),
        stages=(
            Stage(16, 2, (1, 2), (3, 5), RATIOS, swish, se=True),
            Stage(24, 2, (1, 2), (3,), RATIOS, Activation.RELU, se=False),
        ),
        tail=Tail(32),
        resolutions=(32,),
        **changes,
    )


def fresh(**changes) -> Supernet:
    """With weights of clearly different sizes, so that every order changes."""
    net = randomised(Supernet(template(**changes), 5))
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, tensor in net.named_parameters():
            if "point_linear" in name and tensor.ndim == 4:
                tensor.mul_(torch.rand(1, tensor.shape[1], 1, 1, generator=generator) + 0.1)
    return net


def with_ratio(space: SearchSpace, ratio: int) -> np.ndarray:
    arch = space.to_json(space.largest())
    return space.from_json({**arch, "e": [ratio] * len(arch["e"])})


def outputs(net: Supernet, ratio: int) -> torch.Tensor:
    with torch.no_grad():
        return net(IMAGES, with_ratio(net.space, ratio))


def branches(net: Supernet) -> list[ElasticInverted]:
    return [block.conv for block in net.blocks[1:]]


def importance(branch: ElasticInverted) -> list[float]:
    return branch.point_linear.conv.conv.weight.detach().abs().sum((0, 2, 3)).tolist()


def test_the_widest_network_computes_what_it_did_and_the_best_channels_come_first() -> None:
    net = fresh()
    before = outputs(net, 6)
    narrow = outputs(net, 3)
    sort_channels(net)
    assert torch.allclose(outputs(net, 6), before, atol=1e-5)
    assert not torch.allclose(outputs(net, 3), narrow, atol=1e-2)
    for branch in branches(net):
        assert importance(branch) == sorted(importance(branch), reverse=True)
        if branch.depth_conv.se is not None:
            gate = branch.depth_conv.se.fc.get_parameter("expand.weight").detach().abs().sum((0, 2, 3)).tolist()
            assert gate == sorted(gate, reverse=True)


@pytest.mark.parametrize("known", [1, 2, 3, 4])
def test_what_ratios_have_learnt_stays_where_they_look_for_it(known: int) -> None:
    net = fresh()
    trained = RATIOS[-known:]
    before = {ratio: outputs(net, ratio) for ratio in RATIOS}
    choices = {f"s{s}_{b}_e": trained for s in (1, 2) for b in (1, 2)}
    sort_channels(net, trained=net.space.restrict(None, **choices))
    for ratio, expected in before.items():
        assert torch.allclose(outputs(net, ratio), expected, atol=1e-5) == (ratio in trained)
    if known == 2:  # 6 and 4: within a smaller ratio's channels and beyond them, each in order
        for branch in branches(net):
            found, inputs = importance(branch), branch.inverted_bottleneck.conv.conv.weight.shape[1]
            for start, stop in pairwise([0, 4 * inputs, 6 * inputs]):
                assert found[start:stop] == sorted(found[start:stop], reverse=True)


def test_networks_of_all_trained_widths_are_left_as_they_are() -> None:
    net = fresh(widths=(0.5, 1.0))
    largest = net.space.largest()
    half = largest.copy()
    half[net.space.columns["w"]] = 1
    with torch.no_grad():
        before = net(IMAGES, half)
        sort_channels(net, trained=net.space.restrict(None, **{f"s{s}_{b}_e": (6,) for s in (1, 2) for b in (1, 2)}))
        assert torch.allclose(net(IMAGES, half), before, atol=1e-5)
