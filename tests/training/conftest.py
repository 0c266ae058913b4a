"""A tiny space and a tiny data set that it learns in seconds."""

from __future__ import annotations

import numpy as np
import pytest

from nas_edge.data import Dataset, Split
from nas_edge.data.images import ArrayImages
from nas_edge.spaces import Stage, Stem, Tail, Template

TEMPLATE = Template(
    name="tiny",
    stem=Stem(8),
    first=Stage(8, 1),
    stages=(Stage(16, 2, (1, 2), (3, 5), (2, 3)),),
    tail=Tail(32, dropout=0.0),
    resolutions=(16, 24),
)


@pytest.fixture(scope="session")
def striped_template() -> Template:
    """For `stripes`."""
    return TEMPLATE


def stripes(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Horizontal or vertical stripes under noise: learnable in seconds, by no single pixel."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    phase = rng.integers(0, 6, n)
    wave = (np.arange(28)[None] + phase[:, None]) // 3 % 2 * 120.0
    images = np.where(labels[:, None, None] == 0, wave[:, None, :], wave[:, :, None])
    noisy = images[..., None] + rng.normal(60, 40, (n, 28, 28, 3))
    return noisy.clip(0, 255).astype(np.uint8), labels.astype(np.int64)


def striped_dataset() -> Dataset:
    """Of a few small pictures."""
    splits = {}
    for seed, (name, n) in enumerate({"train": 96, "search": 48, "test": 16}.items()):
        images, labels = stripes(n, seed)
        splits[name] = Split(ArrayImages(images, name), np.arange(n), labels)
    return Dataset("stripes", ("across", "down"), splits)


@pytest.fixture(scope="session")
def dataset() -> Dataset:
    """See `striped_dataset`."""
    return striped_dataset()
