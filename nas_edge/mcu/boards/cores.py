"""Processor cores: how the compiler is told about them, and what class of instruction costs how much on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from nas_edge.errors import UnknownNameError


@dataclass(frozen=True)
class Core:
    """A processor core.

    Attributes:
        name: as the compiler calls it ("cortex-m4").
        flags: of arm-none-eabi-gcc.
        kernels: which of the kernels' backends these flags choose: "plain", "dsp" or "helium".

    """

    name: str
    flags: tuple[str, ...]
    kernels: str


_THUMB = ("-mthumb", "-mfloat-abi=hard")
_CORES: Mapping[str, Core] = MappingProxyType(
    {
        core.name: core
        for core in (
            Core("cortex-m4", ("-mcpu=cortex-m4", "-mfpu=fpv4-sp-d16", *_THUMB), "dsp"),
            Core("cortex-m7", ("-mcpu=cortex-m7", "-mfpu=fpv5-sp-d16", *_THUMB), "dsp"),
            Core("cortex-m33", ("-mcpu=cortex-m33", "-mfpu=fpv5-sp-d16", *_THUMB), "dsp"),
            Core("cortex-m55", ("-mcpu=cortex-m55", *_THUMB), "helium"),
        )
    }
)


def core_names() -> tuple[str, ...]:
    """Names of all cores."""
    return tuple(_CORES)


def core(name: str) -> Core:
    """The core of a name. Raises UnknownNameError."""
    if name not in _CORES:
        raise UnknownNameError("core", name, _CORES)
    return _CORES[name]
