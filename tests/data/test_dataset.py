"""`Split` and `Dataset`: order, caching, and the embedded photographs."""

from __future__ import annotations

import errno
import hashlib
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import nas_edge.data.dataset as dataset_module
from nas_edge.data import Preprocess, load_dataset
from nas_edge.data.dataset import Split
from nas_edge.data.embedded import FASHION, TRASHNET
from nas_edge.data.images import ArrayImages
from nas_edge.data.preprocess import Resize
from nas_edge.data.splitting import split_stratified
from nas_edge.errors import DataError, StorageError


def small_split(count: int = 10, cache_bytes: int = 2**20) -> Split:
    pixels = np.random.default_rng(0).integers(0, 256, (count, 12, 12, 3), dtype=np.uint8)
    return Split(ArrayImages(pixels, "x"), np.arange(count), np.arange(count) % 2, cache_bytes)


def test_the_embedded_photographs_are_the_authors_split():
    dataset = load_dataset("trashnet")
    assert dataset.classes == ("cardboard", "glass", "metal", "paper", "plastic", "trash")
    assert dataset.train.counts(6).tolist() == [287, 352, 285, 403, 347, 91]
    assert dataset.search.counts(6).tolist() == [46, 65, 56, 83, 61, 17]
    assert dataset.test.counts(6).tolist() == [70, 82, 68, 108, 74, 29]
    assert dataset.skipped == ()
    assert "MIT" in dataset.source


def test_the_embedded_files_are_those_that_their_origin_names():
    origin = (TRASHNET / "ORIGIN.md").read_text()
    for name in ("train.zip", "val.zip", "test.zip"):
        assert hashlib.sha256((TRASHNET / name).read_bytes()).hexdigest() in origin
    assert "Gary Thung" in (TRASHNET / "LICENSE").read_text()


def test_the_embedded_clothes_are_the_first_of_their_data_set():
    dataset = load_dataset("fashion-mnist-mini")
    given = dataset.train.counts(10) + dataset.search.counts(10)
    assert given.tolist() == [560, 643, 608, 612, 584, 594, 590, 617, 590, 602]
    assert dataset.test.counts(10).tolist() == [200, 203, 214, 190, 219, 195, 197, 200, 194, 188]
    origin = (FASHION / "ORIGIN.md").read_text()
    for name in ("train.png", "test.png", "train_labels.npy", "test_labels.npy"):
        assert hashlib.sha256((FASHION / name).read_bytes()).hexdigest() in origin
    assert "Zalando" in (FASHION / "LICENSE").read_text()


def test_pictures_of_a_mosaic_are_cut_out_row_by_row():
    with Image.open(FASHION / "test.png") as mosaic:
        expected = np.asarray(mosaic)[28 * 3 : 28 * 4, 28 * 7 : 28 * 8]
    assert np.array_equal(load_dataset("fashion-mnist-mini").test.open(307), expected)


def test_pictures_come_in_the_order_of_labels_and_names():
    split = load_dataset("trashnet").search
    images = split.images(Preprocess(), 16)
    for position in (0, 100, 327):
        assert np.array_equal(images[position], Preprocess().resize(split.open(position), 16))
    assert split.names[0].startswith("val.zip/cardboard/")
    assert np.array_equal(split.subset([5, 2]).images(Preprocess(), 16), images[[5, 2]])


def test_pictures_are_decoded_once_for_each_geometry_and_side():
    split = small_split()
    first = split.images(Preprocess(), 8)
    assert split.images(Preprocess(mean=(0, 0, 0)), 8) is first
    assert split.images(Preprocess(Resize.CROP, 0.5), 8) is not first
    assert not first.flags.writeable


def test_the_memory_bound_drops_the_oldest_arrays():
    split = small_split(cache_bytes=2 * 10 * 8 * 8 * 3)
    first, second = split.images(Preprocess(), 8), split.images(Preprocess(Resize.CROP, 0.5), 8)
    split.images(Preprocess(Resize.CROP, 0.6), 8)
    assert split.images(Preprocess(Resize.CROP, 0.5), 8) is second
    assert split.images(Preprocess(), 8) is not first


def test_more_than_the_memory_bound_is_mapped_from_a_file_that_nobody_finds(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    pixels = small_split(cache_bytes=100).images(Preprocess(), 8)
    assert isinstance(pixels, np.memmap)
    assert np.array_equal(pixels, small_split().images(Preprocess(), 8))
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_told_in_one_line(monkeypatch):
    def full(**_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(dataset_module.tempfile, "TemporaryFile", full)
    with pytest.raises(StorageError, match="TMPDIR"):
        small_split(cache_bytes=100).images(Preprocess(), 8)


def test_progress_is_told():
    seen: list[tuple[float, float]] = []
    small_split().images(Preprocess(), 8, progress=lambda done, total, text: seen.append((done, total)))
    assert seen[-1] == (10, 10)


def test_a_file_that_breaks_after_loading_is_a_data_error(tmp_path):
    from .pictures import class_folders

    dataset = load_dataset(class_folders(tmp_path, {"a": 5, "b": 5}))
    Path(tmp_path, dataset.train.names[0]).write_text("broken")
    with pytest.raises(DataError, match=dataset.train.names[0]):
        dataset.train.images(Preprocess(), 8)


def test_labels_and_pictures_must_be_as_many():
    with pytest.raises(DataError, match="as many labels"):
        Split(ArrayImages(np.zeros((3, 2, 2, 3), np.uint8), "x"), np.arange(3), np.arange(2))


def test_the_hash_tells_which_pictures_and_labels():
    split = small_split()
    assert split.sha256() == small_split().sha256()
    assert split.sha256() != split.subset(range(9)).sha256()


def test_stratified_parts_have_the_fractions_asked_for():
    labels = np.repeat([0, 1, 2], [700, 200, 100])
    parts = split_stratified(labels, (0.7, 0.15, 0.15), seed=3, classes="abc")
    counts = np.array([np.bincount(labels[part]) for part in parts])
    assert counts.tolist() == [[490, 140, 70], [105, 30, 15], [105, 30, 15]]
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(1000))


def test_large_groups_are_spread_so_that_each_part_has_each_class():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(40), rng.integers(5, 60, 40))
    labels = (groups % 4).astype(np.int64)
    parts = split_stratified(labels, (0.7, 0.15, 0.15), seed=0, classes="abcd", groups=groups.tolist())
    assert not set(groups[parts[0]]) & set(groups[parts[1]])
    for part, share in zip(parts, (0.7, 0.15, 0.15), strict=True):
        assert abs(len(part) / len(labels) - share) < 0.06
        assert set(labels[part]) == {0, 1, 2, 3}
