"""Look-up tables as other projects write them: a YAML or JSON mapping of keys to figures, each with its line.

Loaders for YAML and JSON silently keep the last of two equal keys, and forget where anything stood. Here a key that
occurs twice is refused, and every figure can be complained of with file, line and key.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from nas_edge.errors import FormatError, TableError
from nas_edge.files import read_text

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the same language, ten times as fast


@dataclass(frozen=True, slots=True)
class Entry:
    """One key with its figures.

    Attributes:
        path, line: where it stands, the line counted from 1.
        key: as written.
        figures: by name; texts are kept as texts.

    """

    path: Path
    line: int
    key: str
    figures: Mapping[str, str | float]

    def fail(self, problem: str) -> TableError:
        """What is wrong with this entry, with file, line and key."""
        return TableError(f"{self.path}:{self.line}: {self.key!r}: {problem}")

    def positive(self, name: str) -> float:
        """A figure that must be there, finite and above zero. Raises TableError."""
        value = self._number(name)
        if value is None:
            have = ", ".join(map(repr, self.figures)) or "nothing"
            raise self.fail(f"has no {name!r}, only {have}")
        if not (math.isfinite(value) and value > 0):
            raise self.fail(f"{name} = {value} is not a positive, finite figure")
        return value

    def spread(self, name: str) -> float | None:
        """A standard deviation or variance: finite, not negative; None where it is not given. Raises TableError."""
        value = self._number(name)
        if value is not None and not (math.isfinite(value) and value >= 0):
            raise self.fail(f"{name} = {value} is not a spread")
        return value

    def count(self) -> int:
        """Number of timed runs, 0 where it is not given. Raises TableError."""
        value = self._number("count")
        if value is not None and not (value >= 0 and value == int(value)):
            raise self.fail(f"count = {value} is not a number of runs")
        return int(value or 0)

    def _number(self, name: str) -> float | None:
        value = self.figures.get(name)
        if value is None or isinstance(value, float):
            return value
        try:
            return float(value)
        except ValueError:
            raise self.fail(f"{name} = {value!r} is not a number of milliseconds without a unit") from None


def read_entries(path: Path) -> Iterator[Entry]:
    """Entries of a `.yaml`, `.yml` or `.json` file in the order of the file.

    Raises:
        FormatError: unreadable, truncated, or not a mapping of keys to mappings (file and line).
        TableError: a key occurs twice (file, line and key).

    """
    if path.suffix not in (".yaml", ".yml", ".json"):
        packed = "; unpack it first" * (path.suffix == ".gz")
        raise FormatError(f"{path}: a file of this format ends in .yaml, .yml or .json{packed}")
    text = read_text(path)
    first: dict[str, int] = {}
    found = _json_entries(path, text) if path.suffix == ".json" else _yaml_entries(path, text)
    for entry in found:
        if entry.key in first:
            raise entry.fail(f"stands in line {first[entry.key]} already; keep one of the two")
        first[entry.key] = entry.line
        yield entry
    if not first:
        raise FormatError(f"{path}: holds no entries")


# YAML ----------------------------------------------------------------------------------------------------------


def _yaml_entries(path: Path, text: str) -> Iterator[Entry]:
    """Read events, not nodes: no alias is followed and no nesting is built, whatever the file holds."""
    depth, key, line, name = 0, "", 0, ""
    figures: dict[str, str | float] = {}
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            here = event.start_mark.line + 1 if event.start_mark else 0
            if isinstance(event, yaml.MappingStartEvent):
                if depth == 2 or (depth == 1 and not key):
                    raise FormatError(f"{path}:{here}: is nested deeper than key, figure, number")
                depth += 1
            elif isinstance(event, yaml.MappingEndEvent):
                if depth == 2:
                    if name:
                        raise FormatError(f"{path}:{here}: {key!r}: {name!r} has no figure")
                    yield Entry(path, line, key, figures)
                    key, figures = "", {}
                depth -= 1
            elif isinstance(event, yaml.ScalarEvent) and depth == 1 and not key:
                key, line = event.value, here
            elif isinstance(event, yaml.ScalarEvent) and depth == 2 and not name:
                name = event.value
                if name in figures:
                    raise TableError(f"{path}:{here}: {key!r}: {name!r} is given twice; keep one of the two")
            elif isinstance(event, yaml.ScalarEvent) and depth == 2:
                figures[name] = _figure(event.value)
                name = ""
            elif not isinstance(event, _FRAME):
                raise FormatError(f"{path}:{here}: is not a mapping of keys to figures; is the file truncated?")
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f":{mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "cannot be parsed"
        raise FormatError(f"{path}{where}: is not YAML ({problem}); is the file truncated?") from None


_FRAME = (yaml.StreamStartEvent, yaml.StreamEndEvent, yaml.DocumentStartEvent, yaml.DocumentEndEvent)


def _figure(value: str) -> str | float:
    try:
        return float({".nan": "nan", ".inf": "inf", "-.inf": "-inf"}.get(value.lower(), value))
    except ValueError:
        return value


# JSON ----------------------------------------------------------------------------------------------------------


class _Pairs(list[tuple[str, Any]]):
    """A JSON object as written: duplicates kept."""


def _json_entries(path: Path, text: str) -> Iterator[Entry]:
    try:
        data = json.loads(text, object_pairs_hook=_Pairs)
    except json.JSONDecodeError as error:
        raise FormatError(f"{path}:{error.lineno}: is not JSON ({error.msg}); is the file truncated?") from None
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{path}: is not JSON of a table ({error})") from None
    if not isinstance(data, _Pairs):
        raise FormatError(f"{path}:1: is not a mapping of keys to figures")
    at, line = 0, 1
    for key, value in data:
        after = text.find(json.dumps(key, ensure_ascii=False), at)
        if after >= 0:  # not found where the file escapes what need not be: the line before is near enough
            line, at = line + text.count("\n", at, after), after + 1
        entry = Entry(path, line, key, {})
        if not isinstance(value, _Pairs):
            raise entry.fail("is not a mapping of figures")
        figures: dict[str, str | float] = {}
        for name, figure in value:
            if name in figures:
                raise entry.fail(f"{name!r} is given twice; keep one of the two")
            if isinstance(figure, bool) or not isinstance(figure, str | int | float):
                raise entry.fail(f"{name} = {json.dumps(figure)} is not a number")
            figures[name] = figure if isinstance(figure, str) else float(figure)
        yield Entry(path, line, key, figures)
