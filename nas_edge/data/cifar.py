"""CIFAR-10's directories, python and binary (Krizhevsky, 2009; https://www.cs.toronto.edu/~kriz/cifar.html).

The python version is made of pickles. A pickle is a program; these are read by an interpreter that knows nothing but
arrays of bytes, so that a file from anywhere can be opened.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas_edge.data.images import ArrayImages
from nas_edge.data.listing import Listing, join_listings
from nas_edge.errors import DataError, FormatError

CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_BATCHES = {"train": [f"data_batch_{number}" for number in range(1, 6)], "test": ["test_batch"]}
_PIXELS = 3 * 32 * 32
_MAX_BATCH_BYTES = 256 * 2**20


def is_cifar10(root: Path) -> bool:
    """Whether a folder is one of CIFAR-10's, or holds one."""
    return _directory(root) is not None


def read_cifar10(root: Path) -> Listing:
    """CIFAR-10 from its python or binary directory; batches that are missing are an error.

    Raises:
        DataError: not such a directory, a batch is missing. FormatError: a damaged batch (named).

    """
    directory = _directory(root)
    if directory is None:
        raise DataError(f"{root}: has neither data_batch_1 nor data_batch_1.bin")
    suffix = ".bin" if (directory / "data_batch_1.bin").is_file() else ""
    parts = []
    for split, names in _BATCHES.items():
        for name in names:
            path = directory / f"{name}{suffix}"
            if not path.is_file():
                raise DataError(f"{path}: is missing")
            pixels, labels = read_binary_batch(path) if suffix else read_python_batch(path)
            named = [CIFAR10[label] for label in labels.tolist()]
            parts.append(Listing(ArrayImages(pixels, name), named, [split] * len(named), classes=CIFAR10, trusted=True))
    return join_listings(parts)


def read_binary_batch(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A `.bin` batch: records of one label byte and 3,072 pixels.

    Returns:
        uint8 [n, 32, 32, 3] and uint8 [n].

    Raises:
        FormatError: truncated, or labels above 9.

    """
    data = np.frombuffer(_read(path), np.uint8)
    if not len(data) or len(data) % (_PIXELS + 1):
        raise FormatError(f"{path}: {len(data)} bytes are not whole records of {_PIXELS + 1}; is the file truncated?")
    records = data.reshape(-1, _PIXELS + 1)
    return _checked(path, records[:, 1:], records[:, 0])


def read_python_batch(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A pickled batch, read without running anything that it asks for.

    Returns:
        uint8 [n, 32, 32, 3] and uint8 [n].

    Raises:
        FormatError: damaged, or with anything inside but arrays, numbers, texts, lists and mappings.

    """
    _read(path, head_only=True)
    try:
        with open(path, "rb") as handle:
            batch = _ArrayUnpickler(handle, encoding="latin-1").load()
        if not isinstance(batch, dict):
            raise ValueError("is not a mapping")
        batch = {key.decode("latin-1") if isinstance(key, bytes) else key: value for key, value in batch.items()}
        pixels = batch["data"].pixels()
        labels = np.array(batch["labels"], np.int64)
    # Damaged pickles fail in any of these ways.
    except (pickle.UnpicklingError, EOFError, KeyError, IndexError, ValueError, TypeError, AttributeError) as error:
        raise FormatError(f"{path}: is not a batch of CIFAR-10 ({error})") from error
    except (OSError, MemoryError, OverflowError, ImportError) as error:
        raise FormatError(f"{path}: cannot be read ({error})") from error
    if labels.shape != (len(pixels),) or (len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) <= 9):
        raise FormatError(f"{path}: has {labels.size} labels for {len(pixels)} pictures, or labels outside 0..9")
    return _checked(path, pixels, labels.astype(np.uint8))


class _Bytes:
    """What stands for `numpy.ndarray` (and `numpy.dtype`) while a batch is read: it only keeps what it is told."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments
        self.state: tuple[Any, ...] = ()

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.state = state

    def pixels(self) -> NDArray[np.uint8]:
        """The array, uint8 [n, 3072]. Raises ValueError where it is something else."""
        _, shape, dtype, fortran, data = self.state
        if not isinstance(dtype, _Bytes) or dtype.arguments[0] not in ("u1", "|u1") or fortran:
            raise ValueError("its data are not bytes in C order")
        raw = data.encode("latin-1") if isinstance(data, str) else bytes(data)
        if len(shape) != 2 or shape[1] != _PIXELS or len(raw) != shape[0] * shape[1]:
            raise ValueError(f"its data have the shape {shape}, not [n, {_PIXELS}]")
        return np.frombuffer(raw, np.uint8).reshape(shape)


def _reconstruct(*arguments: Any) -> _Bytes:
    return _Bytes(*arguments)


def _encode(text: str, encoding: str) -> bytes:
    """How Python 3 writes bytes into an old pickle."""
    if encoding not in ("latin1", "latin-1"):
        raise ValueError(f"bytes in the encoding {encoding!r}")
    return text.encode("latin-1")


_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy", "ndarray"): _Bytes,
    ("numpy", "dtype"): _Bytes,
    ("_codecs", "encode"): _encode,
}


class _ArrayUnpickler(pickle.Unpickler):
    """Resolves the names that an array of bytes needs, to harmless stand-ins, and refuses every other."""

    def find_class(self, module: str, name: str) -> Any:
        """The stand-in of a name. Raises UnpicklingError for any other."""
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return _ALLOWED[module, name]


def _checked(
    path: Path, planes: NDArray[np.uint8], labels: NDArray[np.uint8]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    if labels.max(initial=0) >= len(CIFAR10):
        raise FormatError(f"{path}: has the label {labels.max()}; CIFAR-10 has 0 to 9")
    return np.ascontiguousarray(planes.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)), labels


def _read(path: Path, head_only: bool = False) -> bytes:
    try:
        size = path.stat().st_size
        if size > _MAX_BATCH_BYTES:
            raise FormatError(f"{path}: {size} bytes is more than a batch may have")
        return b"" if head_only else path.read_bytes()
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error.strerror})") from error


def _directory(root: Path) -> Path | None:
    folders = [root, root / "cifar-10-batches-py", root / "cifar-10-batches-bin"]
    files = [folder / name for folder in folders for name in ("data_batch_1", "data_batch_1.bin")]
    return next((file.parent for file in files if file.is_file()), None)
