"""Batch augmentation on tensors: one warp, one colour change, for a whole batch at once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nas_edge.data.preprocess import Preprocess
from nas_edge.errors import ConfigError

if TYPE_CHECKING:
    import torch

_HALF_TURN = 180.0


@dataclass(frozen=True)
class Augmentation:
    """Random changes that leave the label as it is.

    Attributes:
        area: least and largest share of the picture that a random crop keeps.
        aspect: least and largest width to height of that crop.
        horizontal_flip, vertical_flip: with probability 1/2 each.
        rotation_degrees: turned by up to this angle either way; borders are reflected.
        brightness, contrast, saturation: factors within 1 - x .. 1 + x, 0 for none.
        cutout: side of a square that is greyed, as a share of the picture's side, 0 for none (DeVries, Taylor, 2017).
        random_ops, magnitude: operations a picture, and their strength 0..1 (RandAugment; see `data.rand_augment`).

    """

    area: tuple[float, float] = (0.35, 1.0)
    aspect: tuple[float, float] = (3 / 4, 4 / 3)
    horizontal_flip: bool = True
    vertical_flip: bool = False
    rotation_degrees: float = 0.0
    brightness: float = 0.3
    contrast: float = 0.3
    saturation: float = 0.4
    cutout: float = 0.0
    random_ops: int = 0
    magnitude: float = 0.3

    def __post_init__(self) -> None:
        if len(self.area) != 2 or not 0 < self.area[0] <= self.area[1] <= 1:
            raise ConfigError(f"augmentation: area must be (least, largest) within 0..1, not {self.area}")
        if len(self.aspect) != 2 or not 0 < self.aspect[0] <= self.aspect[1] < math.inf:
            raise ConfigError(f"augmentation: aspect must be (least, largest) above 0, not {self.aspect}")
        if not 0 <= self.rotation_degrees <= _HALF_TURN:
            raise ConfigError(f"augmentation: rotation_degrees must be within 0..180, not {self.rotation_degrees}")
        if self.random_ops < 0 or not 0 <= self.magnitude <= 1:
            raise ConfigError("augmentation: random_ops must be 0 or more, and magnitude within 0..1")
        for name in ("brightness", "contrast", "saturation", "cutout"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"augmentation: {name} must be at least 0 and below 1, not {getattr(self, name)}")

    def apply(
        self,
        images: NDArray[np.uint8] | torch.Tensor,
        side: int,
        preprocess: Preprocess,
        generator: torch.Generator,
    ) -> torch.Tensor:
        """Augment, resize and scale a batch.

        Where the pictures are much larger than `side`, they are warped at their own size and shrunk with
        antialiasing, as `Preprocess.resize` does: a network must not learn from aliases that it will not meet.

        Args:
            images: uint8 [n, h, w, 3], as `Split.images` gives them.
            side: of the result, in pixels.
            preprocess: its mean and std.
            generator: where all chance comes from (of the CPU).

        Returns:
            float32 [n, 3, side, side], scaled, in channels_last memory.

        """
        import torch
        from torch.nn import functional

        from nas_edge.data.rand_augment import rand_augment

        # Arrays of `Split.images` are read-only, which torch warns of: a batch is small enough to copy.
        tensor = torch.from_numpy(np.array(images)) if isinstance(images, np.ndarray) else images
        batch = tensor.permute(0, 3, 1, 2).float()
        work_side = side if max(batch.shape[2:]) <= 1.5 * side else max(batch.shape[2:])
        grid = functional.affine_grid(
            self._transforms(len(batch), generator).to(batch.device),
            [len(batch), 3, work_side, work_side],
            align_corners=False,
        )
        batch = functional.grid_sample(batch, grid, padding_mode="reflection", align_corners=False)
        if work_side != side:
            batch = functional.interpolate(batch, (side, side), mode="bilinear", antialias=True, align_corners=False)
        batch = self._recolour(batch, generator)
        if self.random_ops:
            batch = rand_augment(batch, self.random_ops, self.magnitude, generator)
        return scale(self._cut_out(batch, generator), preprocess)

    def _transforms(self, count: int, generator: torch.Generator) -> torch.Tensor:
        """[n, 2, 3]: from output to input coordinates, both -1..1: crop, flips and rotation in one."""
        import torch

        area = _uniform(count, *self.area, generator)
        aspect = torch.exp(_uniform(count, math.log(self.aspect[0]), math.log(self.aspect[1]), generator))
        width, height = (area * aspect).sqrt().clamp(max=1), (area / aspect).sqrt().clamp(max=1)
        shift_x = _uniform(count, -1, 1, generator) * (1 - width)
        shift_y = _uniform(count, -1, 1, generator) * (1 - height)
        angle = _uniform(count, -1, 1, generator) * math.radians(self.rotation_degrees)
        flip_x, flip_y = _signs(count, self.horizontal_flip, generator), _signs(count, self.vertical_flip, generator)
        rows = [
            torch.stack([width * flip_x * angle.cos(), -width * flip_y * angle.sin(), shift_x], dim=1),
            torch.stack([height * flip_x * angle.sin(), height * flip_y * angle.cos(), shift_y], dim=1),
        ]
        return torch.stack(rows, dim=1)

    def _recolour(self, batch: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Brightness, contrast, saturation of a batch in 0..255."""

        def factor(amount: float) -> torch.Tensor:
            return _uniform(len(batch), 1 - amount, 1 + amount, generator)[:, None, None, None].to(batch.device)

        if self.brightness:
            batch = batch * factor(self.brightness)
        if self.contrast:
            mean = batch.mean((1, 2, 3), keepdim=True)
            batch = (batch - mean) * factor(self.contrast) + mean
        if self.saturation:
            grey = batch.mean(1, keepdim=True)
            batch = (batch - grey) * factor(self.saturation) + grey
        return batch.clamp(0, 255)

    def _cut_out(self, batch: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Grey one square of each picture; it may reach over the border, so that corners are seen as often."""
        import torch

        if not self.cutout:
            return batch
        count, side = len(batch), batch.shape[-1]
        places = torch.arange(side)[None, :] + 0.5
        inside = []
        for _ in range(2):
            centre = _uniform(count, 0, side, generator)[:, None]
            inside.append((places - centre).abs() < self.cutout * side / 2)
        square = inside[0][:, None, :, None] & inside[1][:, None, None, :]
        return batch.masked_fill(square.to(batch.device), 127.5)


def scale(batch: torch.Tensor, preprocess: Preprocess) -> torch.Tensor:
    """A batch, float [n, 3, s, s] in 0..255 -> (x - mean) / std, in channels_last memory."""
    import torch

    mean = torch.tensor(preprocess.mean, dtype=torch.float32, device=batch.device)[:, None, None]
    std = torch.tensor(preprocess.std, dtype=torch.float32, device=batch.device)[:, None, None]
    return ((batch - mean) / std).contiguous(memory_format=torch.channels_last)


def to_batch(images: NDArray[np.uint8], preprocess: Preprocess) -> torch.Tensor:
    """uint8 [n, s, s, 3] -> float32 [n, 3, s, s] scaled, channels_last, without augmentation: for evaluation."""
    import torch

    return scale(torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).float(), preprocess)


def mixup(
    batch: torch.Tensor, targets: torch.Tensor, alpha: float, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Blend each picture and its target with those of another (Zhang et al., mixup, ICLR 2018).

    Args:
        batch: float [n, ...].
        targets: float [n, classes], class probabilities.
        alpha: of the Beta(alpha, alpha) that the weight is drawn from; 0 blends nothing.
        generator: where all chance comes from.

    Returns:
        The blended batch and targets.

    """
    import torch

    if alpha <= 0:
        return batch, targets
    seed = int(torch.randint(2**62, (1,), generator=generator))
    weight = float(np.random.default_rng(seed).beta(alpha, alpha))
    other = torch.randperm(len(batch), generator=generator).to(batch.device)
    return torch.lerp(batch[other], batch, weight), torch.lerp(targets[other], targets, weight)


def cutmix(
    batch: torch.Tensor, targets: torch.Tensor, alpha: float, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Paste a box of another picture into each, and blend the targets by area (Yun et al., CutMix, ICCV 2019).

    Args:
        batch: float [n, c, h, w].
        targets: float [n, classes], class probabilities.
        alpha: of the Beta(alpha, alpha) that the kept share is drawn from; 0 pastes nothing.
        generator: where all chance comes from.

    Returns:
        The batch with one box for all pictures, and targets by the area that the box has within the picture.

    """
    import torch

    if alpha <= 0:
        return batch, targets
    seed = int(torch.randint(2**62, (1,), generator=generator))
    rng = np.random.default_rng(seed)
    other = torch.randperm(len(batch), generator=generator).to(batch.device)
    height, width = batch.shape[2:]
    edge = math.sqrt(1 - float(rng.beta(alpha, alpha)))
    spans = []
    for size in (height, width):
        centre, half = float(rng.uniform(0, size)), edge * size / 2
        spans.append((round(max(0.0, centre - half)), round(min(float(size), centre + half))))
    (top, bottom), (left, right) = spans
    mixed = batch.clone()
    mixed[:, :, top:bottom, left:right] = batch[other, :, top:bottom, left:right]
    share = (bottom - top) * (right - left) / (height * width)
    return mixed, torch.lerp(targets, targets[other], share)


def _uniform(count: int, low: float, high: float, generator: torch.Generator) -> torch.Tensor:
    import torch

    return torch.empty(count).uniform_(low, high, generator=generator)


def _signs(count: int, wanted: bool, generator: torch.Generator) -> torch.Tensor:
    import torch

    return torch.randint(0, 2, (count,), generator=generator) * 2.0 - 1 if wanted else torch.ones(count)
