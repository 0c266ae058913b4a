"""A start from a trained supernet of another space: its most important channels, block by block.

Structured pruning across spaces: a small supernet takes from a large one, stage by stage, the channels that matter most
(filters of small L1 norm go first: Li et al., Pruning Filters for Efficient ConvNets, ICLR 2017; batch-norm scales as
importance: Liu et al., Network Slimming, ICCV 2017). They are put in order of importance, so that elastic widths keep
the best. What the source has no counterpart for begins afresh: further blocks as identities (their last batch norm has
scale zero: Goyal et al. 2017), further channels at random, and the classifier always.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import zip_longest

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas_edge.errors import TrainingError
from nas_edge.supernet.elastic import ElasticInverted, ElasticKernel, FixedInverted, PlainConv, Residual
from nas_edge.supernet.supernet import Supernet


@dataclass(frozen=True)
class Inherited:
    """What was taken.

    Attributes:
        blocks: inverted residuals with weights of the source.
        fresh: inverted residuals that begin as identities or at random.
    """

    blocks: int
    fresh: int


@torch.no_grad()
def inherit(target: Supernet, source: Supernet) -> Inherited:
    """Fill a supernet with the most important channels of another one.

    Args:
        target: freshly initialised; changed in place.
        source: trained, its middle channels ordered by importance (as elastic training leaves them).

    Raises:
        TrainingError: the two do not shrink their images alike, so no stage of one is a stage of the other.
    """
    pairs = _paired_blocks(target, source)
    stem = _order(_importance_of_stem(source))
    _take(target.first_conv.conv.weight, source.first_conv.conv.weight[stem])
    _take_norm(target.first_conv.bn, source.first_conv.bn, stem)
    first, first_source = _branch(target, 0), _branch(source, 0)
    assert isinstance(first, FixedInverted)
    assert isinstance(first_source, FixedInverted)
    channels = _order(_importance_of_stream(source, [0], pairs[0][1] if pairs else []))
    _take(first.depth_conv.conv.weight, first_source.depth_conv.conv.weight[stem])
    _take_norm(first.depth_conv.bn, first_source.depth_conv.bn, stem)
    _take(first.point_linear.conv.weight, first_source.point_linear.conv.weight[channels][:, stem])
    _take_norm(first.point_linear.bn, first_source.point_linear.bn, channels)
    taken = 1
    for number, (own, theirs) in enumerate(pairs):
        following = pairs[number + 1][1] if number + 1 < len(pairs) else []
        produced = _order(_importance_of_stream(source, theirs, following))
        inputs = channels
        for position, index in zip_longest(own, theirs[: len(own)]):
            branch = _branch(target, position)
            assert isinstance(branch, ElasticInverted)
            if index is None:
                branch.point_linear.bn.bn.weight.zero_()
                continue
            found = _branch(source, index)
            assert isinstance(found, ElasticInverted)
            _take_block(branch, found, inputs, produced)
            inputs, taken = produced, taken + 1
        channels = produced
    if len(target.template.stages) == len(source.template.stages):
        _take_head(target, source, channels)
    return Inherited(taken, len(target.blocks) - taken)


def _paired_blocks(target: Supernet, source: Supernet) -> list[tuple[list[int], list[int]]]:
    """Indices of blocks of each pair of stages, as far as both go."""
    own, theirs = target.template, source.template
    ours = [own.stem.stride, own.first.stride, *(stage.stride for stage in own.stages)]
    others = [theirs.stem.stride, theirs.first.stride, *(stage.stride for stage in theirs.stages)]
    common = min(len(ours), len(others))
    if ours[:common] != others[:common]:
        raise TrainingError(
            f"space {own.name!r} cannot start from {theirs.name!r}: strides {ours[:common]} and {others[:common]}"
        )

    def indices(net: Supernet) -> list[list[int]]:
        start, found = 1, []
        for stage in net.template.stages:
            found.append(list(range(start, start + stage.slots)))
            start += stage.slots
        return found

    return list(zip(indices(target), indices(source), strict=False))


def _branch(net: Supernet, index: int) -> ElasticInverted | FixedInverted:
    block = net.blocks[index]
    assert isinstance(block, Residual)
    return block.conv


def _order(importance: Tensor) -> Tensor:
    return importance.argsort(descending=True, stable=True)


def _importance_of_stem(source: Supernet) -> Tensor:
    """How much the first block makes of each of the stem's channels."""
    branch = _branch(source, 0)
    assert isinstance(branch, FixedInverted)
    return branch.point_linear.conv.weight.abs().sum(dim=(0, 2, 3)) * branch.depth_conv.bn.weight.abs()


def _importance_of_stream(source: Supernet, producers: list[int], consumers: list[int]) -> Tensor:
    """Spread of each channel that a stage hands on, times how much is made of it; float [channels]."""
    variance: Tensor | float = 0.0
    for index in producers:
        branch = _branch(source, index)
        norm = branch.point_linear.bn
        norm = norm.bn if not isinstance(norm, nn.BatchNorm2d) else norm  # type: ignore[union-attr]
        assert isinstance(norm, nn.BatchNorm2d)
        variance = variance + norm.weight**2
    assert isinstance(variance, Tensor)
    readers = [_branch(source, index) for index in [*producers[1:], *consumers[:1]]]
    used = [
        branch.inverted_bottleneck.conv.conv.weight.abs().sum(dim=(0, 2, 3))
        for branch in readers
        if isinstance(branch, ElasticInverted) and branch.inverted_bottleneck is not None
    ]
    return variance.sqrt() * (torch.stack(used).sum(0) if used else 1.0)


def _take(target: Tensor, found: Tensor) -> None:
    """Copy as many leading channels as both have; a smaller kernel becomes the centre of a larger one."""
    if found.ndim == 4 and found.shape[-1] != target.shape[-1]:
        edge = (target.shape[-1] - found.shape[-1]) // 2
        found = F.pad(found, (edge, edge, edge, edge))  # a negative edge crops
    part = tuple(slice(0, min(a, b)) for a, b in zip(target.shape, found.shape, strict=True))
    target[part] = found[part]


def _take_norm(target: nn.BatchNorm2d | None, found: nn.BatchNorm2d | None, order: Tensor | None = None) -> None:
    if target is None or found is None:
        return
    for name in ("weight", "bias", "running_mean", "running_var"):
        values: Tensor = getattr(found, name)
        _take(getattr(target, name), values if order is None else values[order])


def _take_block(target: ElasticInverted, found: ElasticInverted, inputs: Tensor, outputs: Tensor) -> None:
    if target.inverted_bottleneck is not None and found.inverted_bottleneck is not None:
        _take(target.inverted_bottleneck.conv.conv.weight, found.inverted_bottleneck.conv.conv.weight[:, inputs])
        _take_norm(target.inverted_bottleneck.bn.bn, found.inverted_bottleneck.bn.bn)
    _take_kernels(target.depth_conv.conv, found.depth_conv.conv)
    _take_norm(target.depth_conv.bn.bn, found.depth_conv.bn.bn)
    if target.depth_conv.se is not None and found.depth_conv.se is not None:
        theirs = dict(found.depth_conv.se.named_parameters())
        for name, parameter in target.depth_conv.se.named_parameters():
            _take(parameter, theirs[name])
    _take(target.point_linear.conv.conv.weight, found.point_linear.conv.conv.weight[outputs])
    _take_norm(target.point_linear.bn.bn, found.point_linear.bn.bn, outputs)


def _take_kernels(target: ElasticKernel, found: ElasticKernel) -> None:
    _take(target.conv.weight, found.conv.weight)
    theirs = dict(found.named_parameters())
    for name, parameter in target.named_parameters():
        if name.endswith("_matrix") and name in theirs:
            parameter.copy_(theirs[name])


def _take_head(target: Supernet, source: Supernet, inputs: Tensor) -> None:
    own = [module for module in target.children() if isinstance(module, PlainConv)][1:]
    theirs = [module for module in source.children() if isinstance(module, PlainConv)][1:]
    for number, (module, found) in enumerate(zip(own, theirs, strict=False)):
        _take(module.conv.weight, found.conv.weight if number else found.conv.weight[:, inputs])
        _take_norm(module.bn, found.bn)
