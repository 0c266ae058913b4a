"""Plain layers that extracted networks are made of, and the arithmetic they share with elastic ones."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas_edge.spaces import Activation, Padding, same_padding
from nas_edge.supernet.depthwise import depthwise_conv


def activate(x: Tensor, activation: Activation) -> Tensor:
    """Apply an activation, in place where gradients allow it; shape and dtype are kept."""
    if activation is Activation.RELU6:
        return F.relu6(x, inplace=True)
    if activation is Activation.RELU:
        return F.relu(x, inplace=True)
    if activation is Activation.H_SWISH:
        return F.hardswish(x)
    return x


def padded_conv(x: Tensor, weight: Tensor, stride: int, groups: int, padding: Padding) -> Tensor:
    """Convolve [n, c, h, w] without bias; `same` pads as TensorFlow does, the odd pixel at the end."""
    kernel = weight.shape[-1]
    edge = kernel // 2
    if padding is Padding.SAME and kernel > 1:
        top, bottom = same_padding(x.shape[2], kernel, stride)
        left, right = same_padding(x.shape[3], kernel, stride)
        edge = top
        if not top == bottom == left == right:
            x, edge = F.pad(x, (left, right, top, bottom)), 0
    if groups == len(weight) > 1:
        return depthwise_conv(x, weight, stride, edge)
    return F.conv2d(x, weight, None, stride, edge, 1, groups)


def drop_connect(x: Tensor, rate: float) -> Tensor:
    """Drop whole residual branches of single images, scaled to keep the mean (stochastic depth, Huang et al. 2016)."""
    keep = 1.0 - rate
    mask = (torch.rand(len(x), 1, 1, 1, device=x.device) < keep).to(x.dtype)
    return x * (mask / keep)


def branch_rates(rate: float, blocks: int) -> list[float]:
    """How often each of so many blocks drops its branch: the last at `rate`, block i of n at i / n of it (ibid.)."""
    return [rate * number / blocks for number in range(1, blocks + 1)]


class ConvNorm(nn.Module):
    """Convolution, batch norm (or none) and activation.

    Attributes:
        conv: `nn.Conv2d` without bias.
        bn: `nn.BatchNorm2d`, or None where the original network has no norm.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        stride: int,
        groups: int,
        padding: Padding,
        activation: Activation,
        eps: float,
        momentum: float,
        norm: bool = True,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=eps, momentum=momentum) if norm else None
        self.stride, self.groups, self.padding, self.activation = stride, groups, padding, activation

    def forward(self, x: Tensor) -> Tensor:
        """[n, in, h, w] -> [n, out, ceil(h / stride), ceil(w / stride)]."""
        x = padded_conv(x, self.conv.weight, self.stride, self.groups, self.padding)
        return activate(self.bn(x) if self.bn is not None else x, self.activation)


class SqueezeExcite(nn.Module):
    """Squeeze-and-excitation (Hu et al. 2018) with ReLU inside and a hard sigmoid gate, as in MobileNetV3."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, squeezed, 1)
        self.expand = nn.Conv2d(squeezed, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Gate the channels of [n, c, h, w]."""
        gate = self.expand(F.relu(self.reduce(x.mean((2, 3), keepdim=True))))
        return x * F.hardsigmoid(gate)
