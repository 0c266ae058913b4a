"""TensorBoard's event files, read back by protocol buffers' own library."""

from __future__ import annotations

import math
import struct
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from nas_edge.training.running.events import EventWriter, crc32c, record


def event_class():
    """`tensorflow.Event`, of what is used of it, as event.proto and summary.proto define it."""
    file = descriptor_pb2.FileDescriptorProto(name="event.proto", package="tensorflow", syntax="proto3")
    kinds = descriptor_pb2.FieldDescriptorProto

    def message(name: str, *fields: tuple[str, int, int, str, bool]) -> None:
        made = file.message_type.add(name=name)
        for field, number, kind, type_name, repeated in fields:
            label = kinds.LABEL_REPEATED if repeated else kinds.LABEL_OPTIONAL
            made.field.add(name=field, number=number, type=kind, type_name=type_name or None, label=label)

    message("Value", ("tag", 1, kinds.TYPE_STRING, "", False), ("simple_value", 2, kinds.TYPE_FLOAT, "", False))
    message("Summary", ("value", 1, kinds.TYPE_MESSAGE, ".tensorflow.Value", True))
    message(
        "Event",
        ("wall_time", 1, kinds.TYPE_DOUBLE, "", False),
        ("step", 2, kinds.TYPE_INT64, "", False),
        ("file_version", 3, kinds.TYPE_STRING, "", False),
        ("summary", 5, kinds.TYPE_MESSAGE, ".tensorflow.Summary", False),
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("tensorflow.Event"))


def unmask(masked: int) -> int:
    rotated = (masked - 0xA282EAD8) & 0xFFFFFFFF
    return (rotated >> 17 | rotated << 15) & 0xFFFFFFFF


def events(path: Path) -> list:
    data, found = path.read_bytes(), []
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        (crc,) = struct.unpack("<I", data[8:12])
        assert unmask(crc) == crc32c(data[:8])
        body, (crc,) = data[12 : 12 + length], struct.unpack("<I", data[12 + length : 16 + length])
        assert unmask(crc) == crc32c(body)
        found.append(event_class().FromString(body))
        data = data[16 + length :]
    return found


def test_the_checksum_is_that_of_rfc_3720() -> None:
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"\xff" * 32) == 0x62A8AB43


def test_scalars_come_back_as_they_were_written(tmp_path: Path) -> None:
    writer = EventWriter(tmp_path)
    writer.add(3, {"loss": 0.25, "largest": 0.875})
    writer.add(2**40, {"loss": -1.5, "largest": math.nan})
    first, second, third = events(writer.path)
    assert first.file_version == "brain.Event:2"
    assert "tfevents" in writer.path.name
    assert (second.step, {v.tag: v.simple_value for v in second.summary.value}) == (3, {"loss": 0.25, "largest": 0.875})
    assert (third.step, [(v.tag, v.simple_value) for v in third.summary.value]) == (2**40, [("loss", -1.5)])
    assert first.wall_time <= second.wall_time <= third.wall_time


def test_a_record_is_framed_as_tfrecord() -> None:
    assert record(b"abc")[:8] == struct.pack("<Q", 3)
    assert len(record(b"abc")) == 8 + 4 + 3 + 4


def test_tensorboard_itself_reads_it(tmp_path: Path) -> None:
    loader = pytest.importorskip("tensorboard.backend.event_processing.event_file_loader", reason="needs tensorboard")
    writer = EventWriter(tmp_path)
    writer.add(7, {"loss": 0.5})
    assert [event.step for event in loader.EventFileLoader(str(writer.path)).Load()] == [0, 7]
