"""Every reader against the contract, and how others register theirs."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import numpy as np
import pytest

from nas_edge.data import load_dataset, loading
from nas_edge.data.cifar import read_cifar10
from nas_edge.data.csv_list import read_csv
from nas_edge.data.embedded import read_fashion_mnist_mini, read_trashnet
from nas_edge.data.folder import read_folder, read_zip
from nas_edge.data.idx import read_idx
from nas_edge.data.images import ArrayImages
from nas_edge.data.listing import Listing
from nas_edge.data.loading import dataset_names, register_dataset

from .contract import ReaderContract
from .pictures import class_folders
from .test_archives import write_binary, write_idx, write_python
from .test_csv_list import pictures, write
from .test_folder import zipped


class TestTrashNet(ReaderContract):
    @pytest.fixture
    def listing(self) -> Listing:
        return read_trashnet()


class TestFashionMnistMini(ReaderContract):
    @pytest.fixture
    def listing(self) -> Listing:
        return read_fashion_mnist_mini()


class TestFolder(ReaderContract):
    @pytest.fixture
    def listing(self, tmp_path) -> Listing:
        return read_folder(class_folders(tmp_path, {"a": 9, "b": 5}))


class TestZip(ReaderContract):
    @pytest.fixture
    def listing(self, tmp_path) -> Listing:
        return read_zip(zipped(class_folders(tmp_path / "in", {"a": 9, "b": 5}), tmp_path / "in.zip"))


class TestCsv(ReaderContract):
    @pytest.fixture
    def listing(self, tmp_path) -> Listing:
        pictures(tmp_path, 12)
        return read_csv(write(tmp_path, "path,label,group", [f"images/{n}.png,{n % 2},{n // 2}" for n in range(12)]))


class TestCifar10Python(ReaderContract):
    @pytest.fixture
    def listing(self, tmp_path) -> Listing:
        return read_cifar10(write_python(tmp_path / "py"))


class TestCifar10Binary(ReaderContract):
    @pytest.fixture
    def listing(self, tmp_path) -> Listing:
        return read_cifar10(write_binary(tmp_path / "bin"))


class TestIdx(ReaderContract):
    @pytest.fixture
    def listing(self, tmp_path) -> Listing:
        return read_idx(write_idx(tmp_path))


def dots(root: object) -> Listing:
    pixels = np.random.default_rng(0).integers(0, 256, (12, 6, 6, 3), dtype=np.uint8)
    return Listing(ArrayImages(pixels, "dots"), ["x", "y"] * 6, [""] * 12, trusted=True)


def test_a_registered_reader_is_found_by_name(monkeypatch):
    monkeypatch.setattr(loading, "_READERS", dict(loading._READERS))
    register_dataset("dots")(dots)
    assert "dots" in dataset_names()
    assert load_dataset("dots").classes == ("x", "y")


def test_an_entry_point_of_another_package_is_found_by_name(monkeypatch):
    point = EntryPoint("dots", f"{__name__}:dots", loading.ENTRY_POINTS)
    monkeypatch.setattr(loading, "entry_points", lambda group: [point] if group == loading.ENTRY_POINTS else [])
    assert "dots" in dataset_names()
    assert len(load_dataset("dots").train) >= 6
