"""Names and literals of the generated C."""

from __future__ import annotations

import re
from collections.abc import Iterable

from nas_edge.errors import ExportError
from nas_edge.mcu.graph import Int8Graph

_WIDTH = 100


def layer_names(graph: Int8Graph) -> tuple[str, ...]:
    """An identifier for each layer: "b03.depthwise" is b03_depthwise.

    Raises:
        ExportError: two layers whose names differ in nothing that an identifier can hold.

    """
    names = [_identifier(item.name) for item in graph.layers]
    for i, name in enumerate(names):
        if name in names[:i]:
            other = graph.layers[names.index(name)].name
            raise ExportError(f"layers {other!r} and {graph.layers[i].name!r} would both be called {name} in C")
    return tuple(names)


def float_literal(value: float) -> str:
    """A float32 that C reads back to the same bits."""
    text = f"{value:.9g}"
    return f"{text}f" if any(c in text for c in ".e") else f"{text}.0f"


def integer_literal(value: int) -> str:
    """An int32, in parentheses where a sign could bind wrongly; the least one cannot be written as it is read."""
    if value == -(2**31):
        return "(-2147483647 - 1)"
    return str(value)


def array_lines(values: Iterable[int], indent: str) -> list[str]:
    """The elements of an initialiser, as many on a line as fit."""
    lines, line = [], indent
    for value in values:
        word = f"{integer_literal(value)},"
        if len(line) + len(word) + 1 > _WIDTH:
            lines.append(line.rstrip())
            line = indent
        line += f"{word} "
    return [*lines, line.rstrip().rstrip(",")]


def comment(text: str) -> str:
    """A text that cannot end the comment it stands in."""
    return " ".join(text.split()).replace("*/", "* /").replace("/*", "/ *")


def string_literal(text: str) -> str:
    """Any text as a C string, in UTF-8; bytes that are not plain ASCII in octal."""
    plain = {ord(c) for c in map(chr, range(32, 127)) if c not in '"\\?'}
    return '"' + "".join(chr(b) if b in plain else f"\\{b:03o}" for b in text.encode()) + '"'


def _identifier(name: str) -> str:
    text = re.sub(r"[^A-Za-z0-9_]", "_", name)
    return text if text[:1].isalpha() else f"l_{text}"
