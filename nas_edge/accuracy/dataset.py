"""`accuracy.csv`: subnets whose accuracy was measured, and beside it which image each of them got right."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nas_edge.errors import ArchitectureError, FormatError, SpaceError
from nas_edge.files import BROKEN_ARCHIVE, read_text, write_bytes, write_text
from nas_edge.spaces import Population, SearchSpace

FORMAT = 1
COLUMNS = ("arch", "precision", "accuracy", "correct", "images", "views", "role")
ROLES = ("train", "holdout")
MAX_BITS_BYTES = 512 * 2**20
_HEADER = re.compile(r"# format: (\d+); space: (\S+)\s*\Z")

Role = Literal["train", "holdout"]


@dataclass(frozen=True, eq=False)
class AccuracySet:
    """Measured subnets of one space.

    Attributes:
        population: int8 [n, genes].
        correct: int64 [n], right answers among images x views.
        images: int64 [n], images each was measured on (of the search split, never the test split).
        views: int64 [n], fixed views of each image.
        roles: [n], "train" (the predictor is fitted to it) or "holdout" (it is judged on it).
        precisions: [n], "fp32", "fp16", "int8".
        bits: bool [n, images, views], which answers were right; None where they were not kept.

    """

    population: Population
    correct: NDArray[np.int64]
    images: NDArray[np.int64]
    views: NDArray[np.int64]
    roles: tuple[Role, ...]
    precisions: tuple[str, ...]
    bits: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        n = len(self.population)
        lengths = {len(self.correct), len(self.images), len(self.views), len(self.roles), len(self.precisions)}
        if lengths != {n}:
            raise ValueError(f"{n} architectures, but columns of lengths {sorted(lengths)}")
        if self.bits is not None:
            answers = self.images * self.views
            shape = self.bits.shape
            if len(shape) != 3 or len(self.bits) != n or (answers != shape[1] * shape[2]).any():
                raise ValueError(f"answers of shape {shape} do not fit {n} subnets with images x views {answers[:1]}")
            if (self.bits.sum(axis=(1, 2)) != self.correct).any():
                raise ValueError("the answers do not add up to the counts of right ones")

    @classmethod
    def of_bits(
        cls, population: Population, bits: NDArray[np.bool_], roles: Sequence[Role], precision: str = "fp32"
    ) -> AccuracySet:
        """From right and wrong answers, bool [n, images, views]."""
        n = len(population)
        fill = [np.full(n, size, np.int64) for size in bits.shape[1:]]
        counts = bits.sum(axis=(1, 2), dtype=np.int64)
        return cls(population, counts, fill[0], fill[1], tuple(roles), (precision,) * n, bits)

    @property
    def accuracy(self) -> NDArray[np.float64]:
        """Fraction of right answers, float64 [n]."""
        fraction: NDArray[np.float64] = self.correct / (self.images * self.views)
        return fraction

    def __len__(self) -> int:
        return len(self.population)

    def select(self, keep: NDArray[np.bool_]) -> AccuracySet:
        """The subnets where `keep` [n] is true."""
        where = np.flatnonzero(keep)
        return AccuracySet(
            self.population[where],
            self.correct[where],
            self.images[where],
            self.views[where],
            tuple(self.roles[i] for i in where),
            tuple(self.precisions[i] for i in where),
            None if self.bits is None else self.bits[where],
        )

    def with_role(self, role: Role) -> AccuracySet:
        """The subnets of one role."""
        return self.select(np.array([each == role for each in self.roles], bool))

    def of_precision(self, precision: str) -> AccuracySet:
        """The subnets measured in one precision."""
        return self.select(np.array([each == precision for each in self.precisions], bool))


def _bits_path(path: Path) -> Path:
    return path.with_suffix(".npz")


def write_accuracy(path: Path, space: SearchSpace, data: AccuracySet) -> None:
    """Write `accuracy.csv` and, where the answers were kept, `accuracy.npz` beside it.

    Raises as `nas_edge.files.write_atomic`.
    """
    text = io.StringIO()
    text.write(f"# format: {FORMAT}; space: {space.name}\n")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    accuracy = data.accuracy
    for i, row in enumerate(data.population):
        arch = json.dumps(space.to_json(row), separators=(",", ":"))
        counts = (int(data.correct[i]), int(data.images[i]), int(data.views[i]))
        writer.writerow((arch, data.precisions[i], f"{accuracy[i]:.6f}", *counts, data.roles[i]))
    if data.bits is not None:
        buffer = io.BytesIO()
        packed = np.packbits(data.bits.reshape(len(data), -1), axis=1)
        np.savez_compressed(buffer, format=np.int64(FORMAT), shape=np.array(data.bits.shape, np.int64), answers=packed)
        write_bytes(_bits_path(path), buffer.getvalue())
    else:
        _bits_path(path).unlink(missing_ok=True)
    write_text(path, text.getvalue())


def read_accuracy(path: Path, space: SearchSpace) -> AccuracySet:
    """Read what `write_accuracy` wrote (or a person did, with the same columns).

    Raises:
        FormatError: missing, another header or format, a value that does not fit (with file and line), a subnet
            twice in one precision. SpaceError: measured in another space.

    """
    lines = read_text(path).splitlines()
    header = _HEADER.match(lines[0]) if lines else None
    if header is None:
        raise FormatError(f"{path}:1: must be '# format: {FORMAT}; space: NAME'")
    if int(header[1]) > FORMAT:
        raise FormatError(f"{path}:1: format {header[1]} is newer than this nas-edge reads ({FORMAT})")
    if header[2] != space.name:
        raise SpaceError(f"{path}: its subnets are of space {header[2]!r}, not of {space.name!r}")
    rows = csv.reader(lines[1:], strict=True)
    if tuple(next(rows, ())) != COLUMNS:
        raise FormatError(f"{path}:2: columns must be {','.join(COLUMNS)}")
    parsed: list[tuple[Any, ...]] = []
    seen: dict[tuple[bytes, str], int] = {}
    try:
        for row in rows:
            where = f"{path}:{rows.line_num + 1}"
            values = _parse(row, space, where)
            line = seen.setdefault((values[0].tobytes(), values[4]), rows.line_num + 1)
            if line != rows.line_num + 1:
                raise FormatError(f"{where}: the same subnet as in line {line}")
            parsed.append(values)
    except csv.Error as error:
        raise FormatError(f"{path}:{rows.line_num + 1}: is not CSV ({error})") from error
    if not parsed:
        raise FormatError(f"{path}: holds no subnet")
    population, correct, images, views, precisions, roles = zip(*parsed, strict=True)
    counts = [np.array(column, np.int64) for column in (correct, images, views)]
    bits = _read_bits(_bits_path(path)) if _bits_path(path).exists() else None
    try:
        return AccuracySet(np.stack(population), counts[0], counts[1], counts[2], roles, precisions, bits)
    except ValueError as error:
        raise FormatError(f"{_bits_path(path)}: does not belong to {path.name} ({error})") from error


def _parse(row: list[str], space: SearchSpace, where: str) -> tuple[Any, ...]:
    """One line as (genes, correct, images, views, precision, role)."""
    if len(row) != len(COLUMNS):
        raise FormatError(f"{where}: {len(row)} columns where {len(COLUMNS)} are expected; is the file truncated?")
    value = dict(zip(COLUMNS, row, strict=True))
    try:
        arch = space.from_json(json.loads(value["arch"]), where)
        accuracy = float(value["accuracy"])
        correct, images, views = (int(value[name]) for name in ("correct", "images", "views"))
    except ArchitectureError as error:
        raise FormatError(str(error)) from error
    except ValueError as error:
        raise FormatError(f"{where}: {error}") from error
    if images < 1 or views < 1 or not 0 <= correct <= images * views:
        raise FormatError(f"{where}: {correct} right answers among {images} images x {views} views is not possible")
    # Also false for NaN.
    if not math.isclose(accuracy, correct / (images * views), rel_tol=0, abs_tol=1e-5):
        raise FormatError(f"{where}: accuracy {value['accuracy']} is not {correct} / ({images} x {views})")
    if value["role"] not in ROLES:
        raise FormatError(f"{where}: role {value['role']!r} must be one of {', '.join(ROLES)}")
    return arch, correct, images, views, value["precision"], value["role"]


def _read_bits(path: Path) -> NDArray[np.bool_]:
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > MAX_BITS_BYTES:
                raise FormatError(f"{path}: unpacks to more than the {MAX_BITS_BYTES} bytes that such a file may have")
        with np.load(path, allow_pickle=False) as stored:
            if int(stored["format"]) > FORMAT:
                raise FormatError(f"{path}: format {int(stored['format'])} is newer than this nas-edge reads")
            n, images, views = (int(size) for size in stored["shape"])
            flat = np.unpackbits(stored["answers"], axis=1, count=images * views)
        return flat.reshape(n, images, views).astype(bool)
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error.strerror or error})") from error
    except BROKEN_ARCHIVE as error:
        raise FormatError(f"{path}: is damaged or truncated ({error}); copy it again or remove it") from error
