"""Elastic layers: one set of weights, from which any kernel, width and expand ratio of a space is cut.

The module names are those of Once-for-All (Cai et al., ICLR 2020), so that its checkpoints have the same keys.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas_edge.spaces import Activation, BlockSpec
from nas_edge.supernet.layers import activate, drop_connect, padded_conv
from nas_edge.supernet.synced_norm import gather_of, synced_norm


def elastic_norm(x: Tensor, bn: nn.BatchNorm2d) -> Tensor:
    """Batch norm with the first channels of a wider one; in training its running figures are updated there."""
    c = x.shape[1]
    mean, var = bn.get_buffer("running_mean")[:c], bn.get_buffer("running_var")[:c]
    momentum = 0.0 if bn.momentum is None else bn.momentum
    if (gather := gather_of(bn)) is not None:
        return synced_norm(x, mean, var, bn.weight[:c], bn.bias[:c], momentum, bn.eps, gather)
    return F.batch_norm(x, mean, var, bn.weight[:c], bn.bias[:c], bn.training, momentum, bn.eps)


class NestedConv(nn.Module):
    """A convolution one level down, as `conv.conv` in Once-for-All's dynamic layers."""

    def __init__(self, inputs: int, outputs: int, kernel: int, groups: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, groups=groups, bias=False)


class NestedNorm(nn.Module):
    """A batch norm one level down, as `bn.bn`."""

    def __init__(self, channels: int, eps: float, momentum: float) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(channels, eps=eps, momentum=momentum)


class ElasticKernel(NestedConv):
    """Depthwise weights of the largest kernel and the matrices that make the smaller ones from its centre.

    Args:
        channels: at most.
        kernels: choices, ascending. For each step a parameter such as `7to5_matrix` [25, 25], identity at first.
    """

    def __init__(self, channels: int, kernels: tuple[int, ...]) -> None:
        super().__init__(channels, channels, kernels[-1], channels)
        self.kernels = kernels
        for large, small in zip(kernels[:0:-1], kernels[-2::-1], strict=True):
            self.register_parameter(f"{large}to{small}_matrix", nn.Parameter(torch.eye(small * small)))

    def weight(self, channels: int, kernel: int) -> Tensor:
        """Weights [channels, 1, kernel, kernel]: centre crop, flatten, times the transposed matrix, step by step."""
        weight = self.conv.weight[:channels]
        for large, small in zip(self.kernels[:0:-1], self.kernels[-2::-1], strict=True):
            if large <= kernel:
                break
            edge = (large - small) // 2
            centre = weight[:, :, edge : large - edge, edge : large - edge].reshape(channels, small * small)
            matrix: Tensor = self.get_parameter(f"{large}to{small}_matrix")
            weight = F.linear(centre, matrix).view(channels, 1, small, small)
        return weight


class PlainConv(nn.Module):
    """Stem or head: `conv` and `bn` (or none), cut to the channels a width multiplier asks for."""

    def __init__(self, inputs: int, outputs: int, kernel: int, norm: bool, eps: float, momentum: float) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=eps, momentum=momentum) if norm else None

    def forward(self, x: Tensor, spec: BlockSpec) -> Tensor:
        """[n, in, h, w] -> [n, out, ...] with the first weights of the layer."""
        weight = self.conv.weight[: spec.out_channels, : spec.in_channels]
        x = padded_conv(x, weight, spec.stride, 1, spec.padding)
        return activate(elastic_norm(x, self.bn) if self.bn is not None else x, spec.activation)


class ElasticPointwise(nn.Module):
    """A 1x1 convolution with norm, elastic in inputs and outputs (`conv.conv`, `bn.bn`)."""

    def __init__(self, inputs: int, outputs: int, eps: float, momentum: float) -> None:
        super().__init__()
        self.conv = NestedConv(inputs, outputs, 1, 1)
        self.bn = NestedNorm(outputs, eps, momentum)

    def forward(self, x: Tensor, outputs: int, activation: Activation) -> Tensor:
        """[n, c, h, w] -> [n, outputs, h, w]."""
        x = F.conv2d(x, self.conv.conv.weight[:outputs, : x.shape[1]])
        return activate(elastic_norm(x, self.bn.bn), activation)


class ElasticSqueeze(nn.Module):
    """Squeeze-and-excitation, elastic in its channels (`fc.reduce`, `fc.expand`)."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.fc = nn.ModuleDict(
            {"reduce": nn.Conv2d(channels, squeezed, 1), "expand": nn.Conv2d(squeezed, channels, 1)}
        )

    def forward(self, x: Tensor, squeezed: int) -> Tensor:
        """Gate the channels of [n, c, h, w]."""
        c = x.shape[1]
        weight, bias = self.fc.get_parameter("reduce.weight"), self.fc.get_parameter("reduce.bias")
        y = F.relu(F.conv2d(x.mean((2, 3), keepdim=True), weight[:squeezed, :c], bias[:squeezed]))
        weight, bias = self.fc.get_parameter("expand.weight"), self.fc.get_parameter("expand.bias")
        return x * F.hardsigmoid(F.conv2d(y, weight[:c, :squeezed], bias[:c]))


class ElasticDepthwise(nn.Module):
    """Depthwise convolution with norm and optional squeeze-and-excitation (`conv`, `bn`, `se`)."""

    def __init__(self, channels: int, kernels: tuple[int, ...], squeezed: int, eps: float, momentum: float) -> None:
        super().__init__()
        self.conv = ElasticKernel(channels, kernels)
        self.bn = NestedNorm(channels, eps, momentum)
        self.se = ElasticSqueeze(channels, squeezed) if squeezed else None

    def forward(self, x: Tensor, spec: BlockSpec) -> Tensor:
        """[n, mid, h, w] -> [n, mid, ...]."""
        weight = self.conv.weight(x.shape[1], spec.kernel)
        x = padded_conv(x, weight, spec.stride, x.shape[1], spec.padding)
        x = activate(elastic_norm(x, self.bn.bn), spec.activation)
        return self.se(x, spec.se_channels) if self.se is not None else x


class ElasticInverted(nn.Module):
    """`inverted_bottleneck` (or None), `depth_conv`, `point_linear` of one slot at its widest."""

    def __init__(self, widest: BlockSpec, kernels: tuple[int, ...], eps: float, momentum: float) -> None:
        super().__init__()
        mid = widest.mid_channels
        self.inverted_bottleneck = ElasticPointwise(widest.in_channels, mid, eps, momentum) if widest.expands else None
        self.depth_conv = ElasticDepthwise(mid, kernels, widest.se_channels, eps, momentum)
        self.point_linear = ElasticPointwise(mid, widest.out_channels, eps, momentum)

    def forward(self, x: Tensor, spec: BlockSpec) -> Tensor:
        """The branch without its shortcut."""
        if self.inverted_bottleneck is not None and spec.expands:
            x = self.inverted_bottleneck(x, spec.mid_channels, spec.activation)
        return self.point_linear(self.depth_conv(x, spec), spec.out_channels, Activation.NONE)  # type: ignore[no-any-return]


class FixedDepthwise(nn.Module):
    """Depthwise part of the fixed first block (`conv`, `bn` without a further level) and its `se`, or None."""

    def __init__(self, spec: BlockSpec, eps: float, momentum: float) -> None:
        super().__init__()
        mid = spec.mid_channels
        self.conv = nn.Conv2d(mid, mid, spec.kernel, groups=mid, bias=False)
        self.bn = nn.BatchNorm2d(mid, eps=eps, momentum=momentum)
        self.se = ElasticSqueeze(mid, spec.se_channels) if spec.se_channels else None


class FixedInverted(nn.Module):
    """The first block: no expansion, one kernel; cut in width only."""

    def __init__(self, widest: BlockSpec, eps: float, momentum: float) -> None:
        super().__init__()
        self.depth_conv = FixedDepthwise(widest, eps, momentum)
        self.point_linear = PlainConv(widest.mid_channels, widest.out_channels, 1, True, eps, momentum)

    def forward(self, x: Tensor, spec: BlockSpec) -> Tensor:
        """The branch without its shortcut."""
        c = x.shape[1]
        x = padded_conv(x, self.depth_conv.conv.weight[:c], spec.stride, c, spec.padding)
        x = activate(elastic_norm(x, self.depth_conv.bn), spec.activation)
        x = self.depth_conv.se(x, spec.se_channels) if self.depth_conv.se is not None else x
        x = F.conv2d(x, self.point_linear.conv.weight[: spec.out_channels, :c])
        assert self.point_linear.bn is not None
        return elastic_norm(x, self.point_linear.bn)


class Residual(nn.Module):
    """A block with its shortcut (`conv` is the branch; shortcuts have no weights)."""

    def __init__(self, branch: ElasticInverted | FixedInverted) -> None:
        super().__init__()
        self.conv = branch

    def forward(self, x: Tensor, spec: BlockSpec, drop_rate: float = 0.0) -> Tensor:
        """[n, in, h, w] -> [n, out, ...]."""
        y: Tensor = self.conv(x, spec)
        if not spec.residual:
            return y
        return x + (drop_connect(y, drop_rate) if drop_rate and self.training else y)
