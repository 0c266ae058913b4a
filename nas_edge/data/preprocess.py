"""`Preprocess`: from a photograph to the numbers a network sees.

One definition for training, evaluation, export and deployment: the deploy folder carries it as `preprocess.json`.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nas_edge.data.resizing import Box, resize
from nas_edge.errors import ConfigError, DataError

if TYPE_CHECKING:
    from PIL import Image

Color = tuple[float, float, float]


class Resize(StrEnum):
    """How a picture of any shape becomes a square.

    `squash`: the whole picture, proportions not kept. `crop`: the centre square, `crop` of the short side wide.
    """

    SQUASH = "squash"
    CROP = "crop"


@dataclass(frozen=True)
class Preprocess:
    """Geometry and scaling of a network's input, whatever its side in pixels.

    Attributes:
        resize_mode: how a picture becomes a square.
        crop: with `Resize.CROP`, the share of the short side that is kept, in (0, 1].
        mean, std: per channel (red, green, blue), in units of 0..255: x -> (x - mean) / std.
        layout: of the network's input; NCHW is the only one.

    """

    resize_mode: Resize = Resize.SQUASH
    crop: float = 1.0
    mean: Color = (127.5, 127.5, 127.5)
    std: Color = (127.5, 127.5, 127.5)
    layout: str = "NCHW"

    def __post_init__(self) -> None:
        if not 0 < self.crop <= 1:
            raise ConfigError(f"preprocess: crop must be above 0 and at most 1, not {self.crop}")
        if len(self.mean) != 3 or len(self.std) != 3:
            raise ConfigError("preprocess: mean and std have three values each: red, green, blue, in units of 0..255")
        if not all(math.isfinite(value) for value in self.mean + self.std) or min(self.std) <= 0:
            raise ConfigError(f"preprocess: mean {self.mean} and std {self.std} must be finite, and std above 0")
        if self.layout != "NCHW":
            raise ConfigError(f"preprocess: layout must be NCHW, not {self.layout!r}")

    def box(self, width: int, height: int) -> Box:
        """(left, upper, right, lower) of what is kept of a picture, in its pixels."""
        if self.resize_mode == Resize.SQUASH:
            return (0.0, 0.0, float(width), float(height))
        kept = min(width, height) * self.crop
        left, upper = (width - kept) / 2, (height - kept) / 2
        return (left, upper, left + kept, upper + kept)

    def resize(self, image: Image.Image | NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
        """A picture as the square that the network sees, before scaling.

        Bilinear, antialiased where it shrinks, turned upright by its EXIF orientation, alpha dropped.

        Args:
            image: a Pillow image of any mode, or uint8 [h, w], [h, w, 1] or [h, w, 3].
            side: of the result, in pixels.

        Returns:
            uint8 [side, side, 3], red first.

        """
        if isinstance(image, np.ndarray):
            pixels = three_channels(image)
            return resize(pixels, side, self.box(pixels.shape[1], pixels.shape[0]))
        from PIL import Image

        picture = to_rgb(image)
        box = self.box(*picture.size)
        if picture.size == (side, side) and box == (0.0, 0.0, side, side):
            return np.array(picture)
        return np.asarray(picture.resize((side, side), Image.Resampling.BILINEAR, box=box))

    def normalise(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 [n, s, s, 3] -> float32 [n, 3, s, s], contiguous: a batch as the network takes it."""
        if images.ndim != 4 or images.shape[3] != 3:
            raise DataError(f"a batch of images must have the shape [n, side, side, 3], not {list(images.shape)}")
        planes = np.ascontiguousarray(images.transpose(0, 3, 1, 2)).astype(np.float32)
        mean = np.asarray(self.mean, np.float32)[:, None, None]
        std = np.asarray(self.std, np.float32)[:, None, None]
        scaled: NDArray[np.float32] = (planes - mean) / std
        return scaled

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "format": 1,
            "resize": str(self.resize_mode),
            "crop": self.crop,
            "interpolation": "bilinear-antialias",
            "mean": list(self.mean),
            "std": list(self.std),
            "layout": self.layout,
        }

    @classmethod
    def from_dict(cls, data: Any, where: str = "preprocess") -> Preprocess:
        """The inverse of `to_dict`; `where` names the file in errors.

        Raises:
            ConfigError: not a mapping, a key or value that is not known, a newer format.

        """
        if not isinstance(data, dict):
            raise ConfigError(f"{where}: preprocessing is a mapping with the keys resize, mean, std ...")
        known = {"format", "resize", "crop", "interpolation", "mean", "std", "layout"}
        if unknown := sorted(str(key) for key in data.keys() - known):
            raise ConfigError(f"{where}: unknown key {unknown[0]!r}; known: {', '.join(sorted(known))}")
        if data.get("format") != 1:
            raise ConfigError(f"{where}: 'format: 1' is expected; a newer file needs a newer nas-edge")
        if data.get("interpolation", "bilinear-antialias") != "bilinear-antialias":
            raise ConfigError(f"{where}: interpolation must be bilinear-antialias, not {data['interpolation']!r}")
        try:
            return cls(
                resize_mode=Resize(data.get("resize", "squash")),
                crop=float(data.get("crop", 1.0)),
                mean=_color(data["mean"]),
                std=_color(data["std"]),
                layout=str(data.get("layout", "NCHW")),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(f"{where}: does not describe preprocessing ({error})") from error


def three_channels(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """An array of a picture as uint8 [h, w, 3]. Raises DataError for what is none."""
    array = image[:, :, None] if image.ndim == 2 else image
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] not in (1, 3):
        raise DataError(f"an image must be uint8 [h, w] or [h, w, 3], not {array.dtype} {list(image.shape)}")
    return np.repeat(array, 3, axis=2) if array.shape[2] == 1 else array


def to_rgb(image: Image.Image | NDArray[np.uint8]) -> Image.Image:
    """A picture upright and in RGB with 8 bits a channel."""
    from PIL import Image

    if isinstance(image, np.ndarray):
        return Image.fromarray(three_channels(image))
    turn = _TURN.get(_orientation(image))
    upright = image if turn is None else image.transpose(Image.Transpose[turn])
    if upright.mode.startswith("I"):  # 16 bits of grey: Pillow's own conversion would clip them at 255
        upright = Image.fromarray((np.asarray(upright).astype(np.uint32) >> 8).clip(0, 255).astype(np.uint8))
    return upright if upright.mode == "RGB" else upright.convert("RGB")


# EXIF orientation -> what makes it upright. Not `ImageOps.exif_transpose`: it rewrites all metadata, and so trips
# over damaged ones that have nothing to do with the picture.
_TURN = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}


def _orientation(image: Image.Image) -> int:
    """EXIF orientation, 1 (upright) where there is none: damaged metadata do not make a picture unreadable."""
    try:
        return int(image.getexif().get(0x0112, 1))
    except (OSError, ValueError, SyntaxError, KeyError, IndexError, TypeError, struct.error):
        return 1


def _color(values: Any) -> Color:
    red, green, blue = (float(value) for value in values)
    return (red, green, blue)
