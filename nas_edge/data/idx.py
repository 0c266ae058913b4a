"""MNIST's idx files, plain or gzipped: MNIST, Fashion-MNIST and their kin."""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from nas_edge.data.images import ArrayImages
from nas_edge.data.listing import Listing, join_listings, order_classes
from nas_edge.errors import DataError, FormatError

FASHION_MNIST = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
MAX_PIXEL_BYTES = 4 * 2**30
_FILES = {"train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
          "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")}  # fmt: skip


def is_idx(root: Path) -> bool:
    """Whether a folder holds idx files under their usual names."""
    return _find(root, _FILES["train"][0]) is not None


def read_fashion_mnist(root: Path) -> Listing:
    """Fashion-MNIST with its class names. Raises as `read_idx`."""
    return read_idx(root, FASHION_MNIST)


def read_idx(root: Path, classes: tuple[str, ...] = ()) -> Listing:
    """A directory of idx files: `train-*` and, for the test split, `t10k-*`.

    Args:
        root: the directory.
        classes: names by label; () names them by number.

    Raises:
        DataError: a file is missing, labels and pictures differ in number. FormatError: a damaged file (named).

    """
    parts = []
    for split, (images, labels) in _FILES.items():
        if split == "test" and _find(root, images) is None:
            continue
        pixels = read_idx_file(_present(root, images), dimensions=3)
        numbers = read_idx_file(_present(root, labels), dimensions=1)
        if len(pixels) != len(numbers):
            raise DataError(f"{root}: {images} has {len(pixels)} pictures, {labels} {len(numbers)} labels")
        if classes and numbers.max(initial=0) >= len(classes):
            raise DataError(f"{root}: {labels} has the label {numbers.max()}, but there are {len(classes)} classes")
        names = [classes[number] if classes else str(number) for number in numbers.tolist()]
        ordered = classes or order_classes(set(names))
        parts.append(Listing(ArrayImages(pixels, split), names, [split] * len(names), classes=ordered, trusted=True))
    return join_listings(parts)


def read_idx_file(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """One idx file of bytes, gzipped where its name ends so.

    Raises:
        FormatError: another magic number, truncated, too long, damaged.

    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as opened:
            handle = cast("BinaryIO", opened)
            return _parse(handle, path, dimensions)
    except (OSError, EOFError, zlib.error) as error:
        raise FormatError(f"{path}: cannot be read ({error}); is the file truncated?") from error


def _parse(handle: BinaryIO, path: Path, dimensions: int) -> NDArray[np.uint8]:
    head = handle.read(4 * (1 + dimensions))
    if len(head) < 4 * (1 + dimensions) or head[:4] != bytes((0, 0, 8, dimensions)):
        raise FormatError(f"{path}: is not an idx file of bytes with {dimensions} dimension{'s' * (dimensions > 1)}")
    shape = struct.unpack(f">{dimensions}I", head[4:])
    size = int(np.prod(shape, dtype=object))
    if size > MAX_PIXEL_BYTES:
        raise FormatError(f"{path}: says that it holds {size} bytes, more than such a file may")
    data = handle.read(size + 1)
    if len(data) != size:
        what = "is truncated" if len(data) < size else "goes on after its end"
        raise FormatError(f"{path}: {what}: {'x'.join(map(str, shape))} bytes are announced")
    return np.frombuffer(data, np.uint8).reshape(shape)


def _find(root: Path, name: str) -> Path | None:
    candidates = [root / name, root / f"{name}.gz", root / name.replace("-idx", ".idx")]
    return next((path for path in candidates if path.is_file()), None)


def _present(root: Path, name: str) -> Path:
    path = _find(root, name)
    if path is None:
        raise DataError(f"{root}: {name}[.gz] is missing")
    return path
