"""Tensors out of a file that torch saved, without torch and without running anything that the file says.

Such a file is a pickle beside raw numbers. A pickle is a small program; here its instructions are read one by one, and
those that put numbers, strings, lists, mappings and tensors together are followed. Every other one is refused.
"""

from __future__ import annotations

import io
import pickletools
import sys
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas_edge.errors import FormatError

MAX_BYTES = 64 * 2**20
# What the files begin with that torch wrote before 1.6 (and writes still, if asked to): a pickled number of its own.
LEGACY_MAGIC = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."

# What zip files, numbers and a stack that runs empty raise where the bytes are not what torch wrote.
_DAMAGED = (
    zipfile.BadZipFile, zlib.error, RuntimeError, ArithmeticError, LookupError, TypeError, ValueError, AttributeError,
    EOFError, StopIteration,
)  # fmt: skip

_STORAGES = {"FloatStorage": "<f4", "DoubleStorage": "<f8", "HalfStorage": "<f2", "LongStorage": "<i8"}
_DICTIONARY, _TENSOR, _PARAMETER = (
    "collections OrderedDict",
    "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_parameter",
)


@dataclass(frozen=True)
class _Global:
    """A name that the pickle mentions: nothing is looked up."""

    name: str


@dataclass(frozen=True)
class _Storage:
    """A run of numbers: key within the file, type and count."""

    key: str
    dtype: str
    count: int


@dataclass(frozen=True)
class _Tensor:
    """A view of a storage, in elements."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def of(self, numbers: NDArray[Any]) -> NDArray[Any]:
        """A copy of its elements. Raises ValueError where it leaves the storage."""
        sizes = (self.offset, *self.shape, *self.strides)
        if any(type(size) is not int or size < 0 for size in sizes) or len(self.shape) != len(self.strides):
            raise ValueError(f"a tensor of shape {self.shape}, strides {self.strides}")
        elements = int(np.prod(self.shape, dtype=object))
        reach = self.offset + sum((n - 1) * s for n, s in zip(self.shape, self.strides, strict=True))
        if elements > len(numbers) or (elements and reach >= len(numbers)):
            raise ValueError(f"a tensor of shape {self.shape} in a storage of {len(numbers)}")
        strides = [stride * numbers.itemsize for stride in self.strides]
        return np.lib.stride_tricks.as_strided(numbers[self.offset :], self.shape, strides).copy()


def is_torch_file(path: Path) -> bool:
    """Whether a file begins as torch's do. Raises FormatError where it cannot be read."""
    try:
        with path.open("rb") as file:
            if file.read(len(LEGACY_MAGIC)) == LEGACY_MAGIC:
                return True
        if not zipfile.is_zipfile(path):
            return False
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/data.pkl") for name in archive.namelist())
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error.strerror or error})") from error
    except zipfile.BadZipFile:
        return False


def read_state_dict(path: Path) -> dict[str, NDArray[Any]]:
    """Tensors by name, in the file's order; those within `{"state_dict": ...}` where there is such a wrapper.

    Raises:
        FormatError: missing, damaged, larger than a predictor may be, or holding anything but tensors by name.

    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise FormatError(f"{path}: is larger than the {MAX_BYTES} bytes that such a file may have")
        data = path.read_bytes()
        content, storage = (_legacy if data.startswith(LEGACY_MAGIC) else _zipped)(data, str(path))
        if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
            content = content["state_dict"]
        if not isinstance(content, Mapping):
            raise ValueError(f"it holds a {type(content).__name__} where tensors by name are expected")
        found = {}
        for name, tensor in content.items():
            if not isinstance(name, str) or not isinstance(tensor, _Tensor):
                raise ValueError(f"{name!r} is no tensor")
            found[name] = tensor.of(storage(tensor.storage))
        return found
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error.strerror or error})") from error
    except _DAMAGED as error:
        raise FormatError(f"{path}: is damaged, or not a predictor's weights ({error}); copy it again") from error


def _zipped(data: bytes, where: str) -> tuple[Any, Callable[[_Storage], NDArray[Any]]]:
    """The content of a zip as torch writes it since 1.6, and where its storages are."""
    archive = zipfile.ZipFile(io.BytesIO(data))
    entries = {entry.filename: entry for entry in archive.infolist()}
    if sum(entry.file_size for entry in entries.values()) > MAX_BYTES:
        raise FormatError(f"{where}: unpacks to more than the {MAX_BYTES} bytes that such a file may have")
    root = next(name for name in entries if name.endswith("/data.pkl")).removesuffix("data.pkl")
    order = archive.read(root + "byteorder") if root + "byteorder" in entries else b"little"
    if order != b"little":
        raise ValueError("its numbers are not little-endian")

    def storage(wanted: _Storage) -> NDArray[Any]:
        numbers = np.frombuffer(archive.read(f"{root}data/{wanted.key}"), wanted.dtype)
        if len(numbers) != wanted.count:
            raise ValueError(f"{len(numbers)} numbers where {wanted.count} are expected")
        return numbers

    return _built(io.BytesIO(archive.read(root + "data.pkl"))), storage


def _legacy(data: bytes, _where: str) -> tuple[Any, Callable[[_Storage], NDArray[Any]]]:
    """The content of a file as torch wrote it before 1.6: five pickles, then the storages one after another."""
    file = io.BytesIO(data)
    _built(file), _built(file)  # the magic number, and a version that never changed
    system = _built(file)
    if not system["little_endian"]:
        raise ValueError("its numbers are not little-endian")
    content, keys = _built(file), _built(file)
    inner = content.get("state_dict", content)
    tensors = [value for part in (content, inner) for value in part.values() if isinstance(value, _Tensor)]
    types = {tensor.storage.key: tensor.storage for tensor in tensors}
    places: dict[str, NDArray[Any]] = {}
    for key in keys:
        count = int(np.frombuffer(file.read(8), "<i8")[0])
        if count != types[key].count:
            raise ValueError(f"{count} numbers where {types[key].count} are expected")
        dtype = np.dtype(types[key].dtype)
        places[key] = np.frombuffer(file.read(count * dtype.itemsize), dtype, count)
    return content, lambda wanted: places[wanted.key]


def _built(file: io.BytesIO) -> Any:
    """What one pickle builds, tensors as descriptions. Raises ValueError for an instruction that is not followed."""
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[Any, Any] = {}

    def since_mark() -> list[Any]:
        start = marks.pop()
        taken = stack[start:]
        del stack[start:]
        return taken

    for opcode, argument, _ in pickletools.genops(file):
        name = opcode.name
        if name in ("PROTO", "FRAME"):
            continue
        if name == "STOP":
            return stack.pop()
        if name == "MARK":
            marks.append(len(stack))
        elif name in ("BINPUT", "LONG_BINPUT"):
            memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name]())
        elif name in _LITERALS:
            stack.append(argument)
        elif name == "GLOBAL":
            stack.append(_Global(str(argument)))
        elif name == "STACK_GLOBAL":
            attribute, module = stack.pop(), stack.pop()
            stack.append(_Global(f"{module} {attribute}"))
        elif name == "TUPLE":
            stack.append(tuple(since_mark()))
        elif name in _TUPLES:
            count = _TUPLES[name]
            if len(stack) < count:
                raise ValueError("a tuple of more than there is")
            stack[-count:] = [tuple(stack[-count:])]
        elif name == "APPEND":
            value = stack.pop()
            stack[-1].append(value)
        elif name == "APPENDS":
            values = since_mark()
            stack[-1].extend(values)
        elif name == "SETITEM":
            value, key = stack.pop(), stack.pop()
            stack[-1][key] = value
        elif name == "SETITEMS":
            values = since_mark()
            stack[-1].update(zip(values[::2], values[1::2], strict=True))
        elif name == "BINPERSID":
            stack.append(_storage(stack.pop()))
        elif name == "REDUCE":
            arguments, made = stack.pop(), stack.pop()
            stack.append(_called(made, arguments))
        elif name == "BUILD" and isinstance(stack[-2], dict):
            stack.pop()  # torch's `_metadata` of a state dict: versions of its layers
        else:
            raise ValueError(f"it asks for {name}, which building tensors does not take")
    raise ValueError("it ends too soon")


_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None, "NEWTRUE": lambda: True, "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple, "EMPTY_LIST": list, "EMPTY_DICT": dict,
}  # fmt: skip
_LITERALS = {
    "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT",
    "BINUNICODE", "SHORT_BINUNICODE",
}  # fmt: skip
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


def _storage(described: Any) -> _Storage:
    """("storage", type, key, device, count) as a description."""
    what, kind, key, _device, count = described[:5]
    dtype = _STORAGES.get(kind.name.removeprefix("torch ")) if isinstance(kind, _Global) else None
    if what != "storage" or dtype is None or not isinstance(key, str) or type(count) is not int or count < 0:
        raise ValueError(f"numbers of an unknown kind: {kind}")
    return _Storage(sys.intern(key), dtype, count)


def _called(what: Any, arguments: Any) -> Any:
    """The few things that a file of tensors may ask for, as descriptions."""
    name = what.name if isinstance(what, _Global) else repr(what)
    if name == _DICTIONARY and arguments == ():
        return {}
    if name == _TENSOR and isinstance(arguments[0], _Storage):
        return _Tensor(*arguments[:4])
    if name == _PARAMETER and isinstance(arguments[0], _Tensor):
        return arguments[0]
    raise ValueError(f"it asks for {name!r}, which building tensors does not take")
