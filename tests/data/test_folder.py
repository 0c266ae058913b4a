"""Class folders and archives: what is found, what is left out, what is an error."""

from __future__ import annotations

import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from nas_edge.data import Preprocess, load_dataset
from nas_edge.errors import DataError, UnknownNameError

from .pictures import class_folders, picture, save

COUNTS = {"cat": 20, "dog": 10, "emu": 6}


def zipped(folder: Path, archive: Path) -> Path:
    with zipfile.ZipFile(archive, "w") as handle:
        for path in sorted(folder.rglob("*")):
            handle.write(path, path.relative_to(folder).as_posix())
    return archive


def all_names(dataset) -> list[str]:
    return [name for split in dataset.splits.values() for name in split.names]


def test_class_folders_are_split_stratified_without_overlap(tmp_path):
    dataset = load_dataset(class_folders(tmp_path, COUNTS))
    assert dataset.classes == ("cat", "dog", "emu")
    names = all_names(dataset)
    assert len(names) == len(set(names)) == 36
    assert dataset.train.counts(3).tolist() == [14, 7, 4]
    assert dataset.search.counts(3).tolist() == [3, 2, 1] or dataset.search.counts(3).min() >= 1
    assert all(name.startswith(dataset.classes[label]) for name, label in zip(
        dataset.train.names, dataset.train.labels, strict=True))  # fmt: skip


def test_the_same_seed_gives_the_same_splits_and_another_seed_others(tmp_path):
    class_folders(tmp_path, COUNTS)
    assert load_dataset(tmp_path).test.names == load_dataset(tmp_path).test.names
    assert load_dataset(tmp_path, seed=1).test.names != load_dataset(tmp_path, seed=2).test.names


def test_given_splits_are_kept_and_val_is_the_search_split(tmp_path):
    for number, split in enumerate(("train", "val", "test")):
        class_folders(tmp_path / split, {"a": 3, "b": 2}, start=100 * number)
    dataset = load_dataset(tmp_path)
    assert [len(dataset.splits[name]) for name in ("train", "search", "test")] == [5, 5, 5]
    assert all(name.startswith("val/") for name in dataset.search.names)


def test_a_missing_split_is_carved_out_of_the_training_pictures(tmp_path):
    class_folders(tmp_path / "train", {"a": 20, "b": 20})
    class_folders(tmp_path / "test", {"a": 5, "b": 5}, start=100)
    dataset = load_dataset(tmp_path)
    assert len(dataset.test) == 10
    assert len(dataset.train) + len(dataset.search) == 40
    assert 4 <= len(dataset.search) <= 10


def test_classes_named_like_splits_are_classes_when_others_stand_beside_them(tmp_path):
    dataset = load_dataset(class_folders(tmp_path, {"train": 4, "plane": 4}))
    assert dataset.classes == ("plane", "train")


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_zip_reads_as_its_folder_does(tmp_path, wrapped):
    class_folders(tmp_path / "in" / ("outer" if wrapped else ""), COUNTS)
    archive = zipped(tmp_path / "in", tmp_path / "pictures.zip")
    dataset = load_dataset(archive)
    folder = load_dataset(tmp_path / "in")
    assert dataset.classes == folder.classes == ("cat", "dog", "emu")
    same = [Path(name).parts[-2:] for name in dataset.test.names]
    assert same == [Path(name).parts[-2:] for name in folder.test.names]
    assert np.array_equal(dataset.test.images(Preprocess(), 8), folder.test.images(Preprocess(), 8))


def test_one_zip_for_each_split_is_read_with_its_split(tmp_path):
    for number, split in enumerate(("train", "val", "test")):
        class_folders(tmp_path / split, {"a": 3, "b": 3}, start=100 * number)
        zipped(tmp_path / split, tmp_path / f"{split}.zip")
        shutil.rmtree(tmp_path / split)
    dataset = load_dataset(tmp_path)
    assert dataset.search.names[0] == "val.zip/a/000.png"
    assert [len(split) for split in dataset.splits.values()] == [6, 6, 6]


def test_broken_files_are_named_skipped_and_counted(tmp_path):
    class_folders(tmp_path, {"a": 6, "b": 6})
    (tmp_path / "a" / "text.jpg").write_text("not a picture")
    (tmp_path / "b" / "empty.png").write_bytes(b"")
    whole = save(tmp_path / "b" / "cut.jpg", 7, (200, 200)).read_bytes()
    (tmp_path / "b" / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    dataset = load_dataset(tmp_path)
    assert len(dataset.skipped) == 3
    assert sum("a/text.jpg: is not a picture" in reason for reason in dataset.skipped) == 1
    assert sum("b/cut.jpg: is damaged" in reason for reason in dataset.skipped) == 1
    assert len(all_names(dataset)) == 12
    assert "3 left out" in dataset.describe()
    assert dataset.train.images(Preprocess(), 8).shape == (len(dataset.train), 8, 8, 3)


def test_a_damaged_member_of_a_zip_is_skipped(tmp_path):
    class_folders(tmp_path / "in", {"a": 5, "b": 5})
    archive = zipped(tmp_path / "in", tmp_path / "in.zip")
    data = bytearray(archive.read_bytes())
    at = data.index(b"IDAT")
    data[at + 4 : at + 8] = b"\0\0\0\0"
    archive.write_bytes(bytes(data))
    dataset = load_dataset(archive)
    assert len(dataset.skipped) == 1
    assert "in.zip/a/000.png" in dataset.skipped[0]


def test_other_files_and_hidden_folders_are_not_looked_at(tmp_path):
    class_folders(tmp_path, {"a": 4, "b": 4})
    class_folders(tmp_path, {".cache": 2, "__MACOSX": 2}, start=50)
    (tmp_path / "a" / "notes.txt").write_text("x")
    (tmp_path / "a" / ".DS_Store").write_text("x")
    dataset = load_dataset(tmp_path)
    assert dataset.classes == ("a", "b")
    assert dataset.skipped == ()


def test_a_picture_beside_the_class_folders_is_left_out_and_named(tmp_path):
    class_folders(tmp_path, {"a": 4, "b": 4})
    save(tmp_path / "stray.png", 99)
    assert load_dataset(tmp_path).skipped == ("stray.png: lies outside the class folders",)


def test_an_empty_class_is_an_error_that_names_it(tmp_path):
    class_folders(tmp_path, {"a": 4, "b": 4, "c": 0})
    with pytest.raises(DataError, match="class 'c' has no picture"):
        load_dataset(tmp_path)


def test_a_class_whose_pictures_are_all_broken_is_an_empty_class(tmp_path):
    class_folders(tmp_path, {"a": 4, "b": 4, "c": 0})
    (tmp_path / "c" / "x.png").write_text("no")
    with pytest.raises(DataError, match=r"class 'c' has no picture that can be read.*c/x.png"):
        load_dataset(tmp_path)


def test_a_class_without_training_pictures_is_an_error(tmp_path):
    class_folders(tmp_path / "train", {"a": 4, "b": 4})
    class_folders(tmp_path / "val", {"a": 2, "b": 2, "c": 2}, start=50)
    class_folders(tmp_path / "test", {"a": 2, "b": 2}, start=70)
    with pytest.raises(DataError, match="class 'c' has no picture to train on"):
        load_dataset(tmp_path)


def test_a_single_class_is_an_error(tmp_path):
    with pytest.raises(DataError, match="single class"):
        load_dataset(class_folders(tmp_path, {"only": 9}))


def test_too_few_pictures_to_split_are_an_error_that_says_what_to_do(tmp_path):
    with pytest.raises(DataError, match="class 'b' has 2 pictures; 3 are needed"):
        load_dataset(class_folders(tmp_path, {"a": 9, "b": 2}))


def test_a_folder_without_class_folders_is_an_error(tmp_path):
    save(tmp_path / "x.png", 1)
    with pytest.raises(DataError, match="not in class folders"):
        load_dataset(tmp_path)


def test_an_empty_folder_is_an_error(tmp_path):
    with pytest.raises(DataError, match="has no pictures"):
        load_dataset(tmp_path)


def test_a_file_that_is_no_zip_is_an_error(tmp_path):
    (tmp_path / "x.zip").write_text("x")
    with pytest.raises(DataError, match="not a zip archive"):
        load_dataset(tmp_path / "x.zip")


def test_fractions_that_do_not_sum_to_one_are_refused(tmp_path):
    with pytest.raises(DataError, match="sum to 1"):
        load_dataset(class_folders(tmp_path, COUNTS), fractions=(0.8, 0.1, 0.3))


def test_copies_of_one_file_stay_on_one_side(tmp_path):
    for name in ("a", "b"):
        for index in range(30):
            (tmp_path / name).mkdir(exist_ok=True)
            picture(index // 3 + 50 * (name == "b")).save(tmp_path / name / f"{index}.png")
    dataset = load_dataset(tmp_path)
    content = {
        split: {pixels.tobytes() for pixels in part.images(Preprocess(), 8)} for split, part in dataset.splits.items()
    }
    assert not content["train"] & content["test"]
    assert not content["train"] & content["search"]


def test_an_unknown_name_offers_near_ones():
    with pytest.raises(UnknownNameError, match="did you mean trashnet"):
        load_dataset("trashnets")


def test_a_path_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        load_dataset(str(tmp_path / "nowhere"))


def test_class_folders_may_be_links_and_a_link_back_up_is_not_followed_for_ever(tmp_path):
    class_folders(tmp_path / "elsewhere", {"a": 4})
    class_folders(tmp_path / "set", {"b": 4}, start=50)
    (tmp_path / "set" / "a").symlink_to(tmp_path / "elsewhere" / "a")
    (tmp_path / "set" / "b" / "loop").symlink_to(tmp_path / "set")
    dataset = load_dataset(tmp_path / "set")
    assert dataset.classes == ("a", "b")
    assert len(all_names(dataset)) == 8


def test_a_pipe_with_the_name_of_a_picture_is_skipped_not_waited_for(tmp_path):
    class_folders(tmp_path, {"a": 4, "b": 4})
    os.mkfifo(tmp_path / "a" / "pipe.png")
    assert load_dataset(tmp_path).skipped == ("a/pipe.png: cannot be read (is not a file)",)
