"""What a training was begun with, noted beside its checkpoints: nothing else goes on from them.

A checkpoint itself says which recipe it is of. That its images, resolutions, start and teacher are others cannot be
seen from its weights, which fit all the same: nor from names, of pictures, files and bundles, that others have too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas_edge.differences import differences, leaves
from nas_edge.errors import FormatError, TrainingError
from nas_edge.files import read_json, write_json
from nas_edge.pipeline.bundle import WEIGHTS
from nas_edge.pipeline.running.directory import sha256

if TYPE_CHECKING:
    from nas_edge.data import Dataset
    from nas_edge.pipeline.learning.starting import Start
    from nas_edge.pipeline.learning.teaching import BundleTeacher
    from nas_edge.spaces import Template

BEGINNING = "beginning.json"
_LATER = ("content", "images.content", "init.content", "preprocess", "teacher_network")  # in older notes there are none
_DIGITS = 16


def beginning(
    template: Template, dataset: Dataset, start: Start | None, teacher: BundleTeacher | None
) -> dict[str, Any]:
    """What of a training its checkpoints do not show, as plain data."""
    splits = {name: f"{len(split)} pictures, {split.sha256()[:8]}" for name, split in dataset.splits.items()}
    started = {"name": start.name, "source": start.source} if start else {"name": None, "source": None}
    seen_by = start or teacher
    return {
        "space": template.to_dict(),
        "images": {**splits, "classes": list(dataset.classes), "content": content_of(dataset)},
        "init": {**started, "content": _of_file(start.file) if start and start.file else None},
        "preprocess": seen_by.preprocess.to_dict() if seen_by else None,
        "teacher": teacher.bundle.name if teacher else None,
        "teacher_network": _network(teacher) if teacher else None,
    }


def content_of(dataset: Dataset) -> str:
    """Which pictures these are, whatever they are called. Raises DataError."""
    from nas_edge.data.content import content_sha256

    return content_sha256(dataset)[:_DIGITS]


def _network(teacher: BundleTeacher) -> str:
    arch = json.dumps(teacher.bundle.space.to_json(teacher.arch), sort_keys=True)
    return f"{_of_file(teacher.bundle.path / WEIGHTS)}, {hashlib.sha256(arch.encode()).hexdigest()[:8]}"


def _of_file(path: Path) -> str:
    try:
        return sha256(path)[:_DIGITS]
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error.strerror}); fetch or train it again") from error


def hold_to_beginning(work: Path, facts: Mapping[str, Any], begun: bool) -> None:
    """Note what a training is of; where it has begun, hold that against what was noted.

    A note of an earlier nas-edge, which noted less, is held against what it says.

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
    then, now = leaves(noted), leaves(json.loads(json.dumps(facts)))
    unknown = tuple(fact for fact in _LATER if not any(_is_of(key, fact) for key in then))
    now = {key: value for key, value in now.items() if not any(_is_of(key, fact) for fact in unknown)}
    if told := differences(then, now):
        raise TrainingError(f"{work}: was begun with something else ({told}); use that, or another --out")


def _is_of(key: str, fact: str) -> bool:
    return key == fact or key.startswith(f"{fact}.")
