"""`StaticNet`: one architecture as a plain module, built from its blocks. No elastic part is left in it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas_edge.spaces import Activation, BlockSpec, Kind, Population, SearchSpace
from nas_edge.supernet.layers import ConvNorm, SqueezeExcite, branch_rates, drop_connect


class StaticBlock(nn.Module):
    """An inverted residual block: `expand` (or None), `depthwise`, `se` (or None), `project`.

    Attributes:
        spec: what it was built from.
        drop_rate: drop-connect of the residual branch in training.
    """

    def __init__(self, spec: BlockSpec, eps: float, momentum: float) -> None:
        super().__init__()
        self.spec = spec
        mid, act, pad = spec.mid_channels, spec.activation, spec.padding
        self.expand = ConvNorm(spec.in_channels, mid, 1, 1, 1, pad, act, eps, momentum) if spec.expands else None
        self.depthwise = ConvNorm(mid, mid, spec.kernel, spec.stride, mid, pad, act, eps, momentum)
        self.se = SqueezeExcite(mid, spec.se_channels) if spec.se else None
        self.project = ConvNorm(mid, spec.out_channels, 1, 1, 1, pad, Activation.NONE, eps, momentum)
        self.drop_rate = 0.0

    def forward(self, x: Tensor) -> Tensor:
        """[n, in, h, w] -> [n, out, ceil(h / stride), ceil(w / stride)]."""
        y = self.expand(x) if self.expand is not None else x
        y = self.depthwise(y)
        y = self.se(y) if self.se is not None else y
        projected: Tensor = self.project(y)
        if not self.spec.residual:
            return projected
        return x + (drop_connect(projected, self.drop_rate) if self.training and self.drop_rate else projected)


class StaticNet(nn.Module):
    """A plain network; `self.blocks[i]` computes `self.specs[i]`.

    Stems and heads are `ConvNorm`, inverted residuals `StaticBlock`, the pooling `nn.AdaptiveAvgPool2d(1)`, the
    classifier `nn.Linear`.

    Args:
        specs: blocks from input to classifier.
        eps, momentum: of the batch norms.
        dropout: before the classifier, in training.
    """

    def __init__(self, specs: Sequence[BlockSpec], eps: float, momentum: float, dropout: float = 0.0) -> None:
        super().__init__()
        self.specs = tuple(specs)
        self.dropout = dropout
        self.blocks = nn.ModuleList(_build(spec, eps, momentum) for spec in self.specs)

    @classmethod
    def of(cls, space: SearchSpace, arch: Population, num_classes: int) -> StaticNet:
        """One architecture (int8 [genes]) with fresh weights, channels last: as `Supernet.extract` lays it out."""
        template = space.template
        net = cls(space.lower(arch, num_classes), template.bn_eps, template.bn_momentum, template.tail.dropout)
        net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack this form
        return net

    def drop_branches(self, rate: float) -> None:
        """Let the blocks drop their branches in training: the last at `rate`, those before it more rarely."""
        blocks = [block for block in self.blocks if isinstance(block, StaticBlock)]
        for block, own in zip(blocks, branch_rates(rate, len(blocks)), strict=True):
            block.drop_rate = own

    @property
    def resolution(self) -> int:
        """Side of the input in pixels that the network was lowered for."""
        return self.specs[0].height

    def forward(self, x: Tensor) -> Tensor:
        """Images float [n, 3, r, r] -> logits [n, classes]."""
        for spec, block in zip(self.specs, self.blocks, strict=True):
            if spec.kind is Kind.LINEAR:
                x = F.dropout(x.flatten(1), self.dropout, self.training)
            x = block(x)
        return x


def _build(spec: BlockSpec, eps: float, momentum: float) -> nn.Module:
    if spec.kind is Kind.INVERTED_RESIDUAL:
        return StaticBlock(spec, eps, momentum)
    if spec.kind is Kind.POOLING:
        return nn.AdaptiveAvgPool2d(1)
    if spec.kind is Kind.LINEAR:
        return nn.Linear(spec.in_channels, spec.out_channels)
    return ConvNorm(
        spec.in_channels, spec.out_channels, spec.kernel, spec.stride, spec.groups, spec.padding, spec.activation,
        eps, momentum, spec.norm,
    )  # fmt: skip
