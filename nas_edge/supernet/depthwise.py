"""Depthwise convolutions that train several times as fast on CPUs.

oneDNN, which computes torch's convolutions there, has a fast gradient of depthwise weights for kernels of at most three
columns alone; for 5 x 5 it takes 10, for 7 x 7 up to 40 times as long as the convolution itself. Here a wider kernel's
gradient is put together from slabs of three columns (`tests/benchmarks/test_training_step.py`). In memory with channels
last, the input seen from some columns further is the same memory from some elements further: no slab is copied.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.grad import conv2d_weight

_COLUMNS = 3  # of the widest kernel that oneDNN's fast gradient takes


def depthwise_conv(x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    """Convolve each channel of [n, c, h, w] with its own kernel of weight [c, 1, k, k], zeros around it."""
    if stride == 1 and _pays(x, weight):
        return _Depthwise.apply(x, weight, padding)  # type: ignore[no-any-return, no-untyped-call]
    return F.conv2d(x, weight, None, stride, padding, 1, len(weight))


def _pays(x: Tensor, weight: Tensor) -> bool:
    """Whether there will be gradients that the slow way computes."""
    return (
        torch.is_grad_enabled()
        and weight.requires_grad
        and x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
        and x.is_contiguous(memory_format=torch.channels_last)
    )


class _Depthwise(torch.autograd.Function):
    """The convolution as torch computes it, with gradients of its own."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, padding: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.padding = padding
        return F.conv2d(x, weight, None, 1, padding, 1, len(weight))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, None]:
        x, weight = ctx.saved_tensors
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        of_x = input_gradient(weight, gradient, ctx.padding) if ctx.needs_input_grad[0] else None
        of_weight = weight_gradient(x, weight.shape, gradient, ctx.padding)
        return of_x, of_weight, None


def input_gradient(weight: Tensor, gradient: Tensor, padding: int) -> Tensor:
    """Gradient of the input at stride 1: a convolution with the turned kernel, the faster of oneDNN's two ways."""
    return F.conv2d(gradient, weight.flip(2, 3), None, 1, weight.shape[-1] - 1 - padding, 1, len(weight))


def weight_gradient(x: Tensor, shape: torch.Size, gradient: Tensor, padding: int) -> Tensor:
    """Gradient of the weight of a depthwise convolution at stride 1.

    Args:
        x: its input, float [n, c, h, w], channels last.
        shape: of the weight, [c, 1, k, k].
        gradient: of its output, float [n, c, h', w'], channels last.
        padding: on each side.
    """
    channels, kernel = shape[0], shape[-1]
    if kernel <= _COLUMNS:
        return _weight_gradient(x, shape, gradient, padding)
    padded, rows, columns = _padded(x, padding)
    size, strides = (len(x), channels, rows, columns), (rows * columns * channels, 1, columns * channels, channels)
    slabs = []
    for first in range(0, kernel, _COLUMNS):
        width = min(_COLUMNS, kernel - first)
        slab = padded.as_strided(size, strides, first * channels)
        # What a slab has right of the picture is another row's: it must not count.
        matching = _widened(gradient, columns - width + 1)
        slabs.append(_weight_gradient(slab, torch.Size((channels, 1, kernel, width)), matching, 0))
    return torch.cat(slabs, dim=3)


def _weight_gradient(x: Tensor, shape: torch.Size, gradient: Tensor, padding: int) -> Tensor:
    found: Tensor = conv2d_weight(x, shape, gradient, 1, padding, 1, shape[0])  # type: ignore[no-untyped-call]
    return found


def _padded(x: Tensor, padding: int) -> tuple[Tensor, int, int]:
    """X with a border of zeros in one stretch of memory, a row of zeros behind it; its rows and columns."""
    n, channels, height, width = x.shape
    rows, columns = height + 2 * padding, width + 2 * padding
    flat = x.new_empty((n * rows + 1) * columns * channels)
    flat[n * rows * columns * channels :].zero_()
    view = flat[: n * rows * columns * channels].view(n, rows, columns, channels)
    for border in (view[:, :padding], view[:, padding + height :], view[:, :, :padding], view[:, :, padding + width :]):
        border.zero_()
    view[:, padding : padding + height, padding : padding + width] = x.permute(0, 2, 3, 1)
    return flat, rows, columns


def _widened(x: Tensor, columns: int) -> Tensor:
    """X with columns of zeros at its right."""
    wide = torch.empty((*x.shape[:3], columns), memory_format=torch.channels_last)
    wide[..., : x.shape[3]] = x
    wide[..., x.shape[3] :].zero_()
    return wide
