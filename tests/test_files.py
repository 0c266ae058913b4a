"""Files are written whole or not at all, and read as data."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from nas_edge import files
from nas_edge.errors import ConfigError, FormatError, StorageError


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file.json"
    files.write_json(path, {"a": 1})
    files.write_json(path, {"a": 2})
    assert files.read_json(path) == {"a": 2}
    assert list(path.parent.iterdir()) == [path]


def test_a_failure_while_writing_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    files.write_text(path, "old")

    def fail(temporary: Path) -> None:
        temporary.write_text("half")
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011 - raised above
        files.write_atomic(path, fail)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_a_failure_told_in_one_line(tmp_path: Path) -> None:
    def full(temporary: Path) -> None:
        temporary.write_text("half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(StorageError, match="the disk is full; free some space") as caught:
        files.write_atomic(tmp_path / "file", full)
    assert caught.value.exit_code == 1
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_cannot_be_written_is_the_users_mistake(tmp_path: Path) -> None:
    def refused(temporary: Path) -> None:
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))

    with pytest.raises(ConfigError, match="choose another directory"):
        files.write_atomic(tmp_path / "file", refused)


@pytest.mark.parametrize("below", ["", "new"])
def test_a_file_in_the_way_of_a_directory_is_told(tmp_path: Path, below: str) -> None:
    (tmp_path / "runs").write_text("")
    with pytest.raises(ConfigError, match=r"runs.*a file is in the way .*choose another directory"):
        files.make_directory(tmp_path / "runs" / below)


def test_json_that_breaks_off_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "cut.json"
    path.write_text('{"a": 1,\n "b": [1, 2')
    with pytest.raises(FormatError, match=r"cut\.json:2: .*truncated"):
        files.read_json(path)


def test_yaml_that_does_not_parse_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("a: 1\nb: [1, 2\nc: 3\n")
    with pytest.raises(ConfigError, match=r"bad\.yaml:3"):
        files.read_yaml(path)


def test_yaml_makes_no_objects(tmp_path: Path) -> None:
    path = tmp_path / "evil.yaml"
    path.write_text("a: !!python/object/apply:os.system ['true']\n")
    with pytest.raises(ConfigError):
        files.read_yaml(path)


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", None])
def test_what_is_no_text_file_is_a_format_error(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "file"
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    with pytest.raises(FormatError, match=r"file: "):
        files.read_text(path)


def test_a_spreadsheet_s_mark_at_the_beginning_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes("name,ms\n".encode("utf-8-sig"))
    assert files.read_text(path) == "name,ms\n"


def test_a_text_file_that_is_far_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.csv"
    with open(path, "wb") as handle:
        handle.truncate(files.MAX_TEXT_BYTES + 1)
    with pytest.raises(FormatError, match="more than"):
        files.read_text(path)


def test_the_line_of_a_yaml_node_or_of_its_nearest_ancestor_is_found() -> None:
    text = "a: 1\nsteps:\n  - search:\n      target: x\n  - export: {}\n"
    assert files.yaml_line(text, ("a",)) == 1
    assert files.yaml_line(text, ("steps", 0, "search", "target")) == 4
    assert files.yaml_line(text, ("steps", 0, "search", "missing")) == 3
    assert files.yaml_line(text, ("steps", 1)) == 5
