"""CIFAR-10's binary directory: made up and tiny, or the real one from the shared pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

BATCHES = (*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin")


def write_batches(folder: Path, pixels: list[NDArray[np.uint8]], labels: list[NDArray[np.uint8]]) -> Path:
    """Write uint8 [n, 32, 32, 3] and uint8 [n] of the five training batches and the test batch."""
    folder.mkdir(parents=True)
    for name, images, numbers in zip(BATCHES, pixels, labels, strict=True):
        planes = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
        (folder / name).write_bytes(np.concatenate([numbers[:, None], planes], axis=1).tobytes())
    return folder


def made_up(folder: Path, images: int = 40) -> Path:
    """Noise, `images` a batch; every class is there."""
    rng = np.random.default_rng(0)
    pixels = [rng.integers(0, 256, (images, 32, 32, 3), np.uint8) for _ in BATCHES]
    return write_batches(folder, pixels, [(np.arange(images) % 10).astype(np.uint8) for _ in BATCHES])


def real(folder: Path, shared: Path) -> Path:
    """From the lossless mosaics of 100 x 100 pictures in the shared data."""
    source = shared / "data" / "cifar10"

    def read(name: str) -> NDArray[np.uint8]:
        mosaic = np.asarray(Image.open(source / f"{name}.webp").convert("RGB"))
        return mosaic.reshape(100, 32, 100, 32, 3).swapaxes(1, 2).reshape(-1, 32, 32, 3)

    names = [*(f"train_{number}" for number in range(1, 6)), "test"]
    labels = np.load(source / "labels.npy")
    return write_batches(folder, [read(name) for name in names], np.split(labels, len(names)))
