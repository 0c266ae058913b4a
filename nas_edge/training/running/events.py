"""Figures of a run as TensorBoard's event files, written here: no package of TensorFlow's is needed.

A file is a sequence of TFRecords (length, masked CRC-32C of it, data, masked CRC-32C of that) that hold protocol
buffers `tensorflow.Event`: https://github.com/tensorflow/tensorboard/blob/master/tensorboard/compat/proto/event.proto.
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path

FILES = "events.out.tfevents"  # how names of event files begin, as TensorBoard looks for them
_POLYNOMIAL = 0x82F63B78  # of CRC-32C (Castagnoli), bits reversed
_MASK_DELTA = 0xA282EAD8  # of TFRecord


class EventWriter:
    """Appends scalars to an event file of its own, whole records at a time.

    After an error the file may end in half a record, behind which TensorBoard reads nothing: a new writer is needed.

    Args:
        directory: where TensorBoard is pointed at (`tensorboard --logdir`).

    Raises:
        OSError: the file cannot be begun.
    """

    def __init__(self, directory: Path) -> None:
        now = time.time()
        self.path = directory / f"{FILES}.{int(now * 1e6)}.{os.getpid()}"
        try:
            self._append(_double(1, now) + _bytes(3, b"brain.Event:2"))
        except OSError:
            with suppress(OSError):
                self.path.unlink(missing_ok=True)
            raise

    def add(self, step: int, figures: Mapping[str, float]) -> None:
        """Figures at a step; those that are not finite are left out. Raises OSError where they cannot be written."""
        values = b"".join(
            _bytes(1, _bytes(1, name.encode()) + _float(2, value))
            for name, value in figures.items()
            if abs(value) < float("inf")
        )
        self._append(_double(1, time.time()) + _varint(2, step) + _bytes(5, values))

    def _append(self, event: bytes) -> None:
        with open(self.path, "ab") as handle:
            handle.write(record(event))


def record(data: bytes) -> bytes:
    """One TFRecord."""
    length = struct.pack("<Q", len(data))
    return length + _masked(length) + data + _masked(data)


def crc32c(data: bytes) -> int:
    """CRC-32C (RFC 3720)."""
    table, value = _table(), 0xFFFFFFFF
    for byte in data:
        value = table[(value ^ byte) & 0xFF] ^ (value >> 8)
    return value ^ 0xFFFFFFFF


@cache
def _table() -> tuple[int, ...]:
    entries = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = (value >> 1) ^ (_POLYNOMIAL if value & 1 else 0)
        entries.append(value)
    return tuple(entries)


def _masked(data: bytes) -> bytes:
    crc = crc32c(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF)


def _number(value: int) -> bytes:
    """A base-128 varint."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _varint(field: int, value: int) -> bytes:
    return _number(field << 3) + _number(value)


def _double(field: int, value: float) -> bytes:
    return _number(field << 3 | 1) + struct.pack("<d", value)


def _bytes(field: int, value: bytes) -> bytes:
    return _number(field << 3 | 2) + _number(len(value)) + value


def _float(field: int, value: float) -> bytes:
    return _number(field << 3 | 5) + struct.pack("<f", value)
