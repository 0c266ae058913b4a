"""`load_dataset`: a data set by name, folder, archive or CSV."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import entry_points
from pathlib import Path

from nas_edge.data.cifar import is_cifar10, read_cifar10
from nas_edge.data.csv_list import read_csv
from nas_edge.data.dataset import Dataset
from nas_edge.data.embedded import read_fashion_mnist_mini, read_trashnet
from nas_edge.data.folder import read_folder, read_zip
from nas_edge.data.idx import is_idx, read_fashion_mnist, read_idx
from nas_edge.data.listing import Listing, build_dataset
from nas_edge.errors import DataError, UnknownNameError
from nas_edge.progress import Progress
from nas_edge.resources import find

Reader = Callable[[Path | None], Listing]
DEFAULT_FRACTIONS = (0.7, 0.15, 0.15)
ENTRY_POINTS = "nas_edge.datasets"

_READERS: dict[str, Reader] = {}


def register_dataset(name: str) -> Callable[[Reader], Reader]:
    """Decorate a reader, `(root: Path | None) -> Listing`, so that `load_dataset(name)` finds it.

    A package of one's own registers it as an entry point of the group `nas_edge.datasets` instead.
    """

    def register(reader: Reader) -> Reader:
        _READERS[name] = reader
        return reader

    return register


def dataset_names() -> tuple[str, ...]:
    """Names that `load_dataset` knows."""
    return tuple(sorted(_READERS | {point.name: point for point in entry_points(group=ENTRY_POINTS)}))


def load_dataset(
    spec: str | Path,
    *,
    seed: int = 0,
    fractions: Sequence[float] = DEFAULT_FRACTIONS,
    root: Path | None = None,
    progress: Progress | None = None,
) -> Dataset:
    """A data set by name, or from where it lies.

    `spec` is a name ("trashnet", "fashion-mnist-mini", embedded; "cifar10", "fashion-mnist", which lie in `root`, or in
    `data/<name>` where the user stands or under `$NAS_EDGE_HOME`), or a path ("./trashnet" where a folder has the name
    of a data set): a folder with a sub-folder for each class; with
    `train`, `val` and `test` folders of such; with `train.zip`, `val.zip`, `test.zip`; one zip of any of these;
    CIFAR-10's python or binary directory; a directory of idx files; a CSV with the columns path, label and,
    optionally, group and split.

    Splits that are given are kept (`val` is the search split). What is missing is carved out of the training pictures
    by `fractions`, stratified; groups are not divided, nor are copies of one file where no groups are given.

    Args:
        spec: name or path.
        seed: of the splits.
        fractions: of train, search and test, where they are made.
        root: where the files of a named data set lie, None for `data/<name>`.
        progress: told how far checking is.

    Returns:
        The data set; files that cannot be read are left out and named in `skipped`.

    Raises:
        UnknownNameError: neither a name nor a path. DataError: cannot be used (an empty class, a single class, nothing
            readable, bad CSV line). FormatError: a damaged CIFAR-10 or idx file.

    """
    listing = _read(spec, root)
    return build_dataset(str(spec), listing, seed=seed, fractions=fractions, progress=progress)


def _read(spec: str | Path, root: Path | None) -> Listing:
    if isinstance(spec, str):
        if spec in _READERS:
            return _READERS[spec](root)
        for point in entry_points(group=ENTRY_POINTS):
            if point.name == spec:
                reader: Reader = point.load()
                return reader(root)
    path = Path(spec)
    if path.is_dir():
        if is_cifar10(path):
            return read_cifar10(path)
        return read_idx(path) if is_idx(path) else read_folder(path)
    if path.is_file():
        if path.suffix.lower() == ".csv":
            return read_csv(path)
        if path.suffix.lower() == ".zip":
            return read_zip(path)
        raise DataError(f"{path}: is neither a folder, nor a .zip, nor a .csv")
    if isinstance(spec, Path) or "/" in spec or "." in spec:
        raise DataError(f"{spec}: there is no such folder or file")
    raise UnknownNameError("data set", spec, dataset_names(), "(or give a folder, .zip or .csv)")


@register_dataset("trashnet")
def _trashnet(root: Path | None) -> Listing:
    return read_trashnet()


@register_dataset("fashion-mnist-mini")
def _fashion_mnist_mini(root: Path | None) -> Listing:
    return read_fashion_mnist_mini()


@register_dataset("cifar10")
def _cifar10(root: Path | None) -> Listing:
    return read_cifar10(_required(root, "cifar10", "data_batch_1 or data_batch_1.bin"))


@register_dataset("fashion-mnist")
def _fashion_mnist(root: Path | None) -> Listing:
    return read_fashion_mnist(_required(root, "fashion-mnist", "train-images-idx3-ubyte.gz"))


def _required(root: Path | None, name: str, file: str) -> Path:
    if root is None:
        root = find(f"data/{name}")
    if root is None or not root.is_dir():
        where = "is not shipped" if root is None else f"{root} is not a folder"
        raise DataError(
            f"{name}: {where}; give the folder of its files ({file} ...), or put it at data/{name}, here or under"
            " $NAS_EDGE_HOME"
        )
    return root
