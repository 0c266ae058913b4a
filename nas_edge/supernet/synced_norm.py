"""Batch norm over the batches of all processes (Peng et al., MegDet, CVPR 2018), elastic, and on CPUs too.

One exchange of two numbers a channel on the way forward and one on the way back; all else is torch's own kernels. What
brings the numbers of all processes together, [count, ...] of equal tensors [...], is handed in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Gather = Callable[[Tensor], Tensor]


def synchronise_norms(net: nn.Module, gather: Gather) -> None:
    """Let all batch norms of an elastic network see the batches of all processes while it trains."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.gather = gather  # type: ignore[assignment]


def gather_of(bn: nn.BatchNorm2d) -> Gather | None:
    """What `synchronise_norms` gave it, while it trains."""
    return cast("Gather | None", getattr(bn, "gather", None)) if bn.training else None


def synced_norm(
    x: Tensor,
    mean: Tensor,
    variance: Tensor,
    weight: Tensor,
    bias: Tensor,
    momentum: float,
    eps: float,
    gather: Gather,
) -> Tensor:
    """Normalise [n, c, h, w] with the statistics of all processes' batches, each of the same size.

    Args:
        x: activations.
        mean: running mean of the channels, updated in place as torch's batch norm does.
        variance: running variance, likewise.
        weight: scale of the channels.
        bias: of the channels.
        momentum: of the running figures, as in torch.
        eps: added to the variance.
        gather: see above.
    """
    normalised, centre, spread, count = _SyncedNorm.apply(x.float(), weight, bias, eps, gather)  # type: ignore[no-untyped-call]
    mean.lerp_(centre, momentum)
    variance.lerp_(spread * (count / (count - 1)), momentum)
    return normalised.to(x.dtype)  # type: ignore[no-any-return]


class _SyncedNorm(torch.autograd.Function):
    """The normalisation, and the statistics that it was done with."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float, gather: Gather
    ) -> tuple[Tensor, Tensor, Tensor, int]:
        of_all = gather(torch.stack(torch.batch_norm_update_stats(x, None, None, 0.0)))  # mean and variance, each [c]
        means, variances = of_all[:, 0], of_all[:, 1]
        mean = means.mean(0)
        variance = variances.mean(0) + (means - mean).square().mean(0)
        ctx.save_for_backward(x, weight, mean, variance)
        ctx.eps, ctx.gather = eps, gather
        ctx.count = count = x.numel() // x.shape[1] * len(of_all)
        ctx.mark_non_differentiable(mean, variance)
        return F.batch_norm(x, mean, variance, weight, bias, False, 0.0, eps), mean, variance, count

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor, *_: Any) -> tuple[Tensor | None, Tensor, Tensor, None, None]:
        x, weight, mean, variance = ctx.saved_tensors
        deviation = (variance + ctx.eps).rsqrt()
        # A CPU's kernel takes the statistics from the one pair of arguments, a GPU's from the other.
        _, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
            gradient, x, weight, mean, variance, mean, deviation, False, ctx.eps, [False, True, True]
        )
        if not ctx.needs_input_grad[0]:
            return None, of_weight, of_bias, None, None
        of_all_weight, of_all_bias = ctx.gather(torch.stack([of_weight, of_bias])).sum(0) / ctx.count
        # d x = scale (gradient - mean of it - normalised x times the mean of their product), written as one line in x
        scale, slope = weight * deviation, -weight * deviation.square() * of_all_weight
        offset = -scale * of_all_bias - slope * mean
        of_x = torch.addcmul(offset[:, None, None], x, slope[:, None, None])
        return of_x.addcmul_(gradient, scale[:, None, None]), of_weight, of_bias, None, None
