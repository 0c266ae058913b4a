"""Class folders: on disk or in zip archives, with or without split folders above them."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

from nas_edge.data.images import IMAGE_SUFFIXES, FileImages, ImageSource, ZipImages
from nas_edge.data.listing import SPLIT_OF_WORD, Listing, join_listings, order_classes
from nas_edge.errors import DataError
from nas_edge.files import BROKEN_ARCHIVE

_Parts = tuple[str, ...]


def read_folder(root: Path) -> Listing:
    """Pictures in class sub-folders of a folder, or of its `train`, `val`, `test` sub-folders, or in zips of such.

    Raises:
        DataError: the folder cannot be read, or has no class folders.

    """
    archives = split_archives(root)
    if archives:
        return join_listings([read_zip(path, split) for path, split in archives])
    files, folders = _walk(root)
    return _list(str(root), files, folders, lambda members: FileImages(root, members))


def read_zip(path: Path, split: str = "") -> Listing:
    """Pictures in a zip archive of class folders (or of split folders of class folders).

    Args:
        path: the archive.
        split: the split that the whole archive is, "" if it holds them all.

    Raises:
        DataError: not a zip archive, damaged, or without class folders.

    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (OSError, *BROKEN_ARCHIVE) as error:
        raise DataError(f"{path}: is not a zip archive that can be read ({error})") from error
    members = [PurePosixPath(name).parts for name in names]
    spelling = dict(zip(members, names, strict=True))
    files = [parts for parts, name in zip(members, names, strict=True) if not name.endswith("/")]
    folders = {parts[:depth] for parts in members for depth in range(1, len(parts))}
    folders |= {parts for parts, name in zip(members, names, strict=True) if name.endswith("/")}

    def source(chosen: tuple[str, ...]) -> ImageSource:
        return ZipImages(path, tuple(spelling[PurePosixPath(name).parts] for name in chosen))

    return _list(str(path), files, folders, source, split)


def split_archives(root: Path) -> list[tuple[Path, str]]:
    """`train.zip`, `val.zip`, `test.zip` of a folder with their splits; [] unless there is one to train on."""
    found = [(path, SPLIT_OF_WORD.get(path.stem.lower(), "")) for path in sorted(root.glob("*.zip"))]
    found = [(path, split) for path, split in found if split]
    return found if any(split == "train" for _, split in found) else []


def _walk(root: Path) -> tuple[list[_Parts], set[_Parts]]:
    files: list[_Parts] = []
    folders: set[_Parts] = set()

    def fail(error: OSError) -> None:
        raise DataError(f"{error.filename}: cannot be read ({error.strerror})") from error

    seen: set[tuple[int, int]] = set()  # class folders may be links; a link back up must not be followed for ever
    for directory, subfolders, names in os.walk(root, onerror=fail, followlinks=True):
        status = os.stat(directory)
        if (status.st_dev, status.st_ino) in seen:
            subfolders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        here = Path(directory).relative_to(root).parts
        subfolders[:] = sorted(name for name in subfolders if not name.startswith((".", "__")))
        folders.update((*here, name) for name in subfolders)
        files.extend((*here, name) for name in sorted(names))
    return files, folders


def _list(
    where: str,
    files: Sequence[_Parts],
    folders: set[_Parts],
    source: Callable[[tuple[str, ...]], ImageSource],
    split: str = "",
) -> Listing:
    files = [f for f in files if _is_picture(f)]
    folders = {f for f in folders if not any(part.startswith((".", "__")) for part in f)}
    if not files:
        raise DataError(f"{where}: has no pictures; expected class folders of {', '.join(sorted(IMAGE_SUFFIXES))}")
    # An archive often wraps everything in one folder of its own name.
    depth = 0
    while len({f[: depth + 1] for f in folders if len(f) > depth}) == 1 and any(len(f) > depth + 1 for f in folders):
        depth += 1
    tops = {f[depth] for f in folders if len(f) == depth + 1}
    has_splits = not split and bool(tops) and all(top.lower() in SPLIT_OF_WORD for top in tops)
    class_depth = depth + 1 if has_splits else depth
    chosen = [f for f in files if len(f) > class_depth + 1]
    stray = [f for f in files if len(f) <= class_depth + 1]
    if not chosen:
        raise DataError(
            f"{where}: its pictures are not in class folders; put those of each class in a folder of its name"
        )
    return Listing(
        source=source(tuple("/".join(f) for f in chosen)),
        labels=[f[class_depth] for f in chosen],
        splits=[SPLIT_OF_WORD[f[depth].lower()] if has_splits else split for f in chosen],
        classes=order_classes({f[class_depth] for f in folders if len(f) == class_depth + 1}),
        skipped=tuple(f"{'/'.join(f)}: lies outside the class folders" for f in stray),
    )


def _is_picture(parts: _Parts) -> bool:
    hidden = any(part.startswith((".", "__")) for part in parts)
    return not hidden and PurePosixPath(parts[-1]).suffix.lower() in IMAGE_SUFFIXES
