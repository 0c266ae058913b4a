"""A start from another space: the same function where nothing is left out, the best of it where something is."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from nas_edge.errors import TrainingError
from nas_edge.spaces import Activation, Stage, Stem, Tail, Template, preset
from nas_edge.supernet.inherit import inherit
from nas_edge.supernet.source import Source
from nas_edge.supernet.supernet import Supernet

LARGE = Template(
    name="large",
    stem=Stem(16),
    first=Stage(8, 1),
    stages=(
        Stage(16, 2, (1, 2), (3, 5), (3, 6)),
        Stage(24, 2, (1, 2), (3, 5), (3, 6), activation=Activation.H_SWISH, se=True),
    ),
    tail=Tail(32),
    resolutions=(32,),
)


def trained(template: Template, seed: int = 0) -> Supernet:
    """A supernet whose channels differ in importance and whose norms have seen images."""
    torch.manual_seed(seed)
    net = Supernet(template, 3)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.3, 1.5)
            nn.init.uniform_(module.bias, -0.3, 0.3)
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.5, 1.5)
    return net.eval()


def logits(net: Supernet, classifier: nn.Linear) -> torch.Tensor:
    net.classifier.linear.load_state_dict(classifier.state_dict())
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return net.eval()(images, net.space.largest())


def test_the_same_space_computes_the_same() -> None:
    source, target = trained(LARGE), trained(LARGE, seed=5)
    found = inherit(target, Source.of(source))
    assert (found.blocks, found.fresh) == (5, 0)
    assert torch.allclose(logits(target, source.classifier.linear), logits(source, source.classifier.linear), atol=1e-5)


def test_the_first_blocks_gate_is_taken_as_well() -> None:
    template = replace(LARGE, first=Stage(8, 1, se=True))
    source, target = trained(template), trained(template, seed=5)
    inherit(target, Source.of(source))
    gate = target.blocks[0].conv.depth_conv.se.fc["expand"].weight
    assert torch.equal(gate, source.blocks[0].conv.depth_conv.se.fc["expand"].weight)
    assert torch.allclose(logits(target, source.classifier.linear), logits(source, source.classifier.linear), atol=1e-5)


def test_what_has_no_place_is_told_in_words() -> None:
    stages = (replace(LARGE.stages[0], depths=(1,)), replace(LARGE.stages[1], se=False))
    source = Source.of(trained(replace(LARGE, tail=Tail(32, 48), first=Stage(8, 1, se=True))))
    found = inherit(Supernet(replace(LARGE, stages=stages), 3), source)
    assert found.left_out == (
        "the first block's squeeze-and-excitation",
        "the last 1 of 2 blocks of stage 1",
        "stage 2's squeeze-and-excitation",
        "the layer after its pooling",
    )
    assert (
        found.describe()
        == f"start: 4 of 4 blocks have its weights; left out: its classifier, {', '.join(found.left_out)}"
    )
    found = inherit(Supernet(replace(LARGE, stages=LARGE.stages[:1]), 3), Source.of(trained(LARGE)))
    assert found.left_out == ("stage 2", "what follows its stages")


def test_larger_kernels_and_further_blocks_change_nothing_at_first() -> None:
    stages = tuple(replace(stage, kernels=(3, 5, 7), depths=(1, 2, 3)) for stage in LARGE.stages)
    source, target = trained(LARGE), Supernet(replace(LARGE, stages=stages), 3)
    found = inherit(target, Source.of(source))
    assert (found.blocks, found.fresh) == (5, 2)
    assert torch.allclose(logits(target, source.classifier.linear), logits(source, source.classifier.linear), atol=1e-5)


def test_wider_layers_and_larger_ratios_change_nothing_at_first() -> None:
    stages = tuple(replace(s, channels=s.channels + 8, expands=(3, 6, 8)) for s in LARGE.stages)
    wider = replace(LARGE, stem=Stem(24), first=Stage(16, 1), stages=stages, tail=Tail(48))
    source, target = trained(LARGE), Supernet(wider, 3)
    assert inherit(target, Source.of(source)).fresh == 0
    classifier = nn.Linear(48, 3)
    nn.init.zeros_(classifier.weight)  # silent channels of the head meet zeros
    classifier.weight.data[:, :32] = source.classifier.linear.weight.data
    classifier.bias.data.copy_(source.classifier.linear.bias.data)
    assert torch.allclose(logits(target, classifier), logits(source, source.classifier.linear), atol=1e-5)


def test_what_is_added_up_stays_in_one_order_where_widths_are_elastic() -> None:
    template = replace(LARGE, first=Stage(16, 1))  # adds its input: stem and first block are one stream
    source, target = trained(template), Supernet(replace(template, widths=(0.5, 1.0)), 3)
    inherit(target, Source.of(source))
    assert not torch.equal(target.first_conv.conv.weight, source.first_conv.conv.weight)
    assert torch.allclose(logits(target, source.classifier.linear), logits(source, source.classifier.linear), atol=1e-5)


def first_stage(net: Supernet) -> torch.Tensor:
    """What the first stage's two blocks hand on, [2, channels, 8, 8]."""
    plan = net.eval().plan(net.space.largest())
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        for module, spec in plan[:4]:
            x = module(x, spec)
    return x


def test_channels_that_carry_nothing_are_the_ones_left_out() -> None:
    source = trained(LARGE)
    dead = [1, 4, 6, 7, 10, 12, 13, 15]
    for index in (1, 2):  # both blocks of the first stage write to its stream
        source.blocks[index].conv.point_linear.bn.bn.weight.data[dead] = 0
        source.blocks[index].conv.point_linear.bn.bn.bias.data[dead] = 0
    # The narrow second block has 6 x 8 middle channels: let the wide one use no more.
    source.blocks[2].conv.point_linear.conv.conv.weight.data[:, 48:] = 0
    target = Supernet(replace(LARGE, stages=(replace(LARGE.stages[0], channels=8), LARGE.stages[1])), 3)
    inherit(target, Source.of(source))
    wide, narrow = first_stage(source), first_stage(target)
    found = [min(range(16), key=lambda c: float((wide[:, c] - narrow[:, i]).abs().max())) for i in range(8)]
    assert sorted(found) == sorted(set(range(16)) - set(dead))
    assert torch.allclose(wide[:, found], narrow, atol=1e-5)


def test_the_embedded_bundles_space_starts_the_one_for_microcontrollers() -> None:
    found = inherit(Supernet(preset("mcu"), 6), Source.of(Supernet(preset("lite0"), 6)))
    assert (found.blocks, found.fresh) == (12, 1)


def test_spaces_that_shrink_their_images_otherwise_are_refused() -> None:
    with pytest.raises(TrainingError, match=r"'mbv3-32' cannot start from 'lite0': strides \[1, 1, .*\] and \[2, 1"):
        inherit(Supernet(preset("mbv3-32"), 6), Source.of(Supernet(preset("lite0"), 6)))
