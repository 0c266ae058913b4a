"""Batch norm over the batches of all processes (Peng et al., MegDet, CVPR 2018), elastic, and on CPUs too."""

from __future__ import annotations

import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce


def synchronise_norms(net: nn.Module) -> None:
    """Let all batch norms of an elastic network see the batches of all processes while it trains."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.synchronised = True  # type: ignore[assignment]


def is_synchronised(bn: nn.BatchNorm2d) -> bool:
    """Whether `synchronise_norms` was called on it, and it trains."""
    return bn.training and getattr(bn, "synchronised", False) is True


def synced_norm(
    x: Tensor, mean: Tensor, variance: Tensor, weight: Tensor, bias: Tensor, momentum: float, eps: float
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
    """
    values = x.float()
    world = dist.get_world_size()
    count = values.numel() // values.shape[1] * world
    centre: Tensor = all_reduce(values.sum((0, 2, 3))) / count  # type: ignore[no-untyped-call]
    centred = values - centre[:, None, None]
    spread: Tensor = all_reduce((centred**2).sum((0, 2, 3))) / count  # type: ignore[no-untyped-call]
    mean.lerp_(centre.detach(), momentum)
    variance.lerp_(spread.detach() * (count / (count - 1)), momentum)
    scale = weight / (spread + eps).sqrt()
    return (centred * scale[:, None, None] + bias[:, None, None]).to(x.dtype)
