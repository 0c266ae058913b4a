"""A CSV of pictures: path, label and, optionally, group and split."""

from __future__ import annotations

import csv
from pathlib import Path

from nas_edge.data.images import FileImages
from nas_edge.data.listing import SPLIT_OF_WORD, Listing
from nas_edge.errors import DataError
from nas_edge.files import read_text

REQUIRED = ("path", "label")
OPTIONAL = ("group", "split")
MAX_CSV_BYTES = 512 * 2**20


def read_csv(path: Path) -> Listing:
    """Pictures that a CSV lists, paths relative to its folder. Other columns are not looked at.

    Raises:
        DataError: a column is missing, a line has no path or label, or a split that is not known (file and line).
        FormatError: not a text file.

    """
    lines = csv.reader(read_text(path, MAX_CSV_BYTES).removeprefix("\ufeff").splitlines(), strict=True)
    members: list[str] = []
    labels: list[str] = []
    groups: list[str] = []
    splits: list[str] = []
    try:
        header = [name.strip().lower() for name in next(lines, [])]
        if missing := [name for name in REQUIRED if name not in header]:
            raise DataError(
                f"{path}:1: the column {missing[0]!r} is missing; the first line names path,label[,group][,split]"
            )
        for row in lines:
            if not any(field.strip() for field in row):
                continue
            where = f"{path}:{lines.line_num}"
            if len(row) != len(header):
                raise DataError(f"{where}: has {len(row)} fields, the header {len(header)}")
            values = {name: field.strip() for name, field in zip(header, row, strict=True)}
            for name in REQUIRED:
                if not values[name]:
                    raise DataError(f"{where}: the {name} is empty")
            members.append(values["path"])
            labels.append(values["label"])
            groups.append(values.get("group", ""))
            splits.append(_split(values.get("split", ""), where))
    except csv.Error as error:
        raise DataError(f"{path}:{lines.line_num}: is not CSV ({error})") from error
    return Listing(FileImages(path.parent, tuple(members)), labels, splits, groups)


def _split(word: str, where: str) -> str:
    if not word:
        return ""
    if word.lower() not in SPLIT_OF_WORD:
        raise DataError(f"{where}: unknown split {word!r}; known: train, val (or search), test")
    return SPLIT_OF_WORD[word.lower()]
