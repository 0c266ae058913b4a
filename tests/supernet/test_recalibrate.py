"""Recalibration sets running figures to those of the images."""

from __future__ import annotations

import torch
from torch import nn

from nas_edge.supernet.recalibrate import recalibrate


def test_running_figures_are_the_sample_weighted_mean_over_batches() -> None:
    net = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2))
    batches = [torch.randn(n, 3, 5, 5, generator=torch.Generator().manual_seed(n)) * n for n in (4, 6)]
    recalibrate(net, batches)
    means = [b.mean((0, 2, 3)) for b in batches]
    variances = [b.var((0, 2, 3), correction=0) for b in batches]
    assert torch.allclose(net[0].running_mean, (4 * means[0] + 6 * means[1]) / 10, atol=1e-6)
    assert torch.allclose(net[0].running_var, (4 * variances[0] + 6 * variances[1]) / 10, atol=1e-5)
    assert net[0].momentum == 0.1
    assert not net[0].training


def test_later_norms_see_batch_statistics_of_earlier_ones() -> None:
    net = nn.Sequential(nn.BatchNorm2d(1), nn.BatchNorm2d(1, affine=True))
    recalibrate(net, [torch.randn(8, 1, 4, 4) * 5 + 3])
    assert torch.allclose(net[1].running_mean, torch.zeros(1), atol=1e-5)
    assert torch.allclose(net[1].running_var, torch.ones(1), atol=1e-3)
