"""CIFAR-10 and idx files: their published formats, damage, and pickles that want more than arrays."""

from __future__ import annotations

import gzip
import hashlib
import os
import pickle
import struct

import numpy as np
import pytest
from PIL import Image

from nas_edge.data import Preprocess, load_dataset
from nas_edge.data.cifar import CIFAR10, read_binary_batch
from nas_edge.errors import DataError, FormatError

BATCHES = [*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]


def cifar_batch(number: int, count: int = 40) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(number)
    return rng.integers(0, 256, (count, 3072), dtype=np.uint8), np.arange(count) % 10


class ArrayOfPython2:
    """Pickles as numpy did when the published batches were written."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __reduce__(self):
        return self.array.__reduce__()


def write_python(root, protocol: int = 2):
    root.mkdir()
    for number, name in enumerate(BATCHES):
        data, labels = cifar_batch(number)
        batch = {b"data": ArrayOfPython2(data), b"labels": labels.tolist(), b"batch_label": name.encode()}
        (root / name).write_bytes(pickle.dumps(batch, protocol=protocol))
    return root


def write_binary(root):
    root.mkdir()
    for number, name in enumerate(BATCHES):
        data, labels = cifar_batch(number)
        (root / f"{name}.bin").write_bytes(np.column_stack([labels.astype(np.uint8), data]).tobytes())
    return root


def test_both_versions_of_cifar10_give_the_same_pictures(tmp_path):
    python = load_dataset(write_python(tmp_path / "py"))
    binary = load_dataset("cifar10", root=write_binary(tmp_path / "bin"))
    assert python.classes == binary.classes == CIFAR10
    assert len(python.test) == 40
    assert len(python.train) + len(python.search) == 200
    for split in ("train", "search", "test"):
        assert np.array_equal(python.splits[split].labels, binary.splits[split].labels)
        pixels = python.splits[split].images(Preprocess(), 32)
        assert np.array_equal(pixels, binary.splits[split].images(Preprocess(), 32))
    data, _ = cifar_batch(5)
    assert np.array_equal(python.test.images(Preprocess(), 32)[7], data[7].reshape(3, 32, 32).transpose(1, 2, 0))


def test_a_folder_that_holds_the_published_folder_will_do(tmp_path):
    write_python(tmp_path / "cifar-10-batches-py")
    assert load_dataset(tmp_path).classes == CIFAR10


class Evil:
    """A pickle that runs a command when it is loaded by Python's own reader."""

    def __reduce__(self):
        return (os.system, ("echo oops",))


@pytest.mark.parametrize("payload", [Evil(), {b"data": Evil(), b"labels": []}])
def test_a_pickle_that_asks_for_more_than_arrays_is_refused(tmp_path, payload):
    root = write_python(tmp_path / "py")
    (root / "data_batch_2").write_bytes(pickle.dumps(payload))
    with pytest.raises(FormatError, match=r"data_batch_2: is not a batch.*system"):
        load_dataset(root)


@pytest.mark.parametrize("content", [b"", b"garbage", pickle.dumps([1, 2]), pickle.dumps({b"labels": [1]})])
def test_a_damaged_python_batch_is_named(tmp_path, content):
    root = write_python(tmp_path / "py")
    (root / "test_batch").write_bytes(content)
    with pytest.raises(FormatError, match="test_batch"):
        load_dataset(root)


def test_a_truncated_python_batch_is_named_wherever_it_ends(tmp_path):
    root = write_python(tmp_path / "py")
    whole = (root / "test_batch").read_bytes()
    for end in range(1, len(whole), len(whole) // 23):
        (root / "test_batch").write_bytes(whole[:end])
        with pytest.raises(FormatError, match="test_batch"):
            load_dataset(root)


def test_arrays_of_other_shapes_and_labels_outside_are_refused(tmp_path):
    root = write_python(tmp_path / "py")
    for data, labels in [
        (np.zeros((4, 10), np.uint8), [0] * 4),
        (np.zeros((4, 3072), np.float32), [0] * 4),
        (np.zeros((4, 3072), np.uint8), [0, 1, 2, 10]),
        (np.zeros((4, 3072), np.uint8), [0]),
    ]:
        batch = {b"data": ArrayOfPython2(data), b"labels": labels}
        (root / "test_batch").write_bytes(pickle.dumps(batch, protocol=2))
        with pytest.raises(FormatError, match="test_batch"):
            load_dataset(root)


def test_a_truncated_binary_batch_and_a_missing_one_are_named(tmp_path):
    root = write_binary(tmp_path / "bin")
    path = root / "data_batch_3.bin"
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(FormatError, match=r"data_batch_3.bin.*truncated"):
        load_dataset(root)
    path.unlink()
    with pytest.raises(DataError, match=r"data_batch_3.bin: is missing"):
        load_dataset(root)


def test_cifar10_by_name_needs_to_know_where_its_files_are(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(DataError, match=r"is not shipped; give the folder .* or put it at data/cifar10"):
        load_dataset("cifar10")
    with pytest.raises(DataError, match="neither data_batch_1"):
        load_dataset("cifar10", root=tmp_path)
    given = load_dataset("cifar10", root=write_binary(tmp_path / "bin"))
    (tmp_path / "here" / "data").mkdir()
    (tmp_path / "bin").rename(tmp_path / "here" / "data" / "cifar10")
    found = load_dataset("cifar10")
    assert [split.sha256() for split in found.splits.values()] == [split.sha256() for split in given.splits.values()]


def test_records_rebuilt_from_the_real_cifar10_are_the_official_ones(shared_dir, tmp_path):
    mosaic = np.asarray(Image.open(shared_dir / "data/cifar10/test.webp").convert("RGB"))
    pixels = mosaic.reshape(100, 32, 100, 32, 3).swapaxes(1, 2).reshape(-1, 32, 32, 3)
    labels = np.load(shared_dir / "data/cifar10/labels.npy", allow_pickle=False)[50000:]
    records = np.column_stack([labels, pixels.transpose(0, 3, 1, 2).reshape(10000, -1)])
    assert hashlib.sha1(records.tobytes()).hexdigest() == "67eb016db431130d61cd03c7ad570b013799c88c"
    (tmp_path / "test_batch.bin").write_bytes(records.tobytes())
    read, numbers = read_binary_batch(tmp_path / "test_batch.bin")
    assert np.array_equal(read, pixels)
    assert np.array_equal(numbers, labels)


def idx_bytes(array: np.ndarray) -> bytes:
    return struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def write_idx(root, suffix: str = ".gz"):
    pack = gzip.compress if suffix else bytes
    for number, (part, count) in enumerate([("train", 60), ("t10k", 20)]):
        pixels = np.random.default_rng(number).integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = (np.arange(count) % 10).astype(np.uint8)
        (root / f"{part}-images-idx3-ubyte{suffix}").write_bytes(pack(idx_bytes(pixels)))
        (root / f"{part}-labels-idx1-ubyte{suffix}").write_bytes(pack(idx_bytes(labels)))
    return root


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_idx_files_are_read_plain_and_gzipped(tmp_path, suffix):
    dataset = load_dataset("fashion-mnist", root=write_idx(tmp_path, suffix))
    assert dataset.classes[7] == "Sneaker"
    assert len(dataset.test) == 20
    assert len(dataset.train) + len(dataset.search) == 60
    pixels = dataset.test.images(Preprocess(), 28)
    assert pixels.shape == (20, 28, 28, 3)
    assert (pixels[..., 0] == pixels[..., 2]).all()
    assert load_dataset(tmp_path).classes == tuple("0123456789")


def test_the_real_fashion_mnist_pictures_survive_idx(shared_dir, tmp_path):
    folder = shared_dir / "data/fashion_mnist_mini"
    for split, part in [("train", "train"), ("test", "t10k")]:
        mosaic = np.asarray(Image.open(folder / f"{split}.png"))
        pixels = mosaic.reshape(-1, 28, 100, 28).swapaxes(1, 2).reshape(-1, 28, 28)
        labels = np.load(folder / f"{split}_labels.npy", allow_pickle=False)
        (tmp_path / f"{part}-images-idx3-ubyte").write_bytes(idx_bytes(np.ascontiguousarray(pixels)))
        (tmp_path / f"{part}-labels-idx1-ubyte").write_bytes(idx_bytes(labels))
    dataset = load_dataset("fashion-mnist", root=tmp_path)
    assert dataset.test.counts(10).tolist() == [200, 203, 214, 190, 219, 195, 197, 200, 194, 188]
    assert np.array_equal(dataset.test.images(Preprocess(), 28)[3, :, :, 1], pixels[3])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data[:-3], "truncated"),
        (lambda data: data + b"x", "goes on after its end"),
        (lambda data: b"\0\0\x0d\3" + data[4:], "not an idx file"),
        (lambda data: data[:6], "not an idx file"),
        (lambda data: data[:4] + b"\xff" * 12 + data[16:], "more than such a file may"),
    ],
)
def test_a_damaged_idx_file_is_named(tmp_path, change, message):
    path = write_idx(tmp_path, "") / "t10k-images-idx3-ubyte"
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(FormatError, match=f"t10k-images-idx3-ubyte: .*{message}"):
        load_dataset(tmp_path)


def test_a_truncated_gzip_and_missing_labels_are_named(tmp_path):
    path = write_idx(tmp_path) / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(FormatError, match="truncated"):
        load_dataset(tmp_path)
    (write_idx(tmp_path) / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(DataError, match=r"t10k-labels-idx1-ubyte.* is missing"):
        load_dataset(tmp_path)
