"""`Source`: weights of a trained network of inverted residuals, whatever they are called where they come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor, nn

from nas_edge.supernet.elastic import ElasticSqueeze, FixedInverted, PlainConv, Residual
from nas_edge.supernet.supernet import Supernet


@dataclass(frozen=True)
class Norm:
    """A batch norm: float [channels] each."""

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    @classmethod
    def of(cls, bn: nn.BatchNorm2d) -> Norm:
        """Of a module."""
        return cls(bn.weight.detach(), bn.bias.detach(), bn.get_buffer("running_mean"), bn.get_buffer("running_var"))


@dataclass(frozen=True)
class Layer:
    """A convolution without bias, float [out, in / groups, k, k], and its norm."""

    weight: Tensor
    norm: Norm | None

    @property
    def channels(self) -> int:
        """That it hands on."""
        return self.weight.shape[0]

    @property
    def spread(self) -> Tensor:
        """Standard deviation of each channel after the norm, as far as the norm tells; float [out]."""
        return self.norm.weight.abs() if self.norm is not None else torch.ones(self.channels)

    @property
    def use(self) -> Tensor:
        """How much is made of each input: L1 norm of the weights that read it; float [in]."""
        return self.weight.abs().sum(dim=(0, 2, 3))


@dataclass(frozen=True)
class Gate:
    """Squeeze-and-excitation: `reduce` [r, mid, 1, 1] and `expand` [mid, r, 1, 1] with their biases."""

    reduce: Tensor
    reduce_bias: Tensor
    expand: Tensor
    expand_bias: Tensor


@dataclass(frozen=True)
class Block:
    """An inverted residual.

    Attributes:
        expand: None where middle channels are the input's.
        depthwise, project: always there.
        gate: between the two, or None.
        residual: whether its input is added to what it computes: then both have the same channels in the same order.
        matrices: of smaller kernels, by name, where it has learnt some (`elastic.ElasticKernel`).
    """

    expand: Layer | None
    depthwise: Layer
    project: Layer
    gate: Gate | None = None
    residual: bool = False
    matrices: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Source:
    """A trained network to start from; its classifier is not kept.

    Attributes:
        name: for messages.
        strides: of the stem, the first block and each stage.
        stem, first, stages, heads: its layers; a head is a 1x1 convolution after the stages.
        ordered: whether middle channels stand in order of importance already, smaller ratios taking the first.
        left_out: names of weights that have no place here.
    """

    name: str
    strides: tuple[int, ...]
    stem: Layer
    first: Block
    stages: tuple[tuple[Block, ...], ...]
    heads: tuple[Layer, ...]
    ordered: bool
    left_out: tuple[str, ...] = ()

    @classmethod
    def of(cls, net: Supernet) -> Source:
        """A supernet's largest network.

        Its middle channels are taken to be in order of importance: of a supernet whose smaller ratios have not been
        trained they are not; see `sorting.sort_channels`.
        """
        template = net.template
        _, *specs = (spec for _, spec in net.plan(net.space.largest()))
        blocks = [_block(module, spec.residual) for module, spec in zip(net.blocks, specs, strict=False)]
        edges = pairwise(_running_sum([1, *(stage.slots for stage in template.stages)]))
        plain = [module for module in net.children() if isinstance(module, PlainConv)]
        return cls(
            template.name,
            (template.stem.stride, template.first.stride, *(stage.stride for stage in template.stages)),
            _layer(plain[0]), blocks[0], tuple(tuple(blocks[a:b]) for a, b in edges), tuple(map(_layer, plain[1:])),
            ordered=True,
        )  # fmt: skip

    def stream_orders(self) -> list[Tensor]:
        """For the stem and then each block, the channels that it hands on by descending importance.

        What is added up stands in one order. A channel's importance is its spread times how much is made of it
        (batch-norm scales: Liu et al., Network Slimming, ICCV 2017; L1 norms: Li et al., ICLR 2017).
        """
        blocks = [self.first, *(block for stage in self.stages for block in stage)]
        streams = [0]
        for block in blocks:
            streams.append(streams[-1] if block.residual else streams[-1] + 1)
        writers = [self.stem, *(block.project for block in blocks)]
        found: dict[int, Tensor] = {}
        for stream in set(streams):
            spread = torch.stack([w.spread**2 for w, at in zip(writers, streams, strict=True) if at == stream])
            expanding = [b.expand for b, at in zip(blocks, streams, strict=False) if at == stream and b.expand]
            if stream == streams[-1]:
                expanding += self.heads[:1]
            if expanding:
                importance = spread.sum(0).sqrt() * torch.stack([layer.use for layer in expanding]).sum(0)
            else:  # only a depthwise layer reads it, whose norm makes its scale forgotten
                reader = blocks[streams.index(stream)]
                importance = reader.project.use * reader.depthwise.spread
            found[stream] = importance.argsort(descending=True, stable=True)
        return [found[stream] for stream in streams]


def _running_sum(counts: list[int]) -> list[int]:
    return [sum(counts[: i + 1]) for i in range(len(counts))]


def _layer(module: PlainConv) -> Layer:
    return Layer(module.conv.weight.detach(), Norm.of(module.bn) if module.bn is not None else None)


def _block(module: nn.Module, residual: bool) -> Block:
    assert isinstance(module, Residual)
    branch = module.conv
    if isinstance(branch, FixedInverted):
        depthwise = Layer(branch.depth_conv.conv.weight.detach(), Norm.of(branch.depth_conv.bn))
        return Block(None, depthwise, _layer(branch.point_linear), _gate(branch.depth_conv.se), residual)
    expand, project, kernels = branch.inverted_bottleneck, branch.point_linear, branch.depth_conv.conv
    return Block(
        Layer(expand.conv.conv.weight.detach(), Norm.of(expand.bn.bn)) if expand is not None else None,
        Layer(kernels.conv.weight.detach(), Norm.of(branch.depth_conv.bn.bn)),
        Layer(project.conv.conv.weight.detach(), Norm.of(project.bn.bn)),
        _gate(branch.depth_conv.se),
        residual,
        {name: value.detach() for name, value in kernels.named_parameters() if name.endswith("_matrix")},
    )


def _gate(squeeze: ElasticSqueeze | None) -> Gate | None:
    if squeeze is None:
        return None
    weights = {name: value.detach() for name, value in squeeze.fc.named_parameters()}
    return Gate(weights["reduce.weight"], weights["reduce.bias"], weights["expand.weight"], weights["expand.bias"])
