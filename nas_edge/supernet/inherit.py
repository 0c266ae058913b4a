"""A start from a trained network of another shape: its most important channels, block by block.

Structured pruning where the new network is smaller: stage by stage, the channels that matter most are taken (filters of
small L1 norm go first: Li et al., Pruning Filters for Efficient ConvNets, ICLR 2017; batch-norm scales as importance:
Liu et al., Network Slimming, ICCV 2017), in order of importance, so that elastic widths and ratios keep the best.

Where it is larger, the function is kept (Net2Net: Chen et al., ICLR 2016). Further blocks begin as identities (their
last batch norm has scale zero: Goyal et al. 2017); further channels begin at random and silent: nothing reads middle
ones yet, nothing writes those between blocks; smaller kernels become the centre of larger ones. The classifier always
begins afresh.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas_edge.errors import TrainingError
from nas_edge.spaces import Template
from nas_edge.supernet.elastic import (
    ElasticInverted,
    ElasticKernel,
    ElasticSqueeze,
    FixedInverted,
    PlainConv,
    Residual,
)
from nas_edge.supernet.source import Block, Gate, Layer, Norm, Source
from nas_edge.supernet.supernet import Supernet

_TOLD = 6


@dataclass(frozen=True)
class Inherited:
    """What was taken.

    Attributes:
        blocks: inverted residuals with weights of the source.
        fresh: inverted residuals that begin as identities or at random.
        left_out: what of the source has no place: names of weights, and parts of the network in words.
    """

    blocks: int
    fresh: int
    left_out: tuple[str, ...] = ()

    def describe(self) -> str:
        """For a person, one line: "start: 15 of 21 blocks have its weights; left out: its classifier ..."."""
        left = ["its classifier", *(name for name in self.left_out if not name.startswith("classifier."))]
        told = ", ".join(left[:_TOLD]) + (f" and {len(left) - _TOLD} more" if len(left) > _TOLD else "")
        return f"start: {self.blocks} of {self.blocks + self.fresh} blocks have its weights; left out: {told}"


@torch.no_grad()
def inherit(target: Supernet, source: Source) -> Inherited:
    """Fill a supernet with a trained network, as much of it as the supernet has room for.

    Channels between blocks keep the order that they have, unless some are left out or the space is elastic in width.

    Args:
        target: freshly initialised; changed in place.
        source: see `Source.of` and `timm_weights.read_timm`.

    Raises:
        TrainingError: the two do not shrink their images alike, so no stage of one is a stage of the other.
    """
    check_strides(target.template, source)
    orders = _orders(target, source)
    stem, inputs = orders[:2]
    _fill(target.first_conv.conv.weight, source.stem.weight[stem])
    _fill_norm(target.first_conv.bn, source.stem.norm, stem, silent=True)
    _fill_first(target, source.first, stem, inputs, source.ordered)
    taken, position, place = 1, 1, 2  # of the next stage's first block, in `target.blocks` and in `orders`
    for stage, blocks in zip(target.template.stages, source.stages, strict=False):
        for number in range(stage.slots):
            branch = _branch(target, position + number)
            assert isinstance(branch, ElasticInverted)
            found = blocks[number] if number < len(blocks) else None
            outputs = orders[place + number] if found is not None else inputs
            if found is not None and (found.expand is None) == (branch.inverted_bottleneck is None):
                _fill_block(branch, found, inputs, outputs, source.ordered)
                taken += 1
            elif number and stage.residual:
                branch.point_linear.bn.bn.weight.zero_()
            inputs = outputs
        position, place = position + stage.slots, place + len(blocks)
    if len(target.template.stages) == len(source.stages):
        _fill_heads(target, source, inputs)
    return Inherited(taken, len(target.blocks) - taken, (*source.left_out, *_without_place(target.template, source)))


def _without_place(template: Template, source: Source) -> list[str]:
    """Parts of the source that the space does not have, in words."""
    found = ["the first block's squeeze-and-excitation"] if source.first.gate and not template.first.se else []
    for number, (stage, blocks) in enumerate(zip(template.stages, source.stages, strict=False), 1):
        if any(block.gate is not None for block in blocks) and not stage.se:
            found.append(f"stage {number}'s squeeze-and-excitation")
        if len(blocks) > stage.slots:
            found.append(f"the last {len(blocks) - stage.slots} of {len(blocks)} blocks of stage {number}")
    ours, theirs = len(template.stages), len(source.stages)
    found += [f"stage {number}" for number in range(ours + 1, theirs + 1)]
    if ours != theirs:
        found.append("what follows its stages")
    elif len(source.heads) > 1 and not template.tail.mix_channels:
        found.append("the layer after its pooling")
    return found


def _orders(target: Supernet, source: Source) -> list[Tensor]:
    """In which order channels between blocks are taken: of the stem and of each block of the source."""
    template, orders = target.template, source.stream_orders()
    ours = [template.stem.channels, template.first.channels, *(stage.channels for stage in template.stages)]
    theirs = [source.stem, source.first.project, *(blocks[0].project for blocks in source.stages)]
    fits = all(a >= b.channels for a, b in zip(ours, theirs, strict=False))
    if fits and len(template.widths) == 1:
        return [torch.arange(len(order)) for order in orders]
    return orders


def check_strides(template: Template, source: Source) -> None:
    """Raise TrainingError unless both shrink their images alike, as far as both go."""
    ours = [template.stem.stride, template.first.stride, *(stage.stride for stage in template.stages)]
    others = list(source.strides)
    common = min(len(ours), len(others))
    if ours[:common] != others[:common]:
        raise TrainingError(
            f"space {template.name!r} cannot start from {source.name!r}: strides {ours[:common]} and {others[:common]}"
        )


def _branch(net: Supernet, index: int) -> ElasticInverted | FixedInverted:
    block = net.blocks[index]
    assert isinstance(block, Residual)
    return block.conv


def _fill(target: Tensor, found: Tensor) -> None:
    """Copy as many leading channels as both have; a smaller kernel becomes the centre of a larger one."""
    if found.ndim == 4 and found.shape[-1] != target.shape[-1]:
        edge = (target.shape[-1] - found.shape[-1]) // 2
        found = F.pad(found, (edge, edge, edge, edge))  # a negative edge crops
    part = tuple(slice(0, min(a, b)) for a, b in zip(target.shape, found.shape, strict=True))
    target[part] = found[part]


def _fill_norm(target: nn.BatchNorm2d | None, found: Norm | None, order: Tensor, silent: bool = False) -> None:
    """Copy a norm; `silent`: channels that the source has not are zero after it, until they have learnt."""
    if target is None or found is None:
        return
    for name in ("weight", "bias", "running_mean", "running_var"):
        values: Tensor = getattr(found, name)
        _fill(getattr(target, name), values[order])
    if silent:
        target.weight[len(order) :] = 0


def _fill_first(target: Supernet, found: Block, inputs: Tensor, outputs: Tensor, ordered: bool) -> None:
    branch = _branch(target, 0)
    assert isinstance(branch, FixedInverted)
    _fill(branch.depth_conv.conv.weight, found.depthwise.weight[inputs])
    _fill_norm(branch.depth_conv.bn, found.depthwise.norm, inputs)
    _fill_gate(branch.depth_conv.se, found.gate, inputs, ordered)
    _fill(branch.point_linear.conv.weight, found.project.weight[outputs][:, inputs])
    _fill_norm(branch.point_linear.bn, found.project.norm, outputs, silent=True)


def _fill_block(target: ElasticInverted, found: Block, inputs: Tensor, outputs: Tensor, ordered: bool) -> None:
    middle = _by_use(found.project.use, ordered)
    if target.inverted_bottleneck is not None and found.expand is not None:
        _fill(target.inverted_bottleneck.conv.conv.weight, found.expand.weight[middle][:, inputs])
        _fill_norm(target.inverted_bottleneck.bn.bn, found.expand.norm, middle)
    _fill_kernels(target.depth_conv.conv, found, middle)
    _fill_norm(target.depth_conv.bn.bn, found.depthwise.norm, middle)
    _fill_gate(target.depth_conv.se, found.gate, middle, ordered)
    project = target.point_linear.conv.conv.weight
    _fill(project, found.project.weight[outputs][:, middle])
    project[:, len(middle) :] = 0
    _fill_norm(target.point_linear.bn.bn, found.project.norm, outputs, silent=True)


def _by_use(use: Tensor, ordered: bool) -> Tensor:
    return torch.arange(len(use)) if ordered else use.argsort(descending=True, stable=True)


def _fill_kernels(target: ElasticKernel, found: Block, middle: Tensor) -> None:
    _fill(target.conv.weight, found.depthwise.weight[middle])
    for name, parameter in target.named_parameters():
        if name in found.matrices:
            parameter.copy_(found.matrices[name])


def _fill_gate(squeeze: ElasticSqueeze | None, found: Gate | None, middle: Tensor, ordered: bool) -> None:
    if squeeze is None or found is None:
        return
    target = dict(squeeze.fc.named_parameters())
    squeezed = _by_use(found.expand.abs().sum(dim=(0, 2, 3)), ordered)
    _fill(target["reduce.weight"], found.reduce[squeezed][:, middle])
    _fill(target["reduce.bias"], found.reduce_bias[squeezed])
    _fill(target["expand.weight"], found.expand[middle][:, squeezed])
    _fill(target["expand.bias"], found.expand_bias[middle])
    target["reduce.weight"][:, len(middle) :] = 0
    target["expand.weight"][:, len(squeezed) :] = 0


def _fill_heads(target: Supernet, source: Source, inputs: Tensor) -> None:
    own = [module for module in target.children() if isinstance(module, PlainConv)][1:]
    for number, (module, found) in enumerate(zip(own, source.heads, strict=False)):
        outputs = torch.arange(found.channels)
        if module.conv.weight.shape[0] < found.channels:
            outputs = _by_use(_importance_of_head(source.heads, number), ordered=False)
        _fill(module.conv.weight, found.weight[outputs][:, inputs])
        _fill_norm(module.bn, found.norm, outputs, silent=True)
        inputs = outputs


def _importance_of_head(heads: tuple[Layer, ...], number: int) -> Tensor:
    """Of each channel that a head hands on: its spread times what the next one makes of it; float [out]."""
    spread = heads[number].spread
    return spread * heads[number + 1].use if number + 1 < len(heads) else spread
