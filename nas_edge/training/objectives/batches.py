"""What is done to batches between the pictures and a network."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def resize_batch(images: Tensor, side: int) -> Tensor:
    """Antialiased bilinear resize of float [n, 3, s, s], channels last."""
    if images.shape[-1] != side:
        images = F.interpolate(images, (side, side), mode="bilinear", antialias=True, align_corners=False)
    return images.contiguous(memory_format=torch.channels_last)
