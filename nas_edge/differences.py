"""What two descriptions, plain data, differ in: told where something is to go on that was begun with another one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_TOLD, _LONGEST = 3, 60


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """The first few in one line, like "phases.depth.epochs: 2 then, 3 now"; "" where there is none.

    Mappings and lists of mappings are gone through, the latter by their `name`, or else by number. What only one of the
    two has is none in the other, as an empty list is.
    """
    before, after = leaves(then), leaves(now)
    keys = [key for key in sorted(before.keys() | after.keys()) if before.get(key) != after.get(key)]
    changes = [f"{key}: {_short(before.get(key))} then, {_short(after.get(key))} now" for key in keys[:_TOLD]]
    return ", ".join(changes) + (f", and {len(keys) - _TOLD} more" if len(keys) > _TOLD else "")


def leaves(data: Mapping[str, Any]) -> dict[str, Any]:
    """All that is no mapping, by its path, "a.b.c"."""
    return dict(_flat(data))


def _flat(data: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in data.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{path}{key}.")
        elif isinstance(value, list | tuple) and value and all(isinstance(each, Mapping) for each in value):
            names = [str(each.get("name", number)) for number, each in enumerate(value, 1)]
            yield f"{path}{key}", names
            for name, each in zip(names, value, strict=True):
                yield from _flat(each, f"{path}{key}.{name}.")
        else:
            yield f"{path}{key}", (list(value) or None) if isinstance(value, list | tuple) else value


def _short(value: object) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
