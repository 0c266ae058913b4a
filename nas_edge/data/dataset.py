"""`Dataset` and `Split`: labelled pictures, and the parts of them that training, choices and tests are made on."""

from __future__ import annotations

import hashlib
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nas_edge.data.images import ImageSource, render
from nas_edge.data.preprocess import Preprocess
from nas_edge.errors import DataError, StorageError
from nas_edge.progress import Progress

if TYPE_CHECKING:
    from PIL import Image

SPLIT_NAMES = ("train", "search", "test")
CACHE_BYTES = 2**30  # resized pictures that one split keeps in memory; larger arrays are mapped from a temporary file

_CacheKey = tuple[str, float, int]


class Split:
    """One part of a data set: pictures that are decoded when asked for, and their labels.

    Attributes:
        source: the pictures of the whole data set (or of a part).
        indices: int64 [n], which pictures of the source are in this split.
        labels: int64 [n], class numbers.
        cache_bytes: how many bytes of resized pictures are kept in memory.

    """

    def __init__(
        self,
        source: ImageSource,
        indices: NDArray[np.int64],
        labels: NDArray[np.int64],
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        if len(indices) != len(labels):
            raise DataError(f"a split has as many labels as pictures, not {len(labels)} for {len(indices)}")
        self.source = source
        self.indices = np.asarray(indices, np.int64)
        self.labels = np.asarray(labels, np.int64)
        self.cache_bytes = cache_bytes
        self._cache: dict[_CacheKey, NDArray[np.uint8]] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each picture: path below the folder, or archive and member."""
        return tuple(self.source.name(int(index)) for index in self.indices)

    def open(self, position: int) -> Image.Image | NDArray[np.uint8]:
        """The picture at a position, decoded, in its own size. Raises DataError where it is damaged."""
        return self.source.open(int(self.indices[position]))

    def images(self, preprocess: Preprocess, side: int, progress: Progress | None = None) -> NDArray[np.uint8]:
        """All pictures, resized: decoded once for each geometry and side, then kept.

        Args:
            preprocess: only its geometry (resize mode, crop) matters here; scale with `Preprocess.normalise`.
            side: in pixels.
            progress: told how far decoding is.

        Returns:
            uint8 [n, side, side, 3], read-only: labels are in the same order.

        Raises:
            DataError: a picture cannot be decoded. StorageError: no room for the temporary file.

        """
        key = (str(preprocess.resize_mode), preprocess.crop, side)
        with self._lock:
            if key not in self._cache:
                pixels = _allocate((len(self), side, side, 3), self.cache_bytes)
                render(self.source, self.indices.tolist(), preprocess, side, pixels, progress)
                pixels.flags.writeable = False
                self._cache[key] = pixels
                self._evict()
            return self._cache[key]

    def subset(self, positions: Sequence[int] | NDArray[np.int64]) -> Split:
        """Some of the pictures, by position, as a split of its own."""
        chosen = np.asarray(positions, np.int64)
        return Split(self.source, self.indices[chosen], self.labels[chosen], self.cache_bytes)

    def counts(self, classes: int) -> NDArray[np.int64]:
        """int64 [classes]: pictures of each class."""
        return np.bincount(self.labels, minlength=classes)

    def sha256(self) -> str:
        """Hash of names and labels, in their order: says which pictures a figure rests on."""
        digest = hashlib.sha256()
        for name, label in zip(self.names, self.labels.tolist(), strict=True):
            digest.update(f"{name}\t{label}\n".encode())
        return digest.hexdigest()

    def _evict(self) -> None:
        """Drop the oldest arrays that no longer fit; mapped ones cost no memory and stay."""
        kept = 0
        for key, pixels in reversed(list(self._cache.items())):
            if not isinstance(pixels, np.memmap):
                kept += pixels.nbytes
                if kept > self.cache_bytes:
                    del self._cache[key]


@dataclass(frozen=True)
class Dataset:
    """Labelled pictures in three splits.

    Attributes:
        name: as asked for.
        classes: names, by class number.
        splits: "train"; "search", on which every choice is made; "test", which benchmarks read once.
        skipped: files that were left out, each with its reason.
        source: where it comes from and its licence, in one line; "" for a user's own.

    """

    name: str
    classes: tuple[str, ...]
    splits: Mapping[str, Split]
    skipped: tuple[str, ...] = field(default=())
    source: str = ""

    def __post_init__(self) -> None:
        if set(self.splits) != set(SPLIT_NAMES):
            raise DataError(f"{self.name}: splits must be {', '.join(SPLIT_NAMES)}, not {', '.join(self.splits)}")
        object.__setattr__(self, "splits", MappingProxyType(dict(self.splits)))
        if len(self.classes) < 2:
            only = f" ({self.classes[0]!r})" if self.classes else ""
            raise DataError(f"{self.name}: has a single class{only}; a classifier needs two or more")
        for number, count in enumerate(self.train.counts(len(self.classes)).tolist()):
            if count == 0:
                left_out = f"; left out: {self.skipped[0]}" if self.skipped else ""
                raise DataError(
                    f"{self.name}: class {self.classes[number]!r} has no picture to train on; "
                    f"add some or remove the class{left_out}"
                )
        for name in ("search", "test"):
            if not len(self.splits[name]):
                raise DataError(f"{self.name}: the {name} split has no picture; add some or give other fractions")

    @property
    def train(self) -> Split:
        """What weights are fitted to."""
        return self.splits["train"]

    @property
    def search(self) -> Split:
        """What choices are made on."""
        return self.splits["search"]

    @property
    def test(self) -> Split:
        """What is read once, at the end, by benchmarks."""
        return self.splits["test"]

    def describe(self) -> str:
        """One line for a person: sizes, classes, and how much was left out."""
        sizes = ", ".join(f"{len(self.splits[name])} {name}" for name in SPLIT_NAMES)
        text = f"{self.name}: {len(self.classes)} classes, {sizes}"
        return f"{text}; {len(self.skipped)} left out, first {self.skipped[0]}" if self.skipped else text


def _allocate(shape: tuple[int, ...], memory_bytes: int) -> NDArray[np.uint8]:
    """Room for pictures: in memory, or in a temporary file that vanishes with the array."""
    size = int(np.prod(shape, dtype=np.int64))
    if size <= memory_bytes:
        return np.empty(shape, np.uint8)
    try:
        with tempfile.TemporaryFile(prefix="nas-edge-") as handle:
            # A sparse file on a full disk would kill the process when it is written through the map, so write it now.
            zeros = bytes(2**20)
            for start in range(0, size, len(zeros)):
                handle.write(zeros[: min(len(zeros), size - start)])
            handle.flush()
            return np.memmap(handle, np.uint8, "r+", shape=shape)
    except OSError as error:
        where = tempfile.gettempdir()
        raise StorageError(
            f"{where}: no room for {size >> 20} MB of resized pictures ({error.strerror}); "
            "set TMPDIR to a directory with more"
        ) from error
