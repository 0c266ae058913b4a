"""Batch-norm recalibration: running figures of a subnet measured on training images before it is used."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


@torch.no_grad()
def recalibrate(net: nn.Module, batches: Iterable[Tensor]) -> nn.Module:
    """Set running means and variances to the sample-weighted mean over batches of their own (as Once-for-All does).

    Args:
        net: an extracted network; changed in place and left in evaluation mode.
        batches: normalised training images, float [n, 3, r, r] each, some hundreds in all.

    Returns:
        The same network.
    """
    norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
    sums = [(torch.zeros_like(norm.weight), torch.zeros_like(norm.weight)) for norm in norms]
    momenta = [norm.momentum for norm in norms]
    counts: dict[nn.Module, int] = {}

    def count(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        counts[module] = inputs[0].numel() // inputs[0].shape[1]

    net.eval()
    hooks = [norm.register_forward_pre_hook(count) for norm in norms]
    for norm in norms:
        norm.train()  # later layers must see what this batch's own statistics give
        norm.momentum = 1.0  # running figures become this batch's: no second pass over the activations
    samples = 0
    try:
        for batch in batches:
            net(batch)
            samples += len(batch)
            for norm, (mean, variance) in zip(norms, sums, strict=True):
                values = counts[norm]
                biased = norm.get_buffer("running_var") * ((values - 1) / values)
                mean.add_(norm.get_buffer("running_mean"), alpha=len(batch))
                variance.add_(biased, alpha=len(batch))
    finally:
        for hook in hooks:
            hook.remove()
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.eval()
            norm.momentum = momentum
    if samples:
        for norm, (mean, variance) in zip(norms, sums, strict=True):
            norm.get_buffer("running_mean").copy_(mean / samples)
            norm.get_buffer("running_var").copy_(variance / samples)
    return net
