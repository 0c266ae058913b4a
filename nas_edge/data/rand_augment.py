"""RandAugment on batches: a few operations drawn for each picture, one strength for all (Cubuk et al., NeurIPS 2020).

Operations and their ranges are the paper's (a strength of 1 is its magnitude 30); what leaves the picture is
reflected at the border, as everywhere in this project.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor
from torch.nn import functional

Operation = Callable[[Tensor, float, Tensor], Tensor]
_ENHANCE, _ROTATE_DEGREES, _SHEAR, _TRANSLATE = 0.9, 30.0, 0.3, 0.45


def rand_augment(batch: Tensor, count: int, strength: float, generator: torch.Generator) -> Tensor:
    """Apply `count` randomly drawn operations to each picture.

    Args:
        batch: float [n, 3, s, s] in 0..255.
        count: operations a picture.
        strength: 0..1.
        generator: where all chance comes from (of the CPU).

    Returns:
        A new batch of the same shape in 0..255.
    """
    batch = batch.clone()
    operations = list(OPERATIONS.values())
    for _ in range(count):
        drawn = torch.randint(0, len(operations), (len(batch),), generator=generator)
        signs = torch.randint(0, 2, (len(batch),), generator=generator) * 2.0 - 1
        for number, operation in enumerate(operations):
            rows = torch.nonzero(drawn == number).flatten()
            if len(rows):
                at = rows.to(batch.device)
                batch[at] = operation(batch[at], strength, signs[rows].to(batch.device))
    return batch.clamp_(0, 255)


def _blend(batch: Tensor, plain: Tensor, strength: float, signs: Tensor) -> Tensor:
    """Away from `plain` (sign 1) or towards it (sign -1)."""
    factor = (1 + signs * _ENHANCE * strength)[:, None, None, None]
    return (plain + (batch - plain) * factor).clamp(0, 255)


def _grey(batch: Tensor) -> Tensor:
    weights = torch.tensor([0.299, 0.587, 0.114], device=batch.device)[:, None, None]
    return (batch * weights).sum(1, keepdim=True)


def _colour(batch: Tensor, strength: float, signs: Tensor) -> Tensor:
    return _blend(batch, _grey(batch), strength, signs)


def _contrast(batch: Tensor, strength: float, signs: Tensor) -> Tensor:
    return _blend(batch, _grey(batch).mean((1, 2, 3), keepdim=True), strength, signs)


def _brightness(batch: Tensor, strength: float, signs: Tensor) -> Tensor:
    return _blend(batch, torch.zeros_like(batch), strength, signs)


def _sharpness(batch: Tensor, strength: float, signs: Tensor) -> Tensor:
    """Against a smoothed picture; its border is left as it is."""
    kernel = torch.tensor([[1.0, 1, 1], [1, 5, 1], [1, 1, 1]], device=batch.device) / 13
    smooth = batch.clone()
    smooth[:, :, 1:-1, 1:-1] = functional.conv2d(batch, kernel.expand(batch.shape[1], 1, 3, 3), groups=batch.shape[1])
    return _blend(batch, smooth, strength, signs)


def _identity(batch: Tensor, strength: float, signs: Tensor) -> Tensor:
    return batch


def _autocontrast(batch: Tensor, strength: float, signs: Tensor) -> Tensor:
    low, high = batch.amin((2, 3), keepdim=True), batch.amax((2, 3), keepdim=True)
    spread = high - low
    return torch.where(spread > 0, (batch - low) * (255 / spread.clamp_min(1e-6)), batch)


def _equalise(batch: Tensor, strength: float, signs: Tensor) -> Tensor:
    """Histogram equalisation of each channel."""
    planes = batch.round().clamp(0, 255).long().flatten(0, 1).flatten(1)
    count, pixels = planes.shape
    rows = torch.arange(count, device=batch.device)[:, None] * 256
    histogram = torch.bincount((planes + rows).flatten(), minlength=count * 256).view(count, 256)
    brightest = histogram.gather(1, planes.amax(1, keepdim=True))
    step = (pixels - brightest) // 255
    below = histogram.cumsum(1) - histogram
    table = ((below + step // 2) // step.clamp_min(1)).clamp(max=255)
    equal = torch.where(step > 0, table.gather(1, planes), planes)
    return equal.view_as(batch).to(batch.dtype)


def _posterise(batch: Tensor, strength: float, signs: Tensor) -> Tensor:
    step = 2.0 ** round(4 * strength)  # 8 to 4 bits are kept
    return (batch.round() / step).floor() * step


def _solarise(batch: Tensor, strength: float, signs: Tensor) -> Tensor:
    return torch.where(batch >= 256 * (1 - strength), 255 - batch, batch)


def _warp(batch: Tensor, rows: list[list[Tensor]]) -> Tensor:
    theta = torch.stack([torch.stack(row, dim=1) for row in rows], dim=1)
    grid = functional.affine_grid(theta, list(batch.shape), align_corners=False)
    return functional.grid_sample(batch, grid, padding_mode="reflection", align_corners=False)


def _rotate(batch: Tensor, strength: float, signs: Tensor) -> Tensor:
    angle = signs * math.radians(_ROTATE_DEGREES * strength)
    zero = torch.zeros_like(signs)
    return _warp(batch, [[angle.cos(), -angle.sin(), zero], [angle.sin(), angle.cos(), zero]])


def _shear_x(batch: Tensor, strength: float, signs: Tensor) -> Tensor:
    one, zero = torch.ones_like(signs), torch.zeros_like(signs)
    return _warp(batch, [[one, signs * _SHEAR * strength, zero], [zero, one, zero]])


def _shear_y(batch: Tensor, strength: float, signs: Tensor) -> Tensor:
    one, zero = torch.ones_like(signs), torch.zeros_like(signs)
    return _warp(batch, [[one, zero, zero], [signs * _SHEAR * strength, one, zero]])


def _translate_x(batch: Tensor, strength: float, signs: Tensor) -> Tensor:
    one, zero = torch.ones_like(signs), torch.zeros_like(signs)
    return _warp(batch, [[one, zero, 2 * signs * _TRANSLATE * strength], [zero, one, zero]])


def _translate_y(batch: Tensor, strength: float, signs: Tensor) -> Tensor:
    one, zero = torch.ones_like(signs), torch.zeros_like(signs)
    return _warp(batch, [[one, zero, zero], [zero, one, 2 * signs * _TRANSLATE * strength]])


OPERATIONS: Mapping[str, Operation] = MappingProxyType(
    {
        "identity": _identity, "autocontrast": _autocontrast, "equalise": _equalise, "rotate": _rotate,
        "solarise": _solarise, "colour": _colour, "posterise": _posterise, "contrast": _contrast,
        "brightness": _brightness, "sharpness": _sharpness, "shear_x": _shear_x, "shear_y": _shear_y,
        "translate_x": _translate_x, "translate_y": _translate_y,
    }
)  # fmt: skip
