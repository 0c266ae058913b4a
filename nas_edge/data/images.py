"""Where pictures lie: files, members of archives, arrays. They are decoded when they are asked for."""

from __future__ import annotations

import io
import os
import stat
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from nas_edge.data.preprocess import Preprocess
from nas_edge.errors import DataError
from nas_edge.progress import Progress

if TYPE_CHECKING:
    from PIL import Image

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"})
MAX_PIXELS = 100_000_000  # a larger "photograph" is a mistake or a decompression bomb
MAX_FILE_BYTES = 256 * 2**20
# What Pillow's decoders raise, by format, for damaged files.
_DAMAGED = (
    OSError, ValueError, SyntaxError, IndexError, KeyError, TypeError, EOFError, OverflowError,
    struct.error, zlib.error,
)  # fmt: skip
_CHUNK = 64  # pictures that a thread is given at a time


class ImageSource(Protocol):
    """A picture that can be had by number."""

    def __len__(self) -> int:
        """How many pictures there are."""

    def name(self, index: int) -> str:
        """What a person calls the picture: for messages and lists."""

    def open(self, index: int) -> Image.Image | NDArray[np.uint8]:
        """The picture, decoded. Raises DataError where it cannot be."""


class BytesSource:
    """Pictures that are encoded somewhere; subclasses know where the bytes are."""

    def name(self, index: int) -> str:
        """What a person calls the picture."""
        raise DataError(f"picture {index} has no name")

    def read(self, index: int) -> bytes:
        """The encoded picture. Raises OSError, zipfile.BadZipFile or ValueError where it cannot be read."""
        raise DataError(f"picture {index} has no bytes")

    def open(self, index: int) -> Image.Image:
        """The picture, decoded. Raises DataError with its name and what is wrong."""
        return decode(self.encoded(index), self.name(index))

    def encoded(self, index: int) -> bytes:
        """The bytes of the picture's file. Raises DataError where they cannot be read."""
        try:
            return self.read(index)
        except (OSError, zipfile.BadZipFile, ValueError, RuntimeError, EOFError, zlib.error) as error:
            raise DataError(f"{self.name(index)}: cannot be read ({_reason(error)})") from error


@dataclass(frozen=True)
class FileImages(BytesSource):
    """Pictures that are files.

    Attributes:
        root: folder that the names are relative to.
        members: names, one a picture.

    """

    root: Path
    members: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.members)

    def name(self, index: int) -> str:
        """Path below the root."""
        return self.members[index]

    def size(self, index: int) -> int:
        """Bytes of the file. Raises OSError where there is none."""
        return (self.root / self.members[index]).stat().st_size

    def read(self, index: int) -> bytes:
        """The whole file."""
        path = self.root / self.members[index]
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # a pipe would be waited for
            raise ValueError("is not a file")
        if status.st_size > MAX_FILE_BYTES:
            raise ValueError(f"more than {MAX_FILE_BYTES >> 20} MB")
        return path.read_bytes()


@dataclass(frozen=True)
class ZipImages(BytesSource):
    """Pictures that are members of a zip archive.

    Attributes:
        archive: the file.
        members: names inside, one a picture.

    """

    archive: Path
    members: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.members)

    @cached_property
    def _zip(self) -> zipfile.ZipFile:
        return zipfile.ZipFile(self.archive)

    def name(self, index: int) -> str:
        """Archive and member."""
        return f"{self.archive.name}/{self.members[index]}"

    def checksum(self, index: int) -> str:
        """Size and CRC of the member, as the archive's directory has them. Raises OSError, BadZipFile, KeyError."""
        info = self._zip.getinfo(self.members[index])
        return f"{info.file_size} {info.CRC:08x}"

    def read(self, index: int) -> bytes:
        """The member, its checksum compared."""
        info = self._zip.getinfo(self.members[index])
        if info.file_size > MAX_FILE_BYTES:
            raise ValueError(f"more than {MAX_FILE_BYTES >> 20} MB")
        return self._zip.read(info)


@dataclass(frozen=True)
class ArrayImages:
    """Pictures that are decoded already.

    Attributes:
        pixels: uint8 [n, h, w, 3] or [n, h, w].
        prefix: what they are called, before their number.

    """

    pixels: NDArray[np.uint8]
    prefix: str

    def __len__(self) -> int:
        return len(self.pixels)

    def name(self, index: int) -> str:
        """Prefix and number."""
        return f"{self.prefix}/{index:05d}"

    def open(self, index: int) -> NDArray[np.uint8]:
        """The pixels."""
        picture: NDArray[np.uint8] = self.pixels[index]
        return picture


@dataclass(frozen=True)
class JoinedImages:
    """Several sources as one, in their order."""

    parts: tuple[ImageSource, ...]

    @cached_property
    def _starts(self) -> NDArray[np.int64]:
        return np.cumsum([0, *(len(part) for part in self.parts)], dtype=np.int64)

    def find(self, index: int) -> tuple[ImageSource, int]:
        """The part that has a picture, and its number there."""
        part = int(np.searchsorted(self._starts, index, side="right")) - 1
        return self.parts[part], index - int(self._starts[part])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def name(self, index: int) -> str:
        """The part's name for it."""
        part, inner = self.find(index)
        return part.name(inner)

    def open(self, index: int) -> Image.Image | NDArray[np.uint8]:
        """The picture, decoded. Raises DataError where it cannot be."""
        part, inner = self.find(index)
        return part.open(inner)


def innermost(source: ImageSource, index: int) -> tuple[ImageSource, int]:
    """The source that itself has a picture, whatever it was joined into, and the picture's number there."""
    while isinstance(source, JoinedImages):
        source, index = source.find(index)
    return source, index


def decode(data: bytes, name: str, draft_side: int = 0) -> Image.Image:
    """Decode a picture.

    Args:
        data: the encoded picture.
        name: for messages.
        draft_side: decode a JPEG only to about this size, to see fast whether it is whole; 0 for full size.

    Raises:
        DataError: not a picture, truncated, or absurdly large.

    """
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError:
        raise DataError(f"{name}: decoding pictures needs the package 'Pillow': pip install pillow") from None
    try:
        image = Image.open(io.BytesIO(data))
        if image.width * image.height > MAX_PIXELS:
            raise DataError(f"{name}: {image.width}x{image.height} pixels is more than a picture may have")
        if draft_side:
            image.draft("RGB", (draft_side, draft_side))
        image.load()
    except UnidentifiedImageError as error:
        raise DataError(f"{name}: is not a picture that Pillow reads") from error
    except DataError:
        raise
    except _DAMAGED as error:
        raise DataError(f"{name}: is damaged ({_reason(error)})") from error
    except (Image.DecompressionBombError, MemoryError) as error:
        raise DataError(f"{name}: is too large ({_reason(error)})") from error
    return image


def render(
    source: ImageSource,
    indices: Sequence[int],
    preprocess: Preprocess,
    side: int,
    out: NDArray[np.uint8],
    progress: Progress | None = None,
    text: str = "reading images",
) -> None:
    """Decode and resize pictures into `out`, uint8 [len(indices), side, side, 3], with all cores.

    Raises:
        DataError: a picture cannot be decoded.

    """

    def one(position: int) -> None:
        out[position] = preprocess.resize(source.open(int(indices[position])), side)

    in_threads(one, len(indices), progress, text)


def in_threads(work: Callable[[int], None], count: int, progress: Progress | None, text: str) -> None:
    """Call `work(0)` .. `work(count - 1)`: Pillow lets go of the interpreter while it decodes and resizes."""

    def chunk(start: int) -> None:
        for index in range(start, min(start + _CHUNK, count)):
            work(index)

    starts = range(0, count, _CHUNK)
    with warnings.catch_warnings(), ThreadPoolExecutor(max_workers=min(usable_cores(), 16)) as pool:
        warnings.filterwarnings("ignore", module=r"PIL\.")  # odd metadata of a picture that is read all the same
        try:
            for number, _ in enumerate(pool.map(chunk, starts), 1):
                if progress is not None:
                    progress(min(number * _CHUNK, count), count, text)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _reason(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
