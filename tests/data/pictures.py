"""Small pictures and folders that the tests of the data room are made of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def picture(number: int, size: tuple[int, int] = (20, 16)) -> Image.Image:
    """A smooth picture, different for each number."""
    width, height = size
    rng = np.random.default_rng(number)
    corners = rng.integers(0, 256, (2, 2, 3), dtype=np.uint8)
    return Image.fromarray(corners).resize((width, height), Image.Resampling.BILINEAR)


def save(path: Path, number: int, size: tuple[int, int] = (20, 16)) -> Path:
    """Write a picture to a file, its folder made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture(number, size).save(path)
    return path


def class_folders(root: Path, counts: dict[str, int], suffix: str = ".png", start: int = 0) -> Path:
    """Class folders with as many pictures as asked, all different."""
    number = start
    for name, count in counts.items():
        (root / name).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            save(root / name / f"{index:03d}{suffix}", number)
            number += 1
    return root
