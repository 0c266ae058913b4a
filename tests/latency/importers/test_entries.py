"""YAML and JSON tables are read with lines, bounded, and nothing that occurs twice is lost silently."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from nas_edge.errors import NasEdgeError
from nas_edge.latency.importers.entries import read_entries

GOOD = "a:\n  count: 5\n  mean: 1.5\nb:\n  mean: 2\n"


def put(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_entries_come_with_their_lines(tmp_path: Path) -> None:
    found = list(read_entries(put(tmp_path / "t.yaml", GOOD)))
    assert [(entry.key, entry.line) for entry in found] == [("a", 1), ("b", 4)]
    assert found[0].positive("mean") == 1.5
    assert found[0].count() == 5
    assert found[1].spread("std") is None
    found = list(read_entries(put(tmp_path / "t.json", '{\n "a": {"mean": 1.5},\n\n "b": {"mean": 2}}')))
    assert [(entry.key, entry.line) for entry in found] == [("a", 2), ("b", 4)]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("t.yaml", GOOD + "a: {mean: 3}\n", r"t\.yaml:6: 'a': stands in line 1 already"),
        ("t.json", '{"a": {"mean": 1},\n"a": {"mean": 2}}', r"t\.json:2: 'a': stands in line 1 already"),
        ("t.yaml", "a:\n  mean: 1\n  mean: 2\n", r"t\.yaml:3: 'a': 'mean' is given twice"),
        ("t.json", '{"a": {"mean": 1, "mean": 2}}', r"t\.json:1: 'a': 'mean' is given twice"),
        ("t.yaml", "a: 1.5\n", r"t\.yaml|key|mapping"),
        ("t.yaml", "- a\n- b\n", r"t\.yaml:1: is not a mapping"),
        ("t.yaml", "a:\n  mean:\n    x: 1\n", r"t\.yaml:3: is nested deeper"),
        ("t.yaml", "a: &x {mean: 1}\nb: *x\n", r"t\.yaml:2: "),
        ("t.yaml", "a:\n  mean: 1.5\n b: {\n", r"t\.yaml:\d+: is not YAML"),
        ("t.yaml", "a: {mean: 1.5\n", r"t\.yaml:\d+: is not YAML .*truncated"),
        ("t.yaml", "", "holds no entries"),
        ("t.json", '{"a": {"mean": 1', r"t\.json:1: is not JSON .*truncated"),
        ("t.json", "[1]", r"t\.json:1: is not a mapping"),
        ("t.json", "[" * 100_000, r"t\.json: is not JSON"),
        ("t.yaml", "[" * 100_000, r"t\.yaml"),
        ("t.csv", "a,b\n", "ends in .yaml, .yml or .json"),
        ("t.yaml", "a: !!python/object/apply:os.system [echo]\n", r"t\.yaml:1: is not a mapping"),
    ],
)
def test_what_is_no_table_is_refused_with_its_line(tmp_path: Path, name: str, text: str, message: str) -> None:
    with pytest.raises(NasEdgeError, match=message):
        list(read_entries(put(tmp_path / name, text)))


def test_a_key_without_figures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NasEdgeError, match=r"t\.yaml:1: 'a': has no 'mean', only nothing"):
        next(read_entries(put(tmp_path / "t.yaml", "a: {}\n"))).positive("mean")


KEYS = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc", "Zl", "Zp")), min_size=1, max_size=12)
FIGURES = st.dictionaries(KEYS, st.floats(1e-6, 1e6), max_size=3)


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(KEYS, FIGURES, min_size=1, max_size=6))
def test_both_languages_give_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, data: dict[str, dict[str, float]]
) -> None:
    """Against the two standard writers, whatever quoting they choose."""
    folder = tmp_path_factory.mktemp("entries")
    texts = {"t.json": json.dumps(data, indent=1), "t.yaml": yaml.safe_dump(data, allow_unicode=True)}
    for name, text in texts.items():
        found = {entry.key: dict(entry.figures) for entry in read_entries(put(folder / name, text))}
        assert found == data
