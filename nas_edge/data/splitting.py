"""Making splits: stratified, seeded; groups are never divided."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from nas_edge.errors import DataError


def check_fractions(fractions: Sequence[float]) -> tuple[float, float, float]:
    """Fractions of train, search, test. Raises DataError unless each is above 0 and they sum to 1."""
    if len(fractions) != 3 or min(fractions) <= 0 or abs(sum(fractions) - 1) > 1e-6:
        raise DataError(f"fractions of train, search and test must be positive and sum to 1, not {tuple(fractions)}")
    train, search, test = (float(fraction) for fraction in fractions)
    return train, search, test


def split_stratified(
    labels: NDArray[np.int64],
    fractions: Sequence[float],
    *,
    seed: int,
    classes: Sequence[str],
    groups: Sequence[Hashable] | None = None,
) -> list[NDArray[np.int64]]:
    """Divide pictures into parts so that each class has about the same share in each.

    Args:
        labels: int64 [n], class numbers.
        fractions: share of each part; they sum to 1.
        seed: the same seed gives the same parts.
        classes: names, for messages.
        groups: what may not be divided, one for each picture (a patient, an object, a file's content); None: every
            picture stands alone.

    Returns:
        One sorted int64 array of positions for each part, together all positions.

    Raises:
        DataError: a class has fewer pictures (or groups) than there are parts.

    """
    generator = np.random.default_rng(seed)
    numbers = _group_numbers(groups, len(labels))
    for number, name in enumerate(classes):
        count = len(np.unique(numbers[labels == number]))
        if count < len(fractions):
            what = "picture" if groups is None else "group of pictures"
            raise DataError(
                f"class {name!r} has {count} {what}{'' if count == 1 else 's'}; {len(fractions)} are needed to make "
                "splits: add some, or give the splits yourself"
            )
    part_of_group = _assign(labels, numbers, np.asarray(fractions, float), len(classes), generator)
    parts = part_of_group[numbers]
    return [np.flatnonzero(parts == part) for part in range(len(fractions))]


def _group_numbers(groups: Sequence[Hashable] | None, count: int) -> NDArray[np.int64]:
    if groups is None:
        return np.arange(count)
    known: dict[Hashable, int] = {}
    return np.array([known.setdefault(group, len(known)) for group in groups], np.int64)


def _assign(
    labels: NDArray[np.int64],
    numbers: NDArray[np.int64],
    fractions: NDArray[np.float64],
    classes: int,
    generator: np.random.Generator,
) -> NDArray[np.int64]:
    """Greedy iterative stratification: the largest group first, each to the part that lacks its classes most.

    Sechidis, Tsoumakas, Vlahavas: On the Stratification of Multi-Label Data, ECML 2011.
    """
    groups = int(numbers.max(initial=-1)) + 1
    content = np.zeros((groups, classes))
    np.add.at(content, (numbers, labels), 1)
    totals = content.sum(axis=0)
    wanted = fractions[:, None] * totals  # [parts, classes], what is still to be filled
    # Shares, not counts, so that a rare class weighs as much as a common one.
    shares = content / np.maximum(totals, 1)
    order = generator.permutation(groups)
    order = order[np.argsort(-content[order].sum(axis=1), kind="stable")]
    part_of_group = np.zeros(groups, np.int64)
    for group in order.tolist():
        lack = wanted @ (shares[group] / np.maximum(totals, 1))
        part = int(np.argmax(lack))
        part_of_group[group] = part
        wanted[part] -= content[group]
    _give_each_part_its_class(part_of_group, content, len(fractions))
    return part_of_group


def _give_each_part_its_class(part_of_group: NDArray[np.int64], content: NDArray[np.float64], parts: int) -> None:
    """Move one small group where rounding left a part without a class that another part has twice."""
    for number in range(content.shape[1]):
        holders = np.flatnonzero(content[:, number])
        for part in range(parts):
            counts = np.bincount(part_of_group[holders], minlength=parts)
            if counts[part] or not counts.max() > 1:
                continue
            donors = holders[part_of_group[holders] == int(np.argmax(counts))]
            part_of_group[donors[np.argmin(content[donors].sum(axis=1))]] = part
