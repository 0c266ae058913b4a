"""`calibration.zip`: some training images in their own encoding, for batch norms and quantisation."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from nas_edge.data.dataset import Split
from nas_edge.data.images import BytesSource, ZipImages, innermost
from nas_edge.errors import DataError, FormatError
from nas_edge.files import BROKEN_ARCHIVE, write_atomic

MAX_IMAGES = 256
_MAX_MEMBER_BYTES = 64 * 1024
_LONG_SIDE = 320  # pixels; larger photographs are shrunk to it, above every resolution that a bundle trains at
_EPOCH = (1980, 1, 1, 0, 0, 0)  # equal images give an equal archive


def choose_calibration(split: Split, seed: int, count: int = MAX_IMAGES) -> Split:
    """At most `count` images of a split, drawn at random, in the split's order."""
    chosen = np.random.default_rng([seed, 3]).permutation(len(split))[:count]
    return split.subset(np.sort(chosen))


def write_calibration(split: Split, classes: Sequence[str], path: Path) -> None:
    """Write images as `<class number>/<image number>.<suffix>`; small files as they are, others as WebP.

    Raises:
        DataError: an image cannot be read. StorageError, ConfigError: the archive cannot be written.
    """

    def write(temporary: Path) -> None:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
            for position, label in enumerate(split.labels.tolist()):
                suffix, data = _encoded(split, position)
                info = zipfile.ZipInfo(f"{label:04d}/{position:04d}{suffix}", _EPOCH)
                archive.writestr(info, data)

    if max(split.labels.tolist(), default=0) >= len(classes):
        raise DataError(f"labels up to {split.labels.max()} do not fit {len(classes)} classes")
    write_atomic(path, write)


def read_calibration(path: Path) -> Split:
    """The images of a bundle's `calibration.zip`.

    Raises:
        FormatError: missing, truncated, or not such an archive.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = tuple(archive.namelist())
        labels = np.array([int(PurePosixPath(member).parts[0]) for member in members], np.int64)
    except (OSError, IndexError, *BROKEN_ARCHIVE) as error:
        raise FormatError(f"{path}: is not a calibration archive ({error}); copy the bundle again") from error
    if not members:
        raise FormatError(f"{path}: holds no image; copy the bundle again")
    return Split(ZipImages(path, members), np.arange(len(members)), labels)


def _encoded(split: Split, position: int) -> tuple[str, bytes]:
    source, index = innermost(split.source, int(split.indices[position]))
    if isinstance(source, BytesSource):
        data = source.encoded(index)
        if len(data) <= _MAX_MEMBER_BYTES:
            return PurePosixPath(source.name(index)).suffix.lower(), data
    from PIL import Image

    opened = source.open(index)
    picture = Image.fromarray(opened) if isinstance(opened, np.ndarray) else opened
    picture = picture if picture.mode == "L" else picture.convert("RGB")
    buffer = io.BytesIO()
    if max(picture.size) <= 64:  # tiny images would lose too much
        picture.save(buffer, "png", optimize=True)
        return ".png", buffer.getvalue()
    picture.thumbnail((_LONG_SIDE, _LONG_SIDE))
    picture.save(buffer, "webp", quality=90)
    return ".webp", buffer.getvalue()
