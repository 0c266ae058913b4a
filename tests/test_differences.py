"""Two descriptions, and what they differ in."""

from __future__ import annotations

from nas_edge.differences import differences


def test_what_is_alike_differs_in_nothing() -> None:
    assert differences({"a": [1, 2], "b": {}}, {"a": (1, 2), "c": None, "d": []}) == ""


def test_a_difference_is_told_by_its_path() -> None:
    assert differences({"a": {"b": 1, "c": "x"}}, {"a": {"b": 2.5, "c": "x"}}) == "a.b: 1 then, 2.5 now"
    assert differences({"a": [1]}, {}) == "a: [1] then, none now"


def test_lists_of_mappings_are_gone_through_by_name_or_number() -> None:
    then = {"phases": [{"name": "full", "epochs": 2}, {"name": "depth", "epochs": 3}]}
    now = {"phases": [{"name": "full", "epochs": 2}, {"name": "depth", "epochs": 4}]}
    assert differences(then, now) == "phases.depth.epochs: 3 then, 4 now"
    assert differences(then, {"phases": []}).startswith("phases: ['full', 'depth'] then, none now")
    then, now = {"stages": [{"k": 3}, {"k": 3}]}, {"stages": [{"k": 3}, {"k": 5}]}
    assert differences(then, now) == "stages.2.k: 3 then, 5 now"


def test_many_and_long_ones_are_cut_short() -> None:
    told = differences({str(n): n for n in range(9)} | {"0": "x" * 500}, {})
    assert told.endswith("1: 1 then, none now, 2: 2 then, none now, and 6 more")
    assert len(told) < 200
