"""Data that come with nas-edge, both MIT.

TrashNet: photographs of waste in six classes, with the authors' split. The first part of Fashion-MNIST: grey pictures
of clothes in ten classes, for the smallest chips.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nas_edge.data.folder import read_folder
from nas_edge.data.idx import FASHION_MNIST
from nas_edge.data.images import ArrayImages
from nas_edge.data.listing import Listing, join_listings

TRASHNET = Path(__file__).parent / "trashnet"
ORIGIN = "TrashNet at 128 px, github.com/garythung/trashnet, MIT, (c) 2017 Gary Thung"
FASHION = Path(__file__).parent / "fashion_mnist"
FASHION_ORIGIN = (
    "first 6,000 + 2,000 images of Fashion-MNIST, github.com/zalandoresearch/fashion-mnist, MIT, (c) 2017 Zalando SE"
)
_FASHION_SIDE = 28


def read_trashnet() -> Listing:
    """2,524 photographs of waste: 1,765 train, 328 search (the authors' val), 431 test."""
    return replace(read_folder(TRASHNET), trusted=True, origin=ORIGIN)


def read_fashion_mnist_mini() -> Listing:
    """8,000 grey pictures of clothes, 28 x 28: 6,000 train (search is carved out of them), 2,000 test."""
    return replace(join_listings([_fashion(split) for split in ("train", "test")]), origin=FASHION_ORIGIN)


def _fashion(split: str) -> Listing:
    from PIL import Image

    with Image.open(FASHION / f"{split}.png") as picture:
        pixels = _tiles(np.asarray(picture.convert("L")), _FASHION_SIDE)
    labels = np.load(FASHION / f"{split}_labels.npy", allow_pickle=False).tolist()
    names = [FASHION_MNIST[label] for label in labels]
    return Listing(ArrayImages(pixels, split), names, [split] * len(names), classes=FASHION_MNIST, trusted=True)


def _tiles(mosaic: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Pictures of a mosaic, row by row: uint8 [rows * side, columns * side] to [rows * columns, side, side]."""
    rows, columns = mosaic.shape[0] // side, mosaic.shape[1] // side
    return mosaic.reshape(rows, side, columns, side).swapaxes(1, 2).reshape(-1, side, side)
