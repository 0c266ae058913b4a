"""Run directories: `runs/<time>-<label>/`, written beside their place and renamed, so that none is half there."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from nas_edge import __version__
from nas_edge.errors import ConfigError, FormatError, NasEdgeError, StorageError
from nas_edge.files import make_directory, read_json, write_json

RESULT, ARCH, MANIFEST, PARETO = "result.json", "arch.json", "manifest.json", "pareto.csv"
OWN_BUNDLE = "bundle"  # of a network that was trained alone: classes, preprocessing and images without a supernet
_FORMAT = 1
_HELD = ".held"
_RECORDED = ("numpy", "torch", "onnx", "onnxruntime")


@dataclass(frozen=True)
class Run:
    """A finished search as read from its directory.

    Attributes:
        path: the directory.
        result: content of `result.json`.
        arch: content of `arch.json` (r, d, ks, e and what the space adds).

    """

    path: Path
    result: Mapping[str, Any]
    arch: Mapping[str, Any]

    @property
    def target(self) -> str:
        """Name of the target that was searched for."""
        return str(self.result["target"])

    @property
    def bundle(self) -> str:
        """Directory or name of the bundle that was searched in, or of the run's own."""
        own = self.path / OWN_BUNDLE
        return str(own) if own.is_dir() else str(self.result["bundle"])

    @property
    def precision(self) -> str:
        """Number format of the network."""
        return str(self.result["precision"])


def load_run(path: Path) -> Run:
    """Read a run.

    Raises:
        ConfigError: no such directory, or not one of a search. FormatError: damaged, or of a newer version.

    """
    if not (path / RESULT).is_file():
        raise ConfigError(f"{path}: is not the directory of a search (no {RESULT}); 'nas-edge search' makes one")
    result, arch = read_json(path / RESULT), read_json(path / ARCH)
    for name, data in ((RESULT, result), (ARCH, arch)):
        if not isinstance(data, dict) or data.get("format") != _FORMAT:
            raise FormatError(f"{path / name}: 'format: {_FORMAT}' is expected; a newer file needs a newer nas-edge")
    missing = [key for key in ("target", "bundle", "precision", "arch") if key not in result]
    if missing:
        raise FormatError(f"{path / RESULT}: lacks {', '.join(missing)}")
    return Run(path, result, arch)


def run_path(out: Path | None, label: str, *, resumed: bool = False) -> Path:
    """Where a new run goes: `out`, else `runs/<time>-<label>`, checked to be free and writable.

    Args:
        out: as given.
        label: for a name.
        resumed: an interrupted run at `out` may be replaced.

    Raises:
        ConfigError: `out` holds files already, or cannot be written. StorageError: the disk is full.

    """
    if out is not None:
        if out.exists() and (not out.is_dir() or any(out.iterdir())) and not (resumed and interrupted(out)):
            raise ConfigError(f"{out}: exists already; choose another directory for the run")
        make_directory(out.absolute().parent)
        return out
    parent = make_directory(Path("runs"))
    stem = f"{time.strftime('%Y%m%d-%H%M%S')}-{label}"
    names = (stem, *(f"{stem}-{n}" for n in range(2, 1000)))
    return parent / next(name for name in names if not (parent / name).exists())


def interrupted(path: Path) -> bool:
    """Whether a directory holds the best so far of a search that was ended by Ctrl-C."""
    try:
        result = read_json(path / RESULT)
    except NasEdgeError:
        return False
    return isinstance(result, dict) and result.get("interrupted") is True


@contextmanager
def writing(path: Path, *, over_interrupted: bool = False) -> Iterator[Path]:
    """A directory to fill, which becomes `path` at the end; nothing is left of it if an error is raised inside.

    With `over_interrupted` an interrupted run at `path` gives way to it.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield make_directory(unfinished)
        if over_interrupted and interrupted(path):
            shutil.rmtree(path)
        try:
            os.replace(unfinished, path)
        except OSError as error:
            raise StorageError(
                f"{path}: cannot be put in place ({error.strerror}); choose another directory"
            ) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


@contextmanager
def held(directory: Path) -> Iterator[None]:
    """Keep other processes of this machine out of a directory that is worked in; where files cannot be locked, nothing.

    Raises:
        ConfigError: another process is at work there.

    """
    try:
        import fcntl
    except ImportError:  # not a POSIX system
        yield
        return
    with open(directory / _HELD, "w", encoding="utf-8") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(
                f"{directory}: another nas-edge is at work there; wait until it ends, or use another --out"
            ) from None
        except OSError:  # a file system without locks
            pass
        yield


def write_result(directory: Path, result: Mapping[str, Any], arch: Mapping[str, Any]) -> None:
    """Write `result.json` and `arch.json`. Raises ConfigError, StorageError."""
    write_json(directory / RESULT, {"format": _FORMAT, **result})
    write_json(directory / ARCH, {"format": _FORMAT, **arch})


def write_manifest(
    directory: Path, seeds: Mapping[str, int], inputs: Mapping[str, Path], wall_s: float, arguments: Sequence[str] = ()
) -> None:
    """Write `manifest.json`: how to make this run again.

    Args:
        directory: of the run; the hashes of its files are recorded.
        seeds: by what they seed.
        inputs: files that the result rests on, by role; their SHA-256 is recorded, directories file by file.
        wall_s: seconds that the whole flow took.
        arguments: the command line, by default that of this process.

    Raises:
        ConfigError, StorageError: cannot be written.

    """
    write_json(
        directory / MANIFEST,
        {
            "format": _FORMAT,
            "command": ["nas-edge", *(arguments or sys.argv[1:])],
            "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "versions": versions(),
            "machine": _machine(),
            "seeds": dict(seeds),
            "inputs": {role: {"path": str(path), "sha256": hashes(path)} for role, path in inputs.items()},
            "files": hashes(directory),
            "cost": {"wall_s": round(wall_s, 3)},
        },
    )


def _machine() -> str:
    from nas_edge.devices.fingerprint import local_fingerprint

    return local_fingerprint().machine


def versions() -> dict[str, str]:
    """Versions of nas-edge, python and the packages that decide figures (read from metadata, not imported)."""
    found = {"nas-edge": __version__, "python": platform.python_version()}
    for package in _RECORDED:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of one file."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def hashes(path: Path) -> str | dict[str, str]:
    """SHA-256 of a file, or of each file below a directory by relative name."""
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.is_file() and not p.name.startswith("."))
        return {p.relative_to(path).as_posix(): sha256(p) for p in files}
    return sha256(path)
