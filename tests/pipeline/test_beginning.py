"""What a training was begun with: noted once, held against later, told where it differs."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from nas_edge.data import Preprocess, load_dataset
from nas_edge.errors import FormatError, TrainingError
from nas_edge.pipeline.bundle import WEIGHTS, load_bundle
from nas_edge.pipeline.learning.beginning import BEGINNING, beginning, hold_to_beginning
from nas_edge.pipeline.learning.starting import Start
from nas_edge.pipeline.learning.teaching import BundleTeacher
from nas_edge.spaces import Template
from tests.bundles import make_bundle, make_images

FACTS = {"space": {"name": "tiny", "sides": (16, 24)}, "teacher": None}


def test_what_differs_is_told_once_something_was_begun(tmp_path: Path) -> None:
    hold_to_beginning(tmp_path, FACTS, begun=False)
    hold_to_beginning(tmp_path, FACTS, begun=True)  # lists and tuples are the same
    with pytest.raises(TrainingError, match=r"\(teacher: none then, mine now\); use that, or another --out$"):
        hold_to_beginning(tmp_path, FACTS | {"teacher": "mine"}, begun=True)
    many = {f"key{i}": "x" * 100 for i in range(9)}
    with pytest.raises(TrainingError, match=r"key2: none then, x{57}\.\.\. now, and 6 more\)") as told:
        hold_to_beginning(tmp_path, FACTS | many, begun=True)
    assert "\n" not in str(told.value)


def test_before_anything_was_trained_anything_may_change(tmp_path: Path) -> None:
    hold_to_beginning(tmp_path, FACTS, begun=False)
    hold_to_beginning(tmp_path, {"space": {"name": "other"}}, begun=False)
    hold_to_beginning(tmp_path, {"space": {"name": "other"}}, begun=True)


def test_a_training_of_before_notes_were_taken_goes_on(tmp_path: Path) -> None:
    hold_to_beginning(tmp_path, FACTS, begun=True)
    assert (tmp_path / BEGINNING).is_file()


def test_a_damaged_note_is_told(tmp_path: Path) -> None:
    (tmp_path / BEGINNING).write_text("[1, 2]")
    with pytest.raises(FormatError, match="does not describe a training"):
        hold_to_beginning(tmp_path, FACTS, begun=True)
    (tmp_path / BEGINNING).write_text('{"space"')
    with pytest.raises(FormatError, match="is the file truncated"):
        hold_to_beginning(tmp_path, FACTS, begun=True)


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory, tiny_template: Template) -> Path:
    """Images, the same in half the size under the same names, and two bundles of one name."""
    root = tmp_path_factory.mktemp("parts")
    make_images(root / "large", side=32)
    make_images(root / "small", side=16)
    for seed, parent in enumerate("ab"):
        make_bundle(root / parent / "my", tiny_template, str(root / "large"), seed)
    return root


def swapped(work: Path, template: Template, then: tuple, now: tuple) -> str:
    """What is told of a training on (images, start, teacher) that goes on with others."""
    hold_to_beginning(work, beginning(template, *then), begun=False)
    hold_to_beginning(work, beginning(template, *then), begun=True)
    with pytest.raises(TrainingError) as told:
        hold_to_beginning(work, beginning(template, *now), begun=True)
    return str(told.value)


def test_other_images_under_the_same_names_are_told(parts: Path, tiny_template: Template, tmp_path: Path) -> None:
    large, small = load_dataset(parts / "large"), load_dataset(parts / "small")
    assert large.train.sha256() == small.train.sha256()
    told = swapped(tmp_path, tiny_template, (large, None, None), (small, None, None))
    assert "something else (images.content: " in told
    moved = shutil.copytree(parts / "large", tmp_path / "elsewhere")
    hold_to_beginning(tmp_path, beginning(tiny_template, load_dataset(moved), None, None), begun=True)


def test_another_teacher_of_the_same_name_is_told(parts: Path, tiny_template: Template, tmp_path: Path) -> None:
    dataset, (mine, other) = load_dataset(parts / "large"), (load_bundle(parts / name / "my") for name in "ab")
    assert mine.name == other.name
    largest, smallest = mine.space.largest(), mine.space.smallest()
    then = (dataset, None, BundleTeacher(mine, largest, 0.5))
    for teacher in (BundleTeacher(other, largest, 0.5), BundleTeacher(mine, smallest, 0.5)):
        assert "else (teacher_network: " in swapped(tmp_path, tiny_template, then, (dataset, None, teacher))
    broken = load_bundle(shutil.copytree(mine.path, tmp_path / "my"))
    (broken.path / WEIGHTS).unlink()
    with pytest.raises(FormatError, match="cannot be read"):
        beginning(tiny_template, dataset, None, BundleTeacher(broken, largest, 0.5))


def test_other_weights_in_the_same_file_are_told(parts: Path, tiny_template: Template, tmp_path: Path) -> None:
    dataset, file = load_dataset(parts / "large"), tmp_path / "x.pth"
    start = Start(file.name, f"file {file}", "", Preprocess(), lambda net: None, file)
    file.write_bytes(b"some weights")
    hold_to_beginning(tmp_path, beginning(tiny_template, dataset, start, None), begun=False)
    hold_to_beginning(tmp_path, beginning(tiny_template, dataset, start, None), begun=True)
    otherwise = replace(start, preprocess=Preprocess(mean=(0.0, 0.0, 0.0)))
    with pytest.raises(TrainingError, match=r"else \(preprocess\.mean: .* then, \[0\.0, 0\.0, 0\.0\] now\)"):
        hold_to_beginning(tmp_path, beginning(tiny_template, dataset, otherwise, None), begun=True)
    file.write_bytes(b"more weights")
    with pytest.raises(TrainingError, match=r"else \(init\.content: \w+ then, \w+ now\)"):
        hold_to_beginning(tmp_path, beginning(tiny_template, dataset, start, None), begun=True)


def test_a_note_that_says_less_is_held_against_what_it_says(
    parts: Path, tiny_template: Template, tmp_path: Path
) -> None:
    large, small = beginning(tiny_template, load_dataset(parts / "large"), None, None), load_dataset(parts / "small")
    hold_to_beginning(tmp_path, large, begun=False)
    noted = json.loads((tmp_path / BEGINNING).read_text())
    for key in ("images", "init"):
        del noted[key]["content"]
    del noted["teacher_network"], noted["preprocess"]
    before = json.dumps(noted)
    (tmp_path / BEGINNING).write_text(before)
    hold_to_beginning(tmp_path, beginning(tiny_template, small, None, None), begun=True)
    assert (tmp_path / BEGINNING).read_text() == before
    with pytest.raises(TrainingError, match="teacher: none then, mine now"):
        hold_to_beginning(tmp_path, large | {"teacher": "mine"}, begun=True)
