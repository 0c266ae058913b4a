"""Which pictures these are, by content: told apart under the same names, the same wherever they lie."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from nas_edge.data import Dataset, load_dataset
from nas_edge.data.content import content_sha256
from nas_edge.data.dataset import SPLIT_NAMES, Split
from nas_edge.data.images import ArrayImages, FileImages, ImageSource, JoinedImages
from nas_edge.errors import DataError

from .pictures import class_folders

COUNT = 12


def of_source(source: ImageSource) -> Dataset:
    """Its pictures dealt out to the three splits."""
    labels = np.arange(len(source)) // 3 % 2
    parts = {name: np.arange(number, len(source), 3) for number, name in enumerate(SPLIT_NAMES)}
    return Dataset("x", ("a", "b"), {name: Split(source, part, labels[part]) for name, part in parts.items()})


def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (COUNT, 6, 6, 3), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return class_folders(tmp_path / "folder", {"a": 8, "b": 8})


def test_pictures_are_the_same_wherever_they_lie(folder: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(folder, tmp_path / "moved")
    assert content_sha256(load_dataset(folder)) == content_sha256(load_dataset(moved))


@pytest.mark.parametrize("packed", [False, True])
def test_one_byte_in_one_file_is_another_data_set(folder: Path, tmp_path: Path, packed: bool) -> None:
    def content() -> str:
        dataset = load_dataset(shutil.make_archive(str(tmp_path / "images"), "zip", folder) if packed else folder)
        assert not dataset.skipped
        return content_sha256(dataset)

    before = content()
    file = sorted(folder.rglob("*.*"))[3]
    size = file.stat().st_size
    shutil.copyfile(file, tmp_path / "kept")
    file.write_bytes(file.read_bytes()[:-1] + b"?")  # within the end mark, which no decoder misses
    assert file.stat().st_size == size
    assert content() != before
    shutil.copyfile(tmp_path / "kept", file)
    assert content() == before


def test_one_pixel_of_arrays_is_another_data_set() -> None:
    before, changed = pixels(), pixels()
    changed[7, 2, 3, 1] ^= 1
    names = [of_source(ArrayImages(array, "x")).search.names for array in (before, changed)]
    assert names[0] == names[1]
    digests = [content_sha256(of_source(ArrayImages(array, "x"))) for array in (before, changed)]
    assert digests[0] != digests[1]
    joined = JoinedImages((ArrayImages(before[:5], "x"), ArrayImages(before[5:], "y")))
    assert content_sha256(of_source(joined)) == digests[0]  # it matters not what they are called


def test_of_many_bytes_every_nth_picture_is_read_and_of_the_others_the_size(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = load_dataset(folder)
    source = dataset.train.source
    assert isinstance(source, FileImages)
    size = sum(source.size(index) for index in range(len(source)))
    read, whole = list[int](), FileImages.read
    monkeypatch.setattr(FileImages, "read", lambda self, index: read.append(index) or whole(self, index))
    before = content_sha256(dataset, size // 4 + 1)
    assert len(set(read)) == len(read) == len(source) / 4
    for index in set(range(len(source))) - set(read):
        with open(folder / source.name(index), "ab") as handle:
            handle.write(b"?")
        assert content_sha256(dataset, size // 4 + 1) != before
        break


def test_a_source_of_ones_own_needs_no_more_than_to_be_opened() -> None:
    class Drawn:
        def __init__(self, grey: int) -> None:
            self.grey = grey

        def __len__(self) -> int:
            return COUNT

        def name(self, index: int) -> str:
            return f"drawn/{index}"

        def open(self, index: int) -> np.ndarray:
            return np.full((4, 4), self.grey + index, np.uint8)

    first, again, other = (content_sha256(of_source(Drawn(grey))) for grey in (0, 0, 1))
    assert first == again != other


def test_a_file_that_is_gone_is_told(folder: Path) -> None:
    dataset = load_dataset(folder)
    (folder / dataset.search.names[0]).unlink()
    with pytest.raises(DataError, match="cannot be read"):
        content_sha256(dataset)
