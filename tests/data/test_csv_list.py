"""CSV lists: columns, groups, splits, and lines that are wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from nas_edge.data import load_dataset
from nas_edge.errors import DataError, FormatError

from .pictures import save


def write(folder: Path, header: str, rows: list[str]) -> Path:
    path = folder / "list.csv"
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def pictures(folder: Path, count: int) -> None:
    for number in range(count):
        save(folder / "images" / f"{number}.png", number)


def test_groups_are_never_split(tmp_path):
    pictures(tmp_path, 60)
    rows = [f"images/{n}.png,{'cat' if n % 2 else 'dog'},patient{n // 4}" for n in range(60)]
    dataset = load_dataset(write(tmp_path, "path,label,group", rows))
    group_of = {f"images/{n}.png": n // 4 for n in range(60)}
    groups = {name: {group_of[p] for p in split.names} for name, split in dataset.splits.items()}
    assert not groups["train"] & groups["test"]
    assert not groups["train"] & groups["search"]
    assert not groups["search"] & groups["test"]
    assert len(dataset.train) == 40 or 36 <= len(dataset.train) <= 48
    assert all(split.counts(2).min() > 0 for split in dataset.splits.values())


def test_a_list_that_divides_a_group_itself_is_refused(tmp_path):
    pictures(tmp_path, 12)
    rows = [f"images/{n}.png,{n % 2},patient{n // 4},{('train', 'val', 'test')[n // 4]}" for n in range(12)]
    assert len(load_dataset(write(tmp_path, "path,label,group,split", rows)).test) == 4
    rows[-1] = rows[-1].replace("patient2", "patient0")
    with pytest.raises(DataError, match=r"group 'patient0' is in the train split and in the test split; give all its"):
        load_dataset(write(tmp_path, "path,label,group,split", rows))


def test_given_splits_and_other_columns_are_read(tmp_path):
    pictures(tmp_path, 6)
    rows = [f"{n % 2},x,images/{n}.png,{('train', 'val', 'test')[n // 2]}" for n in range(6)]
    dataset = load_dataset(write(tmp_path, "\ufeffLabel,note,path,split", rows))
    assert dataset.classes == ("0", "1")
    assert dataset.search.names == ("images/2.png", "images/3.png")


def test_classes_that_are_numbers_are_ordered_by_value(tmp_path):
    pictures(tmp_path, 9)
    dataset = load_dataset(write(tmp_path, "path,label", [f"images/{n}.png,{(2, 10, 9)[n % 3]}" for n in range(9)]))
    assert dataset.classes == ("2", "9", "10")


def test_a_missing_file_is_named_and_skipped(tmp_path):
    pictures(tmp_path, 8)
    rows = [f"images/{n}.png,{n % 2}" for n in range(8)]
    dataset = load_dataset(write(tmp_path, "path,label", [*rows, "images/gone.png,1"]))
    assert len(dataset.skipped) == 1
    assert "images/gone.png: cannot be read" in dataset.skipped[0]


@pytest.mark.parametrize(
    ("header", "rows", "message"),
    [
        ("file,label", [], "list.csv:1: the column 'path' is missing"),
        ("path,label", ["a.png,x", "b.png,"], "list.csv:3: the label is empty"),
        ("path,label", ["a.png"], "list.csv:2: has 1 fields, the header 2"),
        ("path,label,split", ["a.png,x,dev"], "list.csv:2: unknown split 'dev'"),
        ("path,label", ['"a.png,x'], "list.csv:2: is not CSV"),
    ],
)
def test_a_wrong_line_is_named(tmp_path, header, rows, message):
    with pytest.raises(DataError, match=message):
        load_dataset(write(tmp_path, header, rows))


def test_splits_for_some_pictures_only_are_an_error(tmp_path):
    pictures(tmp_path, 4)
    rows = [f"images/{n}.png,{n % 2},{'train' if n < 2 else ''}" for n in range(4)]
    with pytest.raises(DataError, match="give all or none"):
        load_dataset(write(tmp_path, "path,label,split", rows))


def test_a_csv_that_is_not_text_is_an_error(tmp_path):
    (tmp_path / "x.csv").write_bytes(b"\xff\xfe\x00path")
    with pytest.raises(FormatError, match="not a text file"):
        load_dataset(tmp_path / "x.csv")


def test_an_empty_csv_is_an_error(tmp_path):
    with pytest.raises(DataError, match="no picture found"):
        load_dataset(write(tmp_path, "path,label", []))
