"""What a training was begun with, noted beside its checkpoints: nothing else goes on from them.

A checkpoint itself says which recipe it is of. That its images, resolutions, start and teacher are others cannot be
seen from its weights, which fit all the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas_edge.errors import FormatError, TrainingError
from nas_edge.files import read_json, write_json

if TYPE_CHECKING:
    from nas_edge.data import Dataset
    from nas_edge.pipeline.learning.starting import Start
    from nas_edge.pipeline.learning.teaching import BundleTeacher
    from nas_edge.spaces import Template

BEGINNING = "beginning.json"
_TOLD, _LONGEST = 3, 60


def beginning(
    template: Template, dataset: Dataset, start: Start | None, teacher: BundleTeacher | None
) -> dict[str, Any]:
    """What of a training its checkpoints do not show, as plain data."""
    splits = {name: f"{len(split)} pictures, {split.sha256()[:8]}" for name, split in dataset.splits.items()}
    return {
        "space": template.to_dict(),
        "images": {**splits, "classes": list(dataset.classes)},
        "init": {"name": start.name, "source": start.source} if start else {"name": None, "source": None},
        "teacher": teacher.bundle.name if teacher else None,
    }


def hold_to_beginning(work: Path, facts: Mapping[str, Any], begun: bool) -> None:
    """Note what a training is of; where it has begun, hold that against what was noted.

    Args:
        work: directory of its checkpoints.
        facts: plain data, mappings within mappings.
        begun: whether there is something to go on from.

    Raises:
        TrainingError: something differs: what, then and now. FormatError: the note is damaged.
    """
    path = work / BEGINNING
    if not begun or not path.is_file():
        write_json(path, facts)
        return
    noted = read_json(path)
    if not isinstance(noted, Mapping):
        raise FormatError(f"{path}: does not describe a training; delete {work} to train anew")
    then, now = dict(_flat(noted)), dict(_flat(json.loads(json.dumps(facts))))
    different = [key for key in sorted(then.keys() | now.keys()) if then.get(key) != now.get(key)]
    if different:
        changes = [f"{key}: {_short(then.get(key))} then, {_short(now.get(key))} now" for key in different]
        told = ", ".join(changes[:_TOLD]) + (f", and {len(changes) - _TOLD} more" if len(changes) > _TOLD else "")
        raise TrainingError(f"{work}: was begun with something else ({told}); use that, or another --out")


def _flat(data: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in data.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{path}{key}.")
        else:
            yield f"{path}{key}", value


def _short(value: object) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
