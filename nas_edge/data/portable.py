"""Splits and data sets that can be sent to another process, or to another machine."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas_edge.data.dataset import Dataset, Split
from nas_edge.data.images import ArrayImages, BytesSource, FileImages, ImageSource, JoinedImages, ZipImages
from nas_edge.errors import DataError

MOST_BYTES = 512 * 2**20  # of encoded pictures that are sent along


@dataclass(frozen=True)
class SentImages(BytesSource):
    """Encoded pictures in memory.

    Attributes:
        names, data: one a picture.
    """

    names: tuple[str, ...]
    data: tuple[bytes, ...]

    def __len__(self) -> int:
        return len(self.names)

    def name(self, index: int) -> str:
        """As where it came from."""
        return self.names[index]

    def read(self, index: int) -> bytes:
        """The encoded picture."""
        return self.data[index]


@dataclass(frozen=True)
class PortableSplit:
    """A split as plain data.

    Attributes:
        source: of exactly its pictures, in their order.
        labels: int64 [n].
    """

    source: ImageSource
    labels: NDArray[np.int64]

    @classmethod
    def of(cls, split: Split, *, along: bool) -> PortableSplit:
        """A split to be sent.

        Args:
            split: whose pictures are meant.
            along: send the encoded files themselves; else files are read where they lie, on the same machine.

        Raises:
            DataError: a picture cannot be read, or all of them are too much to be sent.
        """
        indices = split.indices.tolist()
        source = _sent(split.source, indices) if along else _found(split.source, indices)
        return cls(source, split.labels)

    def split(self) -> Split:
        """The same pictures and labels."""
        return Split(self.source, np.arange(len(self.labels)), self.labels)


@dataclass(frozen=True)
class PortableDataset:
    """A data set as plain data.

    Attributes:
        name, classes, source: see `Dataset`.
        splits: by name.
    """

    name: str
    classes: tuple[str, ...]
    splits: tuple[tuple[str, PortableSplit], ...]
    source: str

    @classmethod
    def of(cls, dataset: Dataset, *, along: bool) -> PortableDataset:
        """A data set to be sent; arguments and errors are `PortableSplit.of`'s."""
        splits = tuple((name, PortableSplit.of(split, along=along)) for name, split in dataset.splits.items())
        return cls(dataset.name, dataset.classes, splits, dataset.source)

    def dataset(self) -> Dataset:
        """The same pictures, labels and splits."""
        splits = {name: split.split() for name, split in self.splits}
        return Dataset(self.name, self.classes, splits, source=self.source)


def _found(source: ImageSource, indices: list[int]) -> ImageSource:
    """Pictures of a source, to be read where they lie. A source of another kind goes as it is, or is sent."""
    if isinstance(source, FileImages):
        return FileImages(source.root.resolve(), tuple(source.members[i] for i in indices))
    if isinstance(source, ZipImages):
        return ZipImages(source.archive.resolve(), tuple(source.members[i] for i in indices))
    if isinstance(source, JoinedImages):
        return _in_parts(source, indices, _found)
    return _sent(source, indices)


def _sent(source: ImageSource, indices: list[int]) -> ImageSource:
    if isinstance(source, ArrayImages):
        return ArrayImages(source.pixels[indices], source.prefix)
    if isinstance(source, JoinedImages):
        return _in_parts(source, indices, _sent)
    if not isinstance(source, BytesSource):
        raise DataError(f"{source.name(indices[0])}: pictures of this kind cannot be sent; leave --cluster out")
    data, size = [], 0
    for index in indices:
        data.append(source.encoded(index))
        size += len(data[-1])
        if size > MOST_BYTES:
            raise DataError(
                f"{len(indices)} pictures are more than the {MOST_BYTES >> 20} MB that are sent to a cluster; make them"
                " smaller (320 pixels are enough), or leave --cluster out"
            )
    return SentImages(tuple(source.name(i) for i in indices), tuple(data))


def _in_parts(source: JoinedImages, indices: list[int], each: object) -> ImageSource:
    """Runs of pictures that lie in one part, each made portable."""
    assert callable(each)
    runs: list[tuple[ImageSource, list[int]]] = []
    for index in indices:
        part, inner = source.find(index)
        if not runs or runs[-1][0] is not part:
            runs.append((part, []))
        runs[-1][1].append(inner)
    return JoinedImages(tuple(each(part, inner) for part, inner in runs))
