"""Calibration images: as they were, small, and read back in order."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from nas_edge.data import Preprocess, Split, load_dataset
from nas_edge.data.calibration import choose_calibration, read_calibration, write_calibration
from nas_edge.data.images import ArrayImages
from nas_edge.errors import FormatError


def test_small_files_are_kept_byte_for_byte_and_give_the_same_pixels(tmp_path: Path) -> None:
    dataset = load_dataset("trashnet")
    chosen = choose_calibration(dataset.train, 0, 24)
    write_calibration(chosen, dataset.classes, tmp_path / "c.zip")
    back = read_calibration(tmp_path / "c.zip")
    assert (back.labels == chosen.labels).all()
    assert (back.images(Preprocess(), 64) == chosen.images(Preprocess(), 64)).all()


def test_tiny_pictures_lose_nothing_and_large_ones_are_shrunk(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for side, exact in ((32, True), (900, False)):
        pixels = rng.integers(0, 255, (4, side, side, 3), dtype=np.uint8)
        split = Split(ArrayImages(pixels, "a"), np.arange(4), np.array([0, 1, 0, 1]))
        write_calibration(split, ("x", "y"), tmp_path / "c.zip")
        back = read_calibration(tmp_path / "c.zip")
        assert (back.images(Preprocess(), 32) == split.images(Preprocess(), 32)).all() == exact
        assert (tmp_path / "c.zip").stat().st_size < 4 * 150_000


def test_the_same_images_give_the_same_archive(tmp_path: Path) -> None:
    dataset = load_dataset("trashnet")
    for name in ("a.zip", "b.zip"):
        write_calibration(choose_calibration(dataset.train, 3, 8), dataset.classes, tmp_path / name)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04truncated"])
def test_a_damaged_archive_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "c.zip").write_bytes(content)
    with pytest.raises(FormatError, match=r"c\.zip: is not a calibration archive"):
        read_calibration(tmp_path / "c.zip")


def test_an_archive_of_something_else_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "c.zip", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(FormatError, match="not a calibration archive"):
        read_calibration(tmp_path / "c.zip")


def test_grey_pictures_stay_grey_and_small_in_the_archive(tmp_path):
    dataset = load_dataset("fashion-mnist-mini")
    chosen = choose_calibration(dataset.train, 0, 40)
    write_calibration(chosen, dataset.classes, tmp_path / "c.zip")
    assert (tmp_path / "c.zip").stat().st_size < 40 * 800
    again = read_calibration(tmp_path / "c.zip")
    assert np.array_equal(again.images(Preprocess(), 28), chosen.images(Preprocess(), 28))
