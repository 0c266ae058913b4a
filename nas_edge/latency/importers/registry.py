"""Table formats by name: those of nas-edge, and those that installed packages offer as `nas_edge.table_formats`."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TypeVar

from nas_edge.errors import UnknownNameError
from nas_edge.latency.importers.base import TableFormat

ENTRY_POINTS = "nas_edge.table_formats"
F = TypeVar("F", bound=Callable[[], TableFormat])

_ROOM = "nas_edge.latency.importers"
_BUILT_IN = {
    "csv": f"{_ROOM}.plain_csv",
    "harmonicnas": f"{_ROOM}.harmonicnas",
    "ncnn": f"{_ROOM}.ncnn",
    "nnmeter": f"{_ROOM}.nnmeter",
    "nsganetv2": f"{_ROOM}.nsganetv2",
    "ofa": f"{_ROOM}.ofa",
    "proxylessnas": f"{_ROOM}.proxylessnas",
}
_REGISTERED: dict[str, Callable[[], TableFormat]] = {}


def register_table_format(factory: F) -> F:
    """Class decorator: `get_table_format(factory.name)` makes one of these.

    An installed package names its class as an entry point in the group `nas_edge.table_formats` instead.
    """
    _REGISTERED[factory.name] = factory  # type: ignore[attr-defined]  # a class with the protocol's attributes
    return factory


def table_format_names() -> tuple[str, ...]:
    """Names that `get_table_format` knows, sorted."""
    from importlib.metadata import entry_points

    return tuple(sorted({*_BUILT_IN, *_REGISTERED, *(e.name for e in entry_points(group=ENTRY_POINTS))}))


def get_table_format(name: str) -> TableFormat:
    """The format of a name. Raises UnknownNameError with near names."""
    if name not in _REGISTERED and name in _BUILT_IN:
        import_module(_BUILT_IN[name])
    if name not in _REGISTERED:
        from importlib.metadata import entry_points

        for entry in entry_points(group=ENTRY_POINTS, name=name):
            made: TableFormat = entry.load()()
            return made
        raise UnknownNameError("table format", name, table_format_names())
    return _REGISTERED[name]()
