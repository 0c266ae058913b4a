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
    sums: dict[nn.Module, list[Tensor]] = {}
    samples = 0

    def collect(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        variance, mean = torch.var_mean(inputs[0].float(), (0, 2, 3), correction=0)
        total = sums.setdefault(module, [torch.zeros_like(mean), torch.zeros_like(variance)])
        total[0] += mean * len(inputs[0])
        total[1] += variance * len(inputs[0])

    net.eval()
    hooks = [norm.register_forward_pre_hook(collect) for norm in norms]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.train()  # later layers must see what this batch's own statistics give
        norm.momentum = 0.0
    try:
        for batch in batches:
            net(batch)
            samples += len(batch)
    finally:
        for hook in hooks:
            hook.remove()
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.eval()
            norm.momentum = momentum
    if samples:
        for module, (mean, variance) in sums.items():
            module.get_buffer("running_mean").copy_(mean / samples)
            module.get_buffer("running_var").copy_(variance / samples)
    return net
