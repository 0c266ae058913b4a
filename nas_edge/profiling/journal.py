"""The journal of a sitting: one JSON line a visit, so that a killed measurement goes on where it was."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from nas_edge.errors import FormatError, MeasurementError, StorageError
from nas_edge.files import make_directory

FORMAT = 1
_KIND = "nas-edge measuring journal"


@dataclass(frozen=True)
class RawVisit:
    """A visit before it is judged.

    Attributes:
        name, sha256: of the work item.
        batch: images of one run.
        round: in which round, from 0.
        samples_ms: timed runs, in order.
        reference_ms: mean of the reference readings before and after.
        cpu_share: share of the wall time in which the process had its core.
        date: UTC, ISO format.

    """

    name: str
    sha256: str
    batch: int
    round: int
    samples_ms: tuple[float, ...]
    reference_ms: float
    cpu_share: float
    date: str


class Journal:
    """Append-only file, or nothing at all where `path` is None. A context manager.

    Args:
        path: of the file; made with its directory if missing.
        conditions: what all visits in one journal share (device, runtime, precision ...).

    Raises:
        FormatError: damaged other than by a cut-off last line, or written under other conditions (which one is named).
        MeasurementError: another process has it open. StorageError, ConfigError: not writable, disk full.

    """

    def __init__(self, path: Path | None, conditions: Mapping[str, Any]) -> None:
        self.path = path
        self.visits: list[RawVisit] = []
        self._handle: IO[bytes] | None = None
        if path is None:
            return
        make_directory(path.parent)
        try:
            self._handle = open(path, "ab+")  # noqa: SIM115 - closed by __exit__
        except OSError as error:
            raise StorageError(f"{path}: cannot be opened ({error.strerror})") from error
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._read(json.loads(json.dumps(conditions)))
        except BlockingIOError as error:
            self._handle.close()
            raise MeasurementError(f"{path}: another process is measuring into this journal") from error
        except BaseException:
            self._handle.close()
            raise

    def append(self, visit: RawVisit) -> None:
        """Write one visit; it survives the process's death, and the machine's after `sync`."""
        self.visits.append(visit)
        self._write(asdict(visit))

    def sync(self) -> None:
        """Have the disk hold everything so far."""
        if self._handle is not None:
            os.fsync(self._handle.fileno())

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._handle is not None:
            self._handle.close()

    def _write(self, value: Any) -> None:
        if self._handle is None:
            return
        try:
            self._handle.write(json.dumps(value, allow_nan=False).encode() + b"\n")
            self._handle.flush()
        except OSError as error:
            raise StorageError(f"{self.path}: cannot be written ({error.strerror}); is the disk full?") from error

    def _read(self, conditions: Mapping[str, Any]) -> None:
        assert self._handle is not None
        self._handle.seek(0)
        content = self._handle.read()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            self._handle.truncate(whole)  # the line that was being written when the process was killed
        lines = content[:whole].splitlines()
        header = {"format": FORMAT, "kind": _KIND, "conditions": dict(conditions)}
        if not lines:
            self._write(header)
            self.sync()
            return
        self._check_header(self._parse(lines[0], 1), header)
        for number, line in enumerate(lines[1:], 2):
            data = self._parse(line, number)
            try:
                self.visits.append(RawVisit(**{**data, "samples_ms": tuple(float(s) for s in data["samples_ms"])}))
            except (KeyError, TypeError, ValueError) as error:
                raise FormatError(f"{self.path}:{number}: is not a visit ({error!r}); delete the journal") from error

    def _parse(self, line: bytes, number: int) -> Any:
        try:
            return json.loads(line)
        except ValueError as error:
            raise FormatError(f"{self.path}:{number}: is damaged ({error}); delete the journal") from error

    def _check_header(self, found: Any, wanted: Mapping[str, Any]) -> None:
        if not isinstance(found, dict) or found.get("kind") != _KIND or found.get("format") != FORMAT:
            raise FormatError(f"{self.path}:1: is not a measuring journal of format {FORMAT}")
        have, want = found.get("conditions", {}), wanted["conditions"]
        for key in sorted({*have, *want}):
            if have.get(key) != want.get(key):
                raise FormatError(
                    f"{self.path}: was begun with {key} {have.get(key)!r}, not {want.get(key)!r}; "
                    "delete it or measure into another directory"
                )
