"""A file from the network: resumed where it was cut off, checked, whole or not at all."""

from __future__ import annotations

import hashlib
import urllib.error
import urllib.request
from collections.abc import Mapping
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import BinaryIO

from nas_edge.errors import ConfigError, DeviceError, FormatError, StorageError
from nas_edge.files import make_directory, read_text, write_text
from nas_edge.progress import Progress, silent

_CHUNK = 1 << 20
_TIMEOUT_S = 30.0
_PARTIAL, _NOT_SATISFIABLE = 206, 416


def fetch(url: str, path: Path, sha256: str | None, progress: Progress = silent) -> str:
    """Fetch a file unless it is there already; a cut download goes on from `<path>.part`.

    What is kept of a cut download is only added to where the server says that it still has the same file (its ETag);
    otherwise it is fetched anew. Without a published checksum the one of the first fetch is kept beside the file, so
    that damage on the disk is noticed.

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
    noted = beside(path, "sha256")
    if path.is_file():
        known = read_text(noted).strip() if noted.is_file() else None
        if known and sha256 and known != sha256.lower() and _digest(path) == known:
            raise FormatError(
                f"{path}: is as it was fetched, but its checksum is {known}, not the one asked for; compare the two,"
                " and delete the file to fetch it again"
            )
        return _checked(path, path, sha256 or known, url)
    make_directory(path.parent)
    part = beside(path, "part")
    try:
        _download(url, part, progress)
    except (HTTPException, OSError) as error:
        reason = getattr(error, "reason", error)
        code = f"HTTP {error.code}, " if isinstance(error, urllib.error.HTTPError) else ""
        kept = f"; {part.stat().st_size:,} bytes are kept, the same command goes on" if part.is_file() else ""
        raise DeviceError(f"{url}: cannot be fetched ({code}{reason}){kept}") from error
    digest = _checked(part, path, sha256, url)
    write_text(noted, f"{digest}\n")
    part.replace(path)
    return digest


def beside(path: Path, ending: str) -> Path:
    """Files that go with one that is fetched: `part`, `part.etag`, `sha256`."""
    return path.with_name(f"{path.name}.{ending}")


def _download(url: str, part: Path, progress: Progress) -> None:
    """Fill `part`, or add what it lacks. Raises OSError (URLError among them), HTTPException; StorageError."""
    tag = beside(part, "etag")
    have = part.stat().st_size if part.is_file() else 0
    response = _rest(url, have, read_text(tag) if tag.is_file() else "") if have else _opened(url)
    if response is not None:
        with response:
            goes_on = response.status == _PARTIAL
            if not goes_on:
                part.unlink(missing_ok=True)
                write_text(tag, response.headers.get("ETag", ""))
            _copy(response, part, have if goes_on else 0, url.rpartition("/")[2], progress)
    tag.unlink(missing_ok=True)


def _opened(url: str, headers: Mapping[str, str] | None = None) -> HTTPResponse:
    request = urllib.request.Request(url, headers=dict(headers or {}))  # noqa: S310 - checked by fetch
    response: HTTPResponse = urllib.request.urlopen(request, timeout=_TIMEOUT_S)  # noqa: S310 - checked by fetch
    return response


def _rest(url: str, have: int, tag: str) -> HTTPResponse | None:
    """What follows the first `have` bytes, or all where the server gives no such part of the same file; None: nothing.

    Args:
        url: of the file.
        have: bytes that are kept.
        tag: ETag of the file that they are of, "" where it had none.
    """
    try:
        response = _opened(url, {"Range": f"bytes={have}-"})
    except urllib.error.HTTPError as error:
        if error.code != _NOT_SATISFIABLE:
            raise
        same = error.headers.get("ETag", "") in ("", tag)
        if same and error.headers.get("Content-Range", "").strip() == f"bytes */{have}":
            return None
        return _opened(url)
    follows = response.headers.get("Content-Range", "").startswith(f"bytes {have}-")
    if response.status == _PARTIAL and not (follows and response.headers.get("ETag", "") == tag):
        response.close()
        return _opened(url)
    return response


def _copy(response: HTTPResponse, part: Path, done: int, name: str, progress: Progress) -> None:
    """Write a response behind the first `done` bytes of `part`, all of which are kept where it breaks off."""
    announced = response.headers.get("Content-Length")
    total = done + int(announced) if announced else 0
    with _writable(part, "ab" if done else "wb") as handle:
        while chunk := response.read(_CHUNK):
            try:
                handle.write(chunk)
                handle.flush()
            except OSError as error:
                raise _full(part, error) from error
            done += len(chunk)
            progress(done, max(total, done), f"fetching {name}")
    if done < total:
        raise ConnectionError(f"the connection ended after {done:,} of {total:,} bytes")


def _writable(part: Path, mode: str) -> BinaryIO:
    try:
        handle: BinaryIO = open(part, mode)  # type: ignore[assignment]  # noqa: SIM115 - closed by the caller
    except OSError as error:
        raise _full(part, error) from error
    return handle


def _full(part: Path, error: OSError) -> StorageError:
    return StorageError(f"{part}: {error.strerror or error}; free some space and run the command again")


def _digest(file: Path) -> str:
    digest = hashlib.sha256()
    with open(file, "rb") as handle:
        while chunk := handle.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _checked(file: Path, path: Path, sha256: str | None, url: str) -> str:
    found = _digest(file)
    if sha256 is not None and found != sha256.lower():
        file.unlink()
        discard(path)
        raise FormatError(
            f"{path}: has another checksum ({found[:16]}...) than is expected ({sha256[:16]}...) and was removed;"
            f" run the command again, or fetch {url} yourself"
        )
    return found


def discard(path: Path) -> None:
    """Remove a fetched file and what was noted of it."""
    for file in (path, beside(path, "sha256")):
        file.unlink(missing_ok=True)
