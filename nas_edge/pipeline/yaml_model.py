"""YAML that people write, validated by pydantic: what is wrong is told with file and line."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from nas_edge.errors import ConfigError
from nas_edge.files import parse_yaml, read_text, yaml_line

M = TypeVar("M", bound=BaseModel)


def read_model(model: type[M], path: Path, what: str, extra: Mapping[str, Any] | None = None) -> M:
    """Read a YAML file into a pydantic model that forbids unknown keys.

    Args:
        model: the class.
        path: the file.
        what: the file describes, for errors ("a target").
        extra: fields that do not come from the file (its own path), and may not.

    Raises:
        ConfigError: an unknown key, a bad or missing value: file and line. FormatError: cannot be read.

    """
    text = read_text(path)
    data = parse_yaml(text, str(path))
    if not isinstance(data, dict):
        raise ConfigError(f"{path}:1: {what} is a mapping with the keys {', '.join(_keys(model, extra))}")
    given = sorted(str(key) for key in data if extra and key in extra)
    if given:
        raise ConfigError(f"{path}:{yaml_line(text, (given[0],))}: unknown key {given[0]!r}")
    try:
        return model.model_validate({**data, **(extra or {})})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        keys = tuple(first["loc"])
        message = _message(model, keys, dict(first), extra)
        raise ConfigError(f"{path}:{yaml_line(text, keys)}: {message}") from None


def _message(
    model: type[BaseModel], keys: tuple[str | int, ...], error: dict[str, Any], extra: Mapping[str, Any] | None
) -> str:
    key = str(keys[-1]) if keys else ""
    if error["type"] == "extra_forbidden":
        known = _known(model, keys[:-1], extra)
        near = difflib.get_close_matches(key, known, n=1)
        return f"unknown key {key!r}; " + (f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}")
    if error["type"] == "missing":
        return f"lacks the key {key!r}"
    at = ".".join(str(part) for part in keys)
    if keys == ("format",):
        return f"'format: 1' is expected, not {error['input']!r}; a newer file needs a newer nas-edge"
    message = str(error["msg"]).removeprefix("Value error, ")
    return f"{at}: {message}" if at else message


def _keys(model: type[BaseModel], extra: Mapping[str, Any] | None = None) -> list[str]:
    return [f.alias or name for name, f in model.model_fields.items() if name not in (extra or {})]


def _known(model: type[BaseModel], keys: tuple[str | int, ...], extra: Mapping[str, Any] | None) -> list[str]:
    """The keys that the mapping at a path may have."""
    current: Any = model
    for key in keys:
        if isinstance(key, int):
            continue
        field = next((f for name, f in current.model_fields.items() if key in (name, f.alias)), None)
        current = _model_in(field.annotation) if field else None
        if current is None:
            return []
    return _keys(current, extra if not keys else None)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model that a type names: itself, or inside a tuple, an optional."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = (_model_in(part) for part in getattr(annotation, "__args__", ()))
    return next((part for part in found if part is not None), None)
