"""Once-for-All's networks written down a second time, plainly and in double precision, from tensors by their official
names: every subnet that is drawn computes the same here and there."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from torch import Tensor

from nas_edge.spaces import SearchSpace, preset
from nas_edge.supernet.official import load_official
from nas_edge.supernet.recalibrate import recalibrate
from nas_edge.supernet.supernet import Supernet

CLASSES = 7
State = dict[str, Tensor]


@dataclass(frozen=True)
class Plain:
    """A published supernet: channels of stem, first block and stages, and what follows them."""

    stem: int
    first: int
    stages: tuple[int, ...]
    slots: tuple[int, ...]
    strides: tuple[int, ...]
    swish: tuple[bool, ...]
    se: tuple[bool, ...]
    tail: tuple[int, ...]
    eps: float
    v3: bool


V3 = {
    "slots": (4,) * 5, "strides": (2, 2, 2, 1, 2), "swish": (False, False, True, True, True),
    "se": (False, True, False, True, True), "eps": 1e-5, "v3": True,
}  # fmt: skip
NETS = {
    "ofa-mbv3-w1.0": Plain(16, 16, (24, 40, 80, 112, 160), tail=(960, 1280), **V3),
    "ofa-mbv3-w1.2": Plain(24, 24, (32, 48, 96, 136, 192), tail=(1152, 1536), **V3),
    "ofa-proxyless-w1.3": Plain(
        40, 24, (32, 56, 104, 128, 248, 416), (4, 4, 4, 4, 4, 1), (2, 2, 2, 1, 2, 1), (False,) * 6, (False,) * 6,
        (1664,), 1e-3, False,
    ),
}  # fmt: skip


def eights(value: float) -> int:
    """To a multiple of eight, never less than nine tenths."""
    n = max(8, int(value + 4) // 8 * 8)
    return n + 8 if n < 0.9 * value else n


def slots_of(net: Plain) -> Iterator[tuple[int, int, int, int]]:
    """(stage, slot, input channels, output channels) of blocks 1, 2, ..."""
    inputs = net.first
    for stage, (channels, count) in enumerate(zip(net.stages, net.slots, strict=True)):
        for slot in range(count):
            yield stage, slot, inputs, channels
            inputs = channels


def official_state(net: Plain, seed: int) -> State:
    """Random tensors of all official names."""
    rng = np.random.default_rng(seed)
    state: State = {}

    def normal(name: str, *shape: int, spread: float = 1.0, mean: float = 0.0) -> None:
        state[name] = torch.from_numpy((mean + spread * rng.standard_normal(shape)).astype(np.float32))

    def conv(name: str, outputs: int, inputs: int, kernel: int = 1) -> None:
        normal(f"{name}.weight", outputs, inputs, kernel, kernel, spread=(2 / (inputs * kernel * kernel)) ** 0.5)

    def norm(name: str, channels: int) -> None:
        normal(f"{name}.weight", channels, spread=0.2, mean=1.0)
        normal(f"{name}.bias", channels, spread=0.3)
        normal(f"{name}.running_mean", channels, spread=0.3)
        state[f"{name}.running_var"] = torch.from_numpy(rng.uniform(0.3, 2.0, channels).astype(np.float32))
        state[f"{name}.num_batches_tracked"] = torch.tensor(3)

    conv("first_conv.conv", net.stem, 3, 3)
    norm("first_conv.bn", net.stem)
    conv("blocks.0.conv.depth_conv.conv", net.stem, 1, 3)
    norm("blocks.0.conv.depth_conv.bn", net.stem)
    conv("blocks.0.conv.point_linear.conv", net.first, net.stem)
    norm("blocks.0.conv.point_linear.bn", net.first)
    for number, (stage, _, inputs, channels) in enumerate(slots_of(net), 1):
        block, mid = f"blocks.{number}.conv", eights(round(6 * inputs))
        conv(f"{block}.inverted_bottleneck.conv.conv", mid, inputs)
        norm(f"{block}.inverted_bottleneck.bn.bn", mid)
        conv(f"{block}.depth_conv.conv.conv", mid, 1, 7)
        for step, side in (("7to5", 25), ("5to3", 9)):
            normal(f"{block}.depth_conv.conv.{step}_matrix", side, side, spread=0.2)
        norm(f"{block}.depth_conv.bn.bn", mid)
        if net.se[stage]:
            squeezed = eights(mid // 4)
            conv(f"{block}.depth_conv.se.fc.reduce", squeezed, mid)
            normal(f"{block}.depth_conv.se.fc.reduce.bias", squeezed)
            conv(f"{block}.depth_conv.se.fc.expand", mid, squeezed)
            normal(f"{block}.depth_conv.se.fc.expand.bias", mid)
        conv(f"{block}.point_linear.conv.conv", channels, mid)
        norm(f"{block}.point_linear.bn.bn", channels)
    expand = "final_expand_layer" if net.v3 else "feature_mix_layer"
    conv(f"{expand}.conv", net.tail[0], net.stages[-1])
    norm(f"{expand}.bn", net.tail[0])
    if net.v3:
        conv("feature_mix_layer.conv", net.tail[1], net.tail[0])
    normal("classifier.linear.weight", CLASSES, net.tail[-1], spread=net.tail[-1] ** -0.5)
    normal("classifier.linear.bias", CLASSES)
    return state


def plainly(net: Plain, state: State, images: Tensor, arch: dict, statistics: str = "stored") -> Tensor:
    """Logits of one subnet; batch norms by their stored statistics, or by those of the `batch`."""
    weights = {name: tensor.double() for name, tensor in state.items()}

    def norm(x: Tensor, name: str) -> Tensor:
        c = x.shape[1]
        mean, variance = (weights[f"{name}.running_{kind}"][:c] for kind in ("mean", "var"))
        if statistics == "batch":
            mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)
        scale = weights[f"{name}.weight"][:c] / (variance + net.eps).sqrt()
        return x * scale[:, None, None] + (weights[f"{name}.bias"][:c] - mean * scale)[:, None, None]

    def activate(x: Tensor, swish: bool) -> Tensor:
        if swish:
            return x * (x + 3).clamp(0, 6) / 6
        return x.clamp(min=0) if net.v3 else x.clamp(0, 6)

    def kernel_of(block: str, mid: int, side: int) -> Tensor:
        kernel = weights[f"{block}.depth_conv.conv.conv.weight"][:mid, 0]
        for larger, smaller in ((7, 5), (5, 3)):
            if side < larger:
                rows = kernel[:, 1:-1, 1:-1].reshape(mid, smaller * smaller)
                matrix = weights[f"{block}.depth_conv.conv.{larger}to{smaller}_matrix"]
                kernel = torch.einsum("ci,oi->co", rows, matrix).reshape(mid, smaller, smaller)
        return kernel[:, None]

    def gate(x: Tensor, block: str) -> Tensor:
        mid = x.shape[1]
        squeezed, fc = eights(mid // 4), f"{block}.depth_conv.se.fc"
        y = x.mean((2, 3)) @ weights[f"{fc}.reduce.weight"][:squeezed, :mid, 0, 0].T
        y = (y + weights[f"{fc}.reduce.bias"][:squeezed]).clamp(min=0)
        y = y @ weights[f"{fc}.expand.weight"][:mid, :squeezed, 0, 0].T + weights[f"{fc}.expand.bias"][:mid]
        return x * ((y + 3).clamp(0, 6) / 6)[:, :, None, None]

    x = F.conv2d(images.double(), weights["first_conv.conv.weight"], stride=2, padding=1)
    x = activate(norm(x, "first_conv.bn"), net.v3)
    y = F.conv2d(x, weights["blocks.0.conv.depth_conv.conv.weight"], padding=1, groups=net.stem)
    y = activate(norm(y, "blocks.0.conv.depth_conv.bn"), False)
    y = norm(F.conv2d(y, weights["blocks.0.conv.point_linear.conv.weight"]), "blocks.0.conv.point_linear.bn")
    x = x + y if net.v3 else y
    for number, (stage, slot, inputs, channels) in enumerate(slots_of(net), 1):
        depth = arch["d"][stage] if stage < len(arch["d"]) else 1
        if slot >= depth:
            continue
        block, side, mid = (
            f"blocks.{number}.conv",
            arch["ks"][number - 1],
            eights(round(inputs * arch["e"][number - 1])),
        )
        stride, swish = net.strides[stage] if slot == 0 else 1, net.swish[stage]
        y = F.conv2d(x, weights[f"{block}.inverted_bottleneck.conv.conv.weight"][:mid])
        y = activate(norm(y, f"{block}.inverted_bottleneck.bn.bn"), swish)
        y = F.conv2d(y, kernel_of(block, mid, side), stride=stride, padding=side // 2, groups=mid)
        y = activate(norm(y, f"{block}.depth_conv.bn.bn"), swish)
        y = gate(y, block) if net.se[stage] else y
        y = F.conv2d(y, weights[f"{block}.point_linear.conv.conv.weight"][:, :mid])
        y = norm(y, f"{block}.point_linear.bn.bn")
        x = x + y if stride == 1 and inputs == channels else y
    expand = "final_expand_layer" if net.v3 else "feature_mix_layer"
    x = activate(norm(F.conv2d(x, weights[f"{expand}.conv.weight"]), f"{expand}.bn"), net.v3).mean((2, 3))
    if net.v3:
        x = activate(x @ weights["feature_mix_layer.conv.weight"][:, :, 0, 0].T, True)
    return x @ weights["classifier.linear.weight"].T + weights["classifier.linear.bias"]


_LOADED: dict[str, tuple[Supernet, Supernet, State]] = {}


def loaded(name: str) -> tuple[Supernet, Supernet, State]:
    """A supernet with random official weights, the same in double precision, and the weights; made once."""
    if name not in _LOADED:
        state = official_state(NETS[name], seed=11)
        net = Supernet(preset(name), CLASSES)
        load_official(net, state, "made for a test")
        exact = copy.deepcopy(net).double()
        for module in exact.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = 0.0  # what it sees of a batch leaves no trace
        _LOADED[name] = net.eval(), exact, state
    return _LOADED[name]


@st.composite
def subnets(draw: st.DrawFn, net: Plain) -> dict:
    count = sum(net.slots)
    lists = {"ks": (3, 5, 7), "e": (3, 4, 6)}
    depths = [draw(st.sampled_from((2, 3, 4))) for slots in net.slots if slots > 1]
    return {"r": 128, "d": depths} | {
        key: draw(st.lists(st.sampled_from(choices), min_size=count, max_size=count)) for key, choices in lists.items()
    }


def distance(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).abs().max() / expected.abs().max())


@torch.no_grad()
def check(name: str, arch: dict, side: int, seed: int) -> None:
    """In double precision nothing but rounding; in single what outputs of the original itself are held to."""
    net, exact, state = loaded(name)
    images = torch.randn(3, 3, side, side, generator=torch.Generator().manual_seed(seed))
    row = net.space.from_json(arch)
    stored, of_batch = (plainly(NETS[name], state, images, arch, statistics) for statistics in ("stored", "batch"))
    assert distance(exact.eval()(images.double(), row), stored) < 1e-9
    assert distance(exact.train()(images.double(), row), of_batch) < 1e-9
    subnet = net.extract(row)
    assert distance(net(images, row), stored) < 1e-4
    assert distance(subnet(images), stored) < 1e-4
    recalibrate(subnet.double(), [images.double()])  # three images leave few digits of a batch's statistics in single
    assert distance(subnet(images.double()), of_batch) < 1e-4


# Without shrinking: one failing case says enough, and a smaller one would take minutes.
AT_A_TIME = {"deadline": None, "suppress_health_check": list(HealthCheck), "phases": [Phase.explicit, Phase.generate]}


@pytest.mark.parametrize("name", NETS)
@settings(max_examples=3, **AT_A_TIME)
@given(data=st.data())
def test_subnets_compute_what_their_description_says(name: str, data: st.DataObject) -> None:
    arch = data.draw(subnets(NETS[name]))
    check(name, arch, data.draw(st.sampled_from((64, 75, 96))), data.draw(st.integers(0, 99)))


@pytest.mark.slow
@pytest.mark.parametrize("name", NETS)
@settings(max_examples=150, **AT_A_TIME)
@given(data=st.data())
def test_many_more_subnets_do(name: str, data: st.DataObject) -> None:
    arch = data.draw(subnets(NETS[name]))
    check(name, arch, data.draw(st.integers(64, 160)), data.draw(st.integers(0, 99)))


@pytest.mark.parametrize("name", NETS)
def test_names_and_shapes_are_those_that_the_plain_networks_need(name: str) -> None:
    net, _, state = loaded(name)
    own = {key: tensor.shape for key, tensor in net.state_dict().items()}
    counted = {key: tensor.shape for key, tensor in state.items() if not key.endswith("num_batches_tracked")}
    assert {key: shape for key, shape in own.items() if not key.endswith("num_batches_tracked")} == counted
    assert SearchSpace(preset(name)).is_valid(net.space.sample(3, np.random.default_rng(0))).all()
