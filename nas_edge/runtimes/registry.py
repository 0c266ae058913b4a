"""Runtimes by name: those of nas-edge, and those that installed packages offer as `nas_edge.runtimes`."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import TypeVar

from nas_edge.errors import UnknownNameError
from nas_edge.runtimes.base import Runtime

_BUILT_IN = {
    "litert": "nas_edge.runtimes.litert",
    "mcu": "nas_edge.runtimes.mcu",
    "onnxruntime": "nas_edge.runtimes.onnx_runtime",
    "tensorrt": "nas_edge.runtimes.tensorrt",
    "torch-cuda": "nas_edge.runtimes.torch_cuda",
}
_REGISTERED: dict[str, Callable[[], Runtime]] = {}
ENTRY_POINTS = "nas_edge.runtimes"
R = TypeVar("R", bound=Callable[[], Runtime])


def register_runtime(name: str) -> Callable[[R], R]:
    """Class decorator: `get_runtime(name)` makes one of these. An installed package names its class as an entry
    point in the group `nas_edge.runtimes` instead, and is not imported before it is asked for.
    """

    def add(factory: R) -> R:
        _REGISTERED[name] = factory
        return factory

    return add


def runtime_names() -> tuple[str, ...]:
    """Names that `get_runtime` knows, sorted."""
    return tuple(sorted({*_BUILT_IN, *_REGISTERED, *(e.name for e in entry_points(group=ENTRY_POINTS))}))


def get_runtime(name: str) -> Runtime:
    """The runtime of a name.

    Raises:
        UnknownNameError: nobody registered it. MissingExtraError: its package is not installed.

    """
    if name not in _REGISTERED and name in _BUILT_IN:
        importlib.import_module(_BUILT_IN[name])
    if name in _REGISTERED:
        return _REGISTERED[name]()
    for entry in entry_points(group=ENTRY_POINTS, name=name):
        made: Runtime = entry.load()()
        return made
    raise UnknownNameError("runtime", name, runtime_names())
