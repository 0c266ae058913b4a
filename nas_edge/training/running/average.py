"""Exponential moving average of weights (Polyak and Juditsky 1992): what is evaluated and kept."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class WeightAverage:
    """Averaged copy of a module's floating-point state.

    After n updates the decay is min(`decay`, (1 + n) / (10 + n)), TensorFlow's ramp, so that a short run is not
    dominated by its start. Running figures of batch norms are averaged like weights.

    Attributes:
        state: name -> averaged tensor.
        updates: how many have been averaged.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self.state: dict[str, Tensor] = {
            name: tensor.detach().clone() for name, tensor in module.state_dict().items() if tensor.is_floating_point()
        }

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Move towards the module's present weights."""
        weight = 1.0 - min(self.decay, (1 + self.updates) / (10 + self.updates))
        current = module.state_dict()
        names = list(self.state)
        torch._foreach_lerp_([self.state[n] for n in names], [current[n] for n in names], weight)
        self.updates += 1
