"""What a training was begun with: noted once, held against later, told where it differs."""

from __future__ import annotations

from pathlib import Path

import pytest

from nas_edge.errors import FormatError, TrainingError
from nas_edge.pipeline.learning.beginning import BEGINNING, hold_to_beginning

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
