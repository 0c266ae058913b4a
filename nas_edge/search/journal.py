"""The state of a search on disk: what was evaluated, in order, so that a search that was cut goes on.

Strategies are deterministic: told the same figures they ask for the same architectures. So nothing of a strategy is
stored. A search that goes on is run again from its start, and takes the figures of what was evaluated before from here.
"""

from __future__ import annotations

import hashlib
import io
import json
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas_edge.errors import ConfigError, FormatError
from nas_edge.files import BROKEN_ARCHIVE, make_directory, read_json, write_bytes, write_json
from nas_edge.spaces import Population

Float = NDArray[np.float64]

FORMAT = 1
HEADER = "search.json"
SAVE_EVERY_S = 2.0
_MAX_BYTES = 2**31


class SearchJournal:
    """Evaluations of one search in a directory: a header, and numbered parts that are written whole.

    Args:
        directory: made where it is not there yet.
        identity: what the search is (space, constraints, seed ...), plain data. A directory of another search is
            refused.
        save_every_s: seconds between two parts.

    Raises:
        ConfigError: the directory holds another search's state (what differs is named).
        FormatError: damaged.

    """

    def __init__(self, directory: Path, identity: Mapping[str, Any], save_every_s: float = SAVE_EVERY_S) -> None:
        self._directory, self._every_s = directory, save_every_s
        self._batches: list[tuple[Population, Float, Float]] = []
        self._pending: list[tuple[Population, Float, Float]] = []
        self._next = 0
        self._saved = time.monotonic()
        self._identity = json.loads(json.dumps(identity, sort_keys=True))
        if (directory / HEADER).is_file():
            self._check()
            for part in sorted(directory.glob("part-*.npz")):
                self._batches += _read_part(part)
        self._parts = len(list(directory.glob("part-*.npz")))

    @property
    def known(self) -> int:
        """Architectures whose figures are known from before."""
        return sum(len(rows) for rows, _, _ in self._batches)

    def recall(self, rows: Population) -> tuple[Float, Float] | None:
        """Gains float64 [n, objectives] and excess float64 [n, constraints] of the next batch, if it was known.

        Raises:
            FormatError: the search asks for other architectures than it did: another version, or damage.

        """
        if self._next >= len(self._batches):
            return None
        stored, gains, excess = self._batches[self._next]
        if not np.array_equal(stored, rows):
            raise FormatError(
                f"{self._directory}: the search takes another course than the one stored there (another version of "
                "nas-edge or of its inputs); remove the directory and search from the start"
            )
        self._next += 1
        return gains, excess

    def record(self, rows: Population, gains: Float, excess: Float) -> None:
        """Keep a batch; written within `save_every_s`, or by `save`."""
        self._pending.append((rows, gains, excess))
        if time.monotonic() - self._saved >= self._every_s:
            self.save()

    def save(self) -> None:
        """Write what is not on disk yet. Raises StorageError, ConfigError."""
        self._saved = time.monotonic()
        if not self._pending:
            return
        make_directory(self._directory)
        if not (self._directory / HEADER).is_file():
            write_json(self._directory / HEADER, {"format": FORMAT, "search": self._identity})
        _write_part(self._directory / f"part-{self._parts:06d}.npz", self._pending)
        self._parts += 1
        self._pending = []

    def _check(self) -> None:
        header = read_json(self._directory / HEADER)
        if not isinstance(header, dict) or header.get("format") != FORMAT or "search" not in header:
            raise FormatError(f"{self._directory / HEADER}: 'format: {FORMAT}' is expected; a newer nas-edge wrote it")
        stored = header["search"]
        for name in {*stored, *self._identity}:
            if stored.get(name) != self._identity.get(name):
                raise ConfigError(
                    f"{self._directory}: holds the state of another search: {name} was {stored.get(name)!r}, is "
                    f"{self._identity.get(name)!r}; give the same options or another directory"
                )


def _write_part(path: Path, batches: list[tuple[Population, Float, Float]]) -> None:
    rows, gains, excess = (np.concatenate(column) for column in zip(*batches, strict=True))
    lengths = np.array([len(batch[0]) for batch in batches], np.int64)
    digest = hashlib.sha256(rows.tobytes() + gains.tobytes() + excess.tobytes()).digest()
    buffer = io.BytesIO()
    np.savez(buffer, rows=rows, gains=gains, excess=excess, lengths=lengths, digest=np.frombuffer(digest, np.uint8))
    write_bytes(path, buffer.getvalue())


def _read_part(path: Path) -> list[tuple[Population, Float, Float]]:
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > _MAX_BYTES:
                raise FormatError(f"{path}: unpacks to more than {_MAX_BYTES} bytes")
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in ("rows", "gains", "excess", "lengths", "digest")}
    except (OSError, *BROKEN_ARCHIVE) as error:
        raise FormatError(f"{path}: is damaged ({error}); remove it and those after it, and resume again") from error
    content = b"".join(arrays[name].tobytes() for name in ("rows", "gains", "excess"))
    if hashlib.sha256(content).digest() != arrays["digest"].tobytes():
        raise FormatError(f"{path}: is damaged (its checksum is wrong); remove it and those after it, and resume again")
    ends = np.cumsum(arrays["lengths"])[:-1]
    columns = (np.split(arrays[name], ends) for name in ("rows", "gains", "excess"))
    return list(zip(*columns, strict=True))
