"""Whether numbers can be computed with: neither infinite nor "not a number"."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor


@torch.no_grad()
def all_finite(tensors: Iterable[Tensor]) -> bool:
    """Whether the Euclidean norm of every floating-point tensor is: one pass over them, one wait for each device."""
    of_device: dict[torch.device, list[Tensor]] = {}
    for tensor in tensors:
        if tensor.is_floating_point():
            of_device.setdefault(tensor.device, []).append(tensor.detach())
    return all(bool(torch.stack(torch._foreach_norm(each)).isfinite().all()) for each in of_device.values())
