"""timm's networks in our spaces: the same function where the space has room for all of it, the best of it elsewhere."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from nas_edge.errors import FormatError, TrainingError
from nas_edge.spaces import Activation, Padding, Stage, Stem, Tail, Template, preset
from nas_edge.supernet.inherit import Inherited, inherit
from nas_edge.supernet.pretrained import check_published
from nas_edge.supernet.supernet import Supernet
from nas_edge.supernet.timm_weights import family_of, read_timm
from tests.supernet.timm_record import LOGITS, MODELS, RECORD, computed, images, weights

CLASSIFIER = ["classifier.weight", "classifier.bias"]
ORIGINAL = {"d": (2, 3, 4, 2, 3), "k": 5, "e": 6}  # MobileNetV3-Large's depths; ratios and kernels above its own


@pytest.fixture(scope="module")
def recorded() -> dict[str, Any]:
    return json.loads(RECORD.read_text(encoding="utf-8"))


def state_of(recorded: dict[str, Any], name: str) -> dict[str, Tensor]:
    return weights(recorded[name]["shapes"])


def started(template: Template, state: dict[str, Tensor]) -> tuple[Supernet, Inherited]:
    """A supernet with a state dict of timm, and its classifier for once."""
    torch.manual_seed(0)
    net = Supernet(template, 1000)
    found = inherit(net, read_timm(state, "weights"))
    classifier = net.classifier.linear.weight.data.zero_()
    classifier[:, : state["classifier.weight"].shape[1]] = state["classifier.weight"]
    net.classifier.linear.bias.data.copy_(state["classifier.bias"])
    return net.eval(), found


def error(net: Supernet, recorded: dict[str, Any], name: str, arch: Any = None) -> float:
    """Largest deviation from what timm computed, in standard deviations of the logits."""
    expected = torch.tensor(recorded[name]["logits"])
    with torch.no_grad():
        found = net(images(), net.space.largest() if arch is None else arch)[:, :LOGITS]
    return float((found - expected).abs().max() / expected.std())


@pytest.mark.parametrize("width", ["1.0", "1.2"])
def test_mobilenetv3_is_the_largest_network_of_once_for_alls_space(recorded, width: str) -> None:
    net, found = started(preset(f"ofa-mbv3-w{width}"), state_of(recorded, "mobilenetv3_large_100"))
    # Silent channels of the wider head reach the classifier, where they meet zeros.
    assert error(net, recorded, "mobilenetv3_large_100") < 1e-4
    assert (found.blocks, found.fresh) == (15, 6)
    assert found.left_out == ("conv_head.bias", *CLASSIFIER)


@pytest.mark.parametrize("kernel", [5, 7])
def test_every_network_that_is_no_smaller_than_mobilenetv3_computes_the_same(recorded, kernel: int) -> None:
    net, _ = started(preset("ofa-mbv3-w1.0"), state_of(recorded, "mobilenetv3_large_100"))
    arch = net.space.from_json({"r": 160, "d": [2, 3, 4, 2, 3], "ks": [kernel] * 20, "e": [6] * 20})
    assert error(net, recorded, "mobilenetv3_large_100", arch) < 1e-4
    # Stage 1 expands by 4 and 3, stage 2 by 3, stage 3 by 6, 2.5 and 2.3: smaller ratios than 6 hold them whole.
    ratios = [4, 3, 6, 6] + [3] * 4 + [6, 3, 3, 3] + [6] * 8
    arch = net.space.from_json({"r": 160, "d": [2, 3, 4, 2, 3], "ks": [kernel] * 20, "e": ratios})
    assert error(net, recorded, "mobilenetv3_large_100", arch) < 1e-4
    smaller = net.space.from_json({"r": 160, "d": [2, 3, 4, 2, 3], "ks": [kernel] * 20, "e": [3] * 20})
    assert error(net, recorded, "mobilenetv3_large_100", smaller) > 1e-3


def test_efficientnet_lite0_is_the_largest_network_of_its_space(recorded) -> None:
    net, found = started(preset("lite0"), state_of(recorded, "tf_efficientnet_lite0"))
    assert error(net, recorded, "tf_efficientnet_lite0") < 1e-4
    assert (found.blocks, found.fresh, list(found.left_out)) == (16, 0, CLASSIFIER)


def test_a_wider_and_deeper_lite_has_a_space_made_for_it(recorded) -> None:
    sizes = [(24, (1, 2, 3)), (48, (1, 2, 3)), (88, (2, 3, 4)), (120, (2, 3, 4)), (208, (3, 4, 5)), (352, (1,))]
    lite0 = preset("lite0")
    stages = tuple(replace(s, channels=c, depths=d) for s, (c, d) in zip(lite0.stages, sizes, strict=True))
    net, found = started(replace(lite0, name="lite2", stages=stages), state_of(recorded, "tf_efficientnet_lite2"))
    assert error(net, recorded, "tf_efficientnet_lite2") < 1e-4
    assert found.fresh == 0


def test_of_a_wider_and_deeper_lite_the_best_channels_are_taken(recorded) -> None:
    state = state_of(recorded, "tf_efficientnet_lite2")
    net, found = started(preset("lite0"), state)
    assert (found.blocks, found.fresh) == (16, 0)
    kept = net.blocks[15].conv.point_linear.bn.bn.running_mean
    theirs = state["blocks.6.0.bn3.running_mean"]
    use = state["conv_head.weight"].abs().sum((0, 2, 3)) * state["blocks.6.0.bn3.weight"].abs()
    assert torch.equal(kept, theirs[use.argsort(descending=True)[:320]])


def test_mobilenetv3_small_is_the_largest_network_of_its_space(recorded) -> None:
    net, found = started(preset("mbv3-small"), state_of(recorded, "mobilenetv3_small_100"))
    assert error(net, recorded, "mobilenetv3_small_100") < 1e-4
    assert (found.blocks, found.fresh) == (11, 0)
    assert found.left_out == ("conv_head.bias", *CLASSIFIER)
    assert found.describe() == "start: 11 of 11 blocks have its weights; left out: its classifier, conv_head.bias"
    with torch.no_grad():
        alone = net.extract(net.space.largest())(images())[:, :LOGITS]
    assert torch.allclose(alone, torch.tensor(recorded["mobilenetv3_small_100"]["logits"]), atol=1e-3)


def test_every_network_that_is_no_smaller_than_mobilenetv3_small_computes_the_same(recorded) -> None:
    net, _ = started(preset("mbv3-small"), state_of(recorded, "mobilenetv3_small_100"))
    # Its own ratios are 4.5 and 3.67, 4 and 6, 3, and 6; its own kernels 3 and 5.
    arch = {"r": 224, "d": [2, 3, 2, 3], "ks": [3, 3] + [5] * 8, "e": [6, 4, 4, 6, 6, 3, 3, 6, 6, 6]}
    assert error(net, recorded, "mobilenetv3_small_100", net.space.from_json(arch)) < 1e-4
    narrower = net.space.from_json(arch | {"e": [6, 4, 4, 6, 6, 3, 3, 6, 6, 4]})
    assert error(net, recorded, "mobilenetv3_small_100", narrower) > 1e-3


def test_a_narrower_mobilenetv3_small_is_kept_whole(recorded) -> None:
    net, found = started(preset("mbv3-small"), state_of(recorded, "mobilenetv3_small_075"))
    assert error(net, recorded, "mobilenetv3_small_075") < 1e-4
    assert found.fresh == 0


def test_a_gate_that_the_space_does_not_have_is_refused_and_told_where_it_is_taken_all_the_same(recorded) -> None:
    small = preset("mbv3-small")
    template = replace(small, name="ungated", first=replace(small.first, se=False))
    state = state_of(recorded, "mobilenetv3_small_100")
    with pytest.raises(TrainingError, match=r"^space 'ungated' cannot .*: the first block has a squeeze-and-excit"):
        check_published(template, read_timm(state, "small"))
    _, found = started(template, state)
    assert "the first block's squeeze-and-excitation" in found.left_out


def test_a_minimal_mobilenetv3_is_refused_by_its_name_and_has_a_space_made_for_it(recorded) -> None:
    state = state_of(recorded, "tf_mobilenetv3_small_minimal_100")
    with pytest.raises(TrainingError, match=r"no squeeze-and-excitation there.*; it is a 'minimal' MobileNetV3 \(ReLU"):
        check_published(preset("mbv3-small"), read_timm(state, "minimal"))
    small = preset("mbv3-small")
    first, *stages = (replace(s, se=False, activation=Activation.RELU) for s in (small.first, *small.stages))
    plain = replace(
        small, name="minimal", stem=replace(small.stem, activation=Activation.RELU), first=first, stages=tuple(stages),
        tail=replace(small.tail, activation=Activation.RELU), padding=Padding.SAME, bn_eps=1e-3,
    )  # fmt: skip
    check_published(plain, read_timm(state, "minimal"))
    net, _ = started(plain, state)
    assert error(net, recorded, "tf_mobilenetv3_small_minimal_100") < 1e-4


def test_mobilenetv2_has_the_names_of_a_lite_and_is_told_from_it(recorded) -> None:
    state = state_of(recorded, "mobilenetv2_100")
    sizes = [(24, 2, 2), (32, 2, 3), (64, 2, 4), (96, 1, 3), (160, 2, 3), (320, 1, 1)]
    stages = tuple(Stage(c, s, (d,), (3, 5), (3, 6)) for c, s, d in sizes)
    net, found = started(Template("mbv2", Stem(32), Stage(16, 1), stages, Tail(1280), (96,)), state)
    assert error(net, recorded, "mobilenetv2_100") < 1e-4
    assert (found.fresh, list(found.left_out)) == (0, CLASSIFIER)
    check_published(preset("lite0"), read_timm(state, "v2"))
    _, found = started(preset("lite0"), state)
    assert "the last 1 of 4 blocks of stage 3" in found.left_out


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("mobilenetv3_large_100", "MobileNetV3-Large"),
        ("mobilenetv3_small_100", "MobileNetV3-Small"),
        ("tf_mobilenetv3_small_minimal_100", "MobileNetV3-Small"),
        ("tf_efficientnet_lite2", "EfficientNet-Lite"),
        ("mobilenetv2_100", "MobileNetV2"),
    ],
)
def test_each_network_is_called_by_its_family(recorded, name: str, family: str) -> None:
    assert family_of(read_timm(state_of(recorded, name), name)) == family


def test_a_network_of_other_kernels_is_called_neither(recorded) -> None:
    state = state_of(recorded, "mobilenetv2_100")
    state["blocks.2.0.conv_dw.weight"] = torch.zeros(144, 1, 5, 5)
    assert family_of(read_timm(state, "other")) == "a relative of MobileNetV2"


def test_silent_channels_and_identities_learn(recorded) -> None:
    net, _ = started(preset("ofa-mbv3-w1.2"), state_of(recorded, "mobilenetv3_large_100"))
    net.train()
    optimiser = torch.optim.AdamW(net.parameters(), lr=1e-4)
    for _ in range(2):  # what reads a silent channel learns first, what makes it second
        optimiser.zero_grad()
        net(images(), net.space.largest()).square().mean().backward()
        optimiser.step()
    extra = net.blocks[1].conv  # 64 of its 144 middle channels are MobileNetV3's, 24 of its 32 outputs
    assert float(extra.inverted_bottleneck.conv.conv.weight.grad[64:, :16].abs().max()) > 0
    assert float(extra.point_linear.bn.bn.weight.grad[24:].abs().min()) > 0
    assert float(net.blocks[3].conv.depth_conv.conv.conv.weight.grad.abs().max()) > 0


def test_spaces_with_other_gates_or_strides_are_refused(recorded) -> None:
    mobile, lite = (read_timm(state_of(recorded, name), name) for name in (MODELS[0], MODELS[2]))
    with pytest.raises(TrainingError, match=r"^space 'lite0' cannot start from .*: stage 2 has a squeeze-and-excit"):
        check_published(preset("lite0"), mobile)
    with pytest.raises(TrainingError, match=r"^space 'ofa-mbv3-w1.0' cannot .*: stage 2 has no squeeze-and-excit"):
        check_published(preset("ofa-mbv3-w1.0"), lite)
    small = read_timm(state_of(recorded, "mobilenetv3_small_100"), "small")
    plain = replace(small, stages=tuple(tuple(replace(b, gate=None) for b in stage) for stage in small.stages))
    with pytest.raises(TrainingError, match=r"space 'lite0' cannot start from 'small': strides \[2, 1, .*\[2, 2, 2"):
        check_published(preset("lite0"), plain)
    first, *rest = mobile.stages[1]
    mixed = (mobile.stages[0], (replace(first, gate=None), *rest), *mobile.stages[2:])
    with pytest.raises(TrainingError, match=r"stage 2 has in some blocks a squeeze-and-excitation there, and one in"):
        check_published(preset("ofa-mbv3-w1.0"), replace(mobile, stages=mixed))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"blocks.2.1.conv_dw.weight": None}, r"lacks 'blocks\.2\.1\.conv_dw\.weight'"),
        ({"blocks.3.0.bn2.running_var": None}, r"lacks 'blocks\.3\.0\.bn2\.running_var'"),
        ({"blocks.1.1.conv_pwl.weight": (24, 70, 1, 1)}, r"conv_pwl\.weight' has shape .*, expected \(any, 72, 1, 1\)"),
        ({"blocks.1.1.conv_dw.weight": (72, 1, 4, 4)}, r"has shape \(72, 1, 4, 4\); kernels are square and odd"),
        ({"blocks.1.1.bn1.bias": (3, 24)}, r"'blocks\.1\.1\.bn1\.bias' has shape \(3, 24\), expected \(72\)"),
        ({"blocks.0.1.conv_dw.weight": (16, 1, 3, 3)}, r"'blocks\.0\.1', a second block before the stages"),
        ({"blocks.7.0.conv_dw.weight": (16, 1, 3, 3)}, r"has 7 stages after its first block"),
        ({"norm_head.weight": (1280,)}, r"has 'norm_head\.weight', which is not of a MobileNetV3, MobileNetV2 or Ef"),
        ({"conv_stem.weight": None}, r"lacks 'conv_stem\.weight' or blocks"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told_by_name_and_shape(recorded, change: dict[str, Any], message: str) -> None:
    state = state_of(recorded, "mobilenetv3_large_100")
    for name, shape in change.items():
        if shape is None:
            del state[name]
        else:
            state[name] = torch.zeros(shape)
    with pytest.raises(FormatError, match=message) as caught:
        read_timm(state, "m.pth")
    assert str(caught.value).startswith("m.pth: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", MODELS)
def test_the_record_is_what_timm_computes(recorded, name: str) -> None:
    timm = pytest.importorskip("timm", reason="needs timm (and torchvision)", exc_type=ImportError)
    found = computed(timm.create_model(name))
    assert [[key, list(shape)] for key, shape in found["shapes"]] == recorded[name]["shapes"]
    np.testing.assert_allclose(found["logits"], recorded[name]["logits"], rtol=1e-4, atol=1e-4)
