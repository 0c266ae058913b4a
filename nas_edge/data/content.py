"""`content_sha256`: which pictures these are. By names and labels alone, smaller copies pass for the photographs."""

from __future__ import annotations

import hashlib
import math
import zipfile

import numpy as np

from nas_edge.data.dataset import SPLIT_NAMES, Dataset
from nas_edge.data.images import (
    ArrayImages,
    BytesSource,
    FileImages,
    ImageSource,
    ZipImages,
    in_threads,
    innermost,
)
from nas_edge.errors import DataError

MOST_BYTES = 512 * 2**20
_UNKNOWN_BYTES = MOST_BYTES // 1000  # for a picture of which nothing is known before it is read


def content_sha256(dataset: Dataset, most_bytes: int = MOST_BYTES) -> str:
    """Hash of the pictures themselves, in the order of the splits: neither of their names nor of where they lie.

    What is known of a picture without reading it (size of a file, checksum in an archive, shape of an array) goes in
    for all; the bytes as well, of all pictures or, where they are more than `most_bytes`, of every n-th.

    Args:
        dataset: whose three splits are meant.
        most_bytes: that are read, about.

    Raises:
        DataError: a picture cannot be read.

    """
    pictures = [
        innermost(split.source, index)
        for split in (dataset.splits[name] for name in SPLIT_NAMES)
        for index in split.indices.tolist()
    ]
    known = [_known(source, index) for source, index in pictures]
    step = max(1, math.ceil(sum(size for _, size in known) / most_bytes))
    looked_at = pictures[::step]
    contents = [b""] * len(looked_at)

    def look(position: int) -> None:
        contents[position] = hashlib.blake2b(_content(*looked_at[position]), digest_size=16).digest()

    in_threads(look, len(looked_at), None, "")
    digest = hashlib.sha256("\n".join(text for text, _ in known).encode())
    digest.update(b"".join(contents))
    return digest.hexdigest()


def _known(source: ImageSource, index: int) -> tuple[str, int]:
    """What is known of a picture without reading it, and how many bytes are to be read."""
    try:
        if isinstance(source, ZipImages):
            return source.checksum(index), 0
        if isinstance(source, FileImages):
            size = source.size(index)
            return str(size), size
    except (OSError, zipfile.BadZipFile, KeyError) as error:
        raise DataError(f"{source.name(index)}: cannot be read ({error})") from error
    if isinstance(source, ArrayImages):
        return str(source.pixels.shape[1:]), source.pixels[index].nbytes
    return "", _UNKNOWN_BYTES


def _content(source: ImageSource, index: int) -> bytes:
    if isinstance(source, ZipImages):
        return b""  # its checksum says as much
    return source.encoded(index) if isinstance(source, BytesSource) else np.asarray(source.open(index)).tobytes()
