"""A file from the network: resumed where it was cut off, checked, whole or not at all."""

from __future__ import annotations

import hashlib
import urllib.error
import urllib.request
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import BinaryIO

from nas_edge.errors import ConfigError, DeviceError, FormatError, StorageError
from nas_edge.files import make_directory
from nas_edge.progress import Progress, silent

_CHUNK = 1 << 20
_TIMEOUT_S = 30.0
_PARTIAL, _NOT_SATISFIABLE = 206, 416


def fetch(url: str, path: Path, sha256: str | None, progress: Progress = silent) -> str:
    """Fetch a file unless it is there already; a cut download goes on from `<path>.part`.

    Args:
        url: http, https or file.
        path: where it is kept.
        sha256: what it must have; None where its publisher names none.
        progress: told of bytes.

    Returns:
        Its sha256.

    Raises:
        ConfigError: another kind of address. DeviceError: the host cannot be reached, or has no such file.
        FormatError: another checksum: the file is not kept. StorageError: the disk is full.
    """
    if not url.startswith(("http://", "https://", "file://")):
        raise ConfigError(f"{url}: an address begins with https://, http:// or file://")
    if path.is_file():
        return _checked(path, path, sha256, url)
    make_directory(path.parent)
    part = path.with_name(f"{path.name}.part")
    try:
        _append(url, part, progress)
    except (urllib.error.URLError, TimeoutError, HTTPException, ConnectionError) as error:
        reason = getattr(error, "reason", error)
        code = f"HTTP {error.code}, " if isinstance(error, urllib.error.HTTPError) else ""
        kept = f"; {part.stat().st_size:,} bytes are kept, the same command goes on" if part.is_file() else ""
        raise DeviceError(f"{url}: cannot be fetched ({code}{reason}){kept}") from error
    except OSError as error:
        raise StorageError(f"{part}: {error.strerror or error}; free some space and run the command again") from error
    digest = _checked(part, path, sha256, url)
    part.replace(path)
    return digest


def _append(url: str, part: Path, progress: Progress) -> None:
    have = part.stat().st_size if part.is_file() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})  # noqa: S310 - checked
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as response:  # noqa: S310 - checked above
            goes_on = have > 0 and getattr(response, "status", None) == _PARTIAL
            with open(part, "ab" if goes_on else "wb") as handle:
                _copy(response, handle, have if goes_on else 0, url, progress)
    except urllib.error.HTTPError as error:
        if error.code != _NOT_SATISFIABLE:  # nothing is left to be sent: the checksum says whether that is right
            raise


def _copy(response: HTTPResponse, handle: BinaryIO, done: int, url: str, progress: Progress) -> None:
    announced = response.headers.get("Content-Length")
    total = done + int(announced) if announced else 0
    name = url.rpartition("/")[2]
    while chunk := response.read(_CHUNK):
        handle.write(chunk)
        done += len(chunk)
        progress(done, max(total, done), f"fetching {name}")
    if total and done < total:
        raise ConnectionError(f"the connection ended after {done:,} of {total:,} bytes")


def _checked(file: Path, path: Path, sha256: str | None, url: str) -> str:
    digest = hashlib.sha256()
    with open(file, "rb") as handle:
        while chunk := handle.read(_CHUNK):
            digest.update(chunk)
    found = digest.hexdigest()
    if sha256 is not None and found != sha256:
        file.unlink()
        raise FormatError(
            f"{path}: has another checksum ({found[:16]}...) than is published ({sha256[:16]}...) and was removed;"
            f" run the command again, or fetch {url} yourself"
        )
    return found
