"""`Listing`: what every format is read into, and how a listing becomes a `Dataset`."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from nas_edge.data.dataset import SPLIT_NAMES, Dataset, Split
from nas_edge.data.images import BytesSource, ImageSource, JoinedImages, decode, in_threads
from nas_edge.data.splitting import check_fractions, split_stratified
from nas_edge.errors import DataError
from nas_edge.progress import Progress

# What people call their splits. "val" is what choices are made on: our search split.
SPLIT_OF_WORD = {
    "train": "train",
    "training": "train",
    "val": "search",
    "valid": "search",
    "validation": "search",
    "search": "search",
    "test": "test",
    "testing": "test",
}
_DRAFT_SIDE = 64  # JPEG files are decoded to about this size when all that is asked is whether they are whole


@dataclass(frozen=True)
class Listing:
    """Pictures with what a format says of them.

    Attributes:
        source: the pictures.
        labels: class name of each.
        splits: "train", "search", "test" of each, or all "" where the format gives none.
        groups: what may not be divided, "" for a picture that stands alone.
        classes: all class names in order, also of classes without pictures; () to take them from the labels.
        skipped: what was left out already, with reasons.
        trusted: the pictures were checked before (the embedded ones), or are decoded already.
        origin: where they come from, in one line.

    """

    source: ImageSource
    labels: Sequence[str]
    splits: Sequence[str]
    groups: Sequence[str] = ()
    classes: tuple[str, ...] = ()
    skipped: tuple[str, ...] = field(default=())
    trusted: bool = False
    origin: str = ""


def join_listings(parts: Sequence[Listing]) -> Listing:
    """Several listings (one archive a split) as one."""
    orders = {part.classes for part in parts}
    return Listing(
        source=JoinedImages(tuple(part.source for part in parts)),
        labels=[label for part in parts for label in part.labels],
        splits=[split for part in parts for split in part.splits],
        groups=[group for part in parts for group in part.groups],
        classes=parts[0].classes if len(orders) == 1 else order_classes(set().union(*orders)),
        skipped=tuple(reason for part in parts for reason in part.skipped),
        trusted=all(part.trusted for part in parts),
        origin=parts[0].origin,
    )


def order_classes(names: set[str]) -> tuple[str, ...]:
    """Class names in order: by value where all are numbers, else by spelling."""
    if all(name.isdecimal() for name in names):
        return tuple(sorted(names, key=lambda name: (int(name), name)))
    return tuple(sorted(names))


def build_dataset(
    name: str,
    listing: Listing,
    *,
    seed: int,
    fractions: Sequence[float],
    progress: Progress | None = None,
) -> Dataset:
    """Check every picture, number the classes, make the splits that are not given.

    Raises:
        DataError: nothing readable, an empty class, a single class, too few pictures to split, a group in two splits.

    """
    shares = check_fractions(fractions)
    if not len(listing.source):
        raise DataError(f"{name}: no picture found; expected class folders of images, zips of such, or a CSV")
    classes = listing.classes or order_classes(set(listing.labels))
    problems, contents = _check(listing, progress)
    broken = np.array([bool(problem) for problem in problems])
    skipped = listing.skipped + tuple(problem for problem in problems if problem)
    if broken.all():
        raise DataError(f"{name}: none of {len(broken)} pictures can be read; first: {skipped[0]}")
    number_of = {label: number for number, label in enumerate(classes)}
    kept = np.flatnonzero(~broken)
    labels = np.array([number_of[label] for label in listing.labels], np.int64)[kept]
    if len(classes) > 1:  # a single class is told by Dataset
        _check_classes(name, labels, classes, skipped)
    groups = _groups(listing, contents, kept)
    given = np.array([listing.splits[index] for index in kept.tolist()])
    _check_groups(name, listing)
    try:
        parts = _parts(labels, given, groups, classes, shares, seed)
    except DataError as error:
        raise DataError(f"{name}: {error}") from None
    splits = {part: Split(listing.source, kept[parts[part]], labels[parts[part]]) for part in SPLIT_NAMES}
    return Dataset(name, classes, splits, skipped, listing.origin)


def _check(listing: Listing, progress: Progress | None) -> tuple[list[str], list[bytes]]:
    """What is wrong with each picture ("" for nothing), and a hash of each file's content (b"" unknown)."""
    count = len(listing.source)
    problems, contents = [""] * count, [b""] * count
    if listing.trusted:
        return problems, contents
    source = listing.source

    def one(index: int) -> None:
        part, inner = source.find(index) if isinstance(source, JoinedImages) else (source, index)
        if not isinstance(part, BytesSource):
            return
        try:
            data = part.encoded(inner)
            decode(data, part.name(inner), _DRAFT_SIDE)
            contents[index] = hashlib.blake2b(data, digest_size=16).digest()
        except DataError as error:
            problems[index] = str(error)

    in_threads(one, count, progress, "checking images")
    return problems, contents


def _check_classes(name: str, labels: NDArray[np.int64], classes: tuple[str, ...], skipped: tuple[str, ...]) -> None:
    empty = [classes[number] for number in np.flatnonzero(np.bincount(labels, minlength=len(classes)) == 0)]
    if empty:
        why = f" ({len(skipped)} left out, first {skipped[0]})" if skipped else ""
        raise DataError(f"{name}: class {empty[0]!r} has no picture that can be read{why}; add some or remove it")


def _check_groups(name: str, listing: Listing) -> None:
    """Raise DataError where the format itself divides a group over the splits that it gives."""
    split_of: dict[str, str] = {}
    for group, split in zip(listing.groups, listing.splits, strict=False):
        if group and (other := split_of.setdefault(group, split)) != split:
            raise DataError(
                f"{name}: group {group!r} is in the {other} split and in the {split} split; give all its pictures one"
                " split, or leave the column 'split' out: then splits are made that divide no group"
            )


def _groups(listing: Listing, contents: list[bytes], kept: NDArray[np.int64]) -> list[object] | None:
    """Groups as given; without any, equal files are a group: a copy in the test split would be known by heart."""
    if any(listing.groups):
        return [listing.groups[index] or ("alone", index) for index in kept.tolist()]
    found = [contents[index] for index in kept.tolist()]
    known = [content for content in found if content]
    if len(set(known)) == len(known):
        return None
    return [content or ("alone", position) for position, content in enumerate(found)]


def _parts(
    labels: NDArray[np.int64],
    given: NDArray[np.str_],
    groups: list[object] | None,
    classes: tuple[str, ...],
    shares: tuple[float, float, float],
    seed: int,
) -> dict[str, NDArray[np.int64]]:
    """Positions of each split; those that are not given are carved out of the training pictures."""
    have = {part: np.flatnonzero(given == part) for part in SPLIT_NAMES}
    rest = np.flatnonzero(given == "")
    if len(rest) and len(rest) < len(given):
        raise DataError("some pictures have a split and some have none; give all or none")
    pool = rest if len(rest) else have["train"]
    missing = [part for part in ("search", "test") if not len(have[part])]
    if not missing or not len(pool):
        return have
    share_of = dict(zip(SPLIT_NAMES, shares, strict=True))
    wanted = [share_of["train"], *(share_of[part] for part in missing)]
    carved = split_stratified(
        labels[pool],
        [share / sum(wanted) for share in wanted],
        seed=seed,
        classes=[classes[number] for number in range(len(classes))],
        groups=None if groups is None else [groups[position] for position in pool.tolist()],
    )
    for part, positions in zip(["train", *missing], carved, strict=True):
        have[part] = pool[positions]
    return have
