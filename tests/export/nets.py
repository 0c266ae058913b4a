"""Networks with weights and statistics that show in the output."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from nas_edge.spaces import Population, SearchSpace, Template
from nas_edge.supernet.static import StaticNet
from nas_edge.supernet.supernet import Supernet


def lively(template: Template, arch: Population, classes: int = 5, seed: int = 0) -> StaticNet:
    """A subnet whose batch norms have statistics and factors of their own."""
    torch.manual_seed(seed)
    net = Supernet(template, classes).extract(arch)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.2)
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2.0)
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0, 0.3)
            nn.init.normal_(module.bias, 0, 0.3)
    return net.eval()


def rows(space: SearchSpace, count: int, seed: int = 0) -> Population:
    """The smallest, the largest and some random architectures."""
    sampled = space.sample(count, np.random.default_rng(seed))
    return np.concatenate([space.smallest()[None], space.largest()[None], sampled])


def noise(count: int, side: int, seed: int = 0) -> np.ndarray:
    """Images uint8 [count, side, side, 3]."""
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), dtype=np.uint8)
