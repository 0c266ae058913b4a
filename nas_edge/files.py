"""Files that matter: written whole to a temporary name, then renamed; read as data, never as code."""

from __future__ import annotations

import errno
import json
import os
import struct
import zipfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import yaml

from nas_edge.errors import ConfigError, FormatError, NasEdgeError, StorageError, UnknownKeyError

T = TypeVar("T")

MAX_TEXT_BYTES = 64 * 2**20
_FILE_MODE = 0o644
# What zipfile and numpy raise for an archive that is damaged, or that somebody made up.
BROKEN_ARCHIVE = (
    zipfile.BadZipFile, zlib.error, struct.error, ValueError, EOFError, KeyError, TypeError, RuntimeError, MemoryError,
)  # fmt: skip


def _storage_error(path: Path, error: OSError) -> NasEdgeError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageError(f"{path}: the disk is full; free some space and run the command again")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT):
        return ConfigError(f"{path}: cannot be written ({error.strerror}); choose another directory")
    if error.errno in (errno.EEXIST, errno.ENOTDIR, errno.EISDIR):
        return ConfigError(f"{path}: a file is in the way ({error.strerror}); choose another directory")
    return StorageError(f"{path}: {error.strerror or error}")


def make_directory(path: Path) -> Path:
    """Create a directory (and its parents) or say in one line why not.

    Raises:
        ConfigError: not writable, or a file in the way. StorageError: full disk.

    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / f".writable-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise _storage_error(path, error) from error
    return path


def write_atomic(path: Path, write: Callable[[Path], object]) -> None:
    """Call `write(temporary_path)` beside `path`, flush it to disk and rename it: whole or not at all.

    Raises:
        ConfigError, StorageError: not writable, disk full. The old file, if any, is untouched.

    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(temporary)
        with open(temporary, "rb+") as handle:
            os.fsync(handle.fileno())
        os.chmod(temporary, _FILE_MODE)  # some writers make files that only their owner can read
        os.replace(temporary, path)
    except OSError as error:
        raise _storage_error(path, error) from error
    finally:
        with suppress(OSError):  # on a disk that is read-only by now nothing can be removed either
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole. Raises as `write_atomic`."""
    write_atomic(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_bytes(path: Path, data: bytes) -> None:
    """Write a binary file whole. Raises as `write_atomic`."""
    write_atomic(path, lambda temporary: temporary.write_bytes(data))


def write_json(path: Path, value: object) -> None:
    """Write JSON, indented, keys in the given order. Raises as `write_atomic`."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def write_yaml(path: Path, value: object) -> None:
    """Write YAML, keys in the given order. Raises as `write_atomic`."""
    write_text(path, yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=100))


def read_text(path: Path, max_bytes: int = MAX_TEXT_BYTES) -> str:
    """Read a text file of bounded size; the mark that spreadsheets begin theirs with is left out.

    Raises:
        FormatError: missing, a directory, too large, or not UTF-8.

    """
    try:
        size = path.stat().st_size
        if size > max_bytes:
            raise FormatError(f"{path}: {size} bytes is more than the {max_bytes} that such a file may have")
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise FormatError(f"{path}: is not a text file (byte {error.start})") from error


def read_json(path: Path) -> Any:
    """Read JSON. Raises FormatError with the line where it breaks."""
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise FormatError(f"{path}:{error.lineno}: is not JSON ({error.msg}); is the file truncated?") from error


def read_yaml(path: Path) -> Any:
    """Read YAML safely. Raises ConfigError with the line where it breaks."""
    return parse_yaml(read_text(path), str(path))


def read_described(path: Path, build: Callable[[Any, str], T]) -> T:
    """Read YAML and `build(data, where)` what it describes; an unknown key is told with its line.

    Raises:
        ConfigError: broken YAML, an unknown key (file and line), or what `build` raises. FormatError: unreadable.
    """
    text = read_text(path)
    try:
        return build(parse_yaml(text, str(path)), str(path))
    except UnknownKeyError as error:
        raise ConfigError(f"{path}:{yaml_line(text, error.keys)}: {error.problem}") from None


def parse_yaml(text: str, where: str) -> Any:
    """Parse YAML safely; `where` names it in errors. Raises ConfigError."""
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise ConfigError(f"{where}{line}: is not valid YAML ({problem})") from error


def yaml_line(text: str, keys: tuple[str | int, ...]) -> int:
    """The 1-based line of the node at a path of keys in a YAML text, or of its nearest ancestor."""
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    line = 1
    for key in keys:
        if isinstance(node, yaml.MappingNode):
            found = next(((k, v) for k, v in node.value if k.value == str(key)), None)
            if found is None:
                break
            line, node = found[0].start_mark.line + 1, found[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
            node = node.value[key]
            line = node.start_mark.line + 1
        else:
            break
    return line
