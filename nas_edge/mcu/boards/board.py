"""`Board`: a microcontroller as data: core, clock, memory regions, peripherals, and the machine that emulates it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas_edge.errors import ConfigError, QuantityError, UnknownKeyError, UnknownNameError
from nas_edge.files import read_described
from nas_edge.mcu.boards.cores import Core, core
from nas_edge.units import parse_bytes

DATA = Path(__file__).parent
FLASH, RAM = "flash", "ram"
_LOGICAL = ("flash", "sram")


@dataclass(frozen=True)
class Region:
    """A range of addresses.

    Attributes:
        name: "flash", "sram", "dtcm" ...
        kind: "flash" (read, execute) or "ram".
        origin: first address.
        size_bytes: of the real chip.

    """

    name: str
    kind: str
    origin: int
    size_bytes: int


@dataclass(frozen=True)
class Uart:
    """A serial line.

    Attributes:
        kind: which registers it has: "stm32f4" or "cmsdk".
        base: address of the first.

    """

    kind: str
    base: int


@dataclass(frozen=True)
class Timer:
    """A free-running counter that advances with emulated time.

    Attributes:
        kind: which registers it has: "stm32-tim", "cmsdk" or "sse-300".
        base: address of the first.
        nanoseconds: of emulated time for each tick, as a fraction (numerator, denominator).
        silicon_hz: ticks a second on the real chip, as it starts without further set-up.

    """

    kind: str
    base: int
    nanoseconds: tuple[int, int]
    silicon_hz: int


@dataclass(frozen=True)
class Emulated:
    """How QEMU stands in for the board.

    Attributes:
        machine: QEMU's name for it.
        icount_shift: each instruction takes 2 to this power nanoseconds of emulated time.
        timer: the counter that tells how much of that has passed.

    """

    machine: str
    icount_shift: int
    timer: Timer

    def instructions(self, ticks: float) -> float:
        """Ticks of the timer as instructions: exact to one tick."""
        numerator, denominator = self.timer.nanoseconds
        return ticks * numerator / (denominator << self.icount_shift)


@dataclass(frozen=True)
class Board:
    """A microcontroller.

    Attributes:
        name: of its file, and of the target.
        description: one line for people.
        core: with the compiler's flags.
        clock_hz: greatest of the real chip.
        regions: by name; "flash" holds code and weights, "sram" everything else.
        uart: the line that firmware talks over.
        emulated: None for a chip that no emulator stands in for.
        counted_on: emulated board with the same core, by whose name the table goes: itself where it is emulated.
        blocks_on: emulated board with the same core and more memory than any chip: it counts what others cannot hold,
            and networks of chips that nothing emulates.

    """

    name: str
    description: str
    core: Core
    clock_hz: int
    regions: Mapping[str, Region]
    uart: Uart | None
    emulated: Emulated | None
    counted_on: str
    blocks_on: str

    @property
    def flash(self) -> Region:
        """Where code and weights lie."""
        return self.regions["flash"]

    @property
    def sram(self) -> Region:
        """Where the arena, variables and the stack lie."""
        return self.regions["sram"]


def board_names() -> tuple[str, ...]:
    """Every board that this version knows."""
    return tuple(sorted(path.stem for path in DATA.glob("*.yaml")))


def load_board(name: str) -> Board:
    """The board of a name.

    Raises:
        UnknownNameError: nobody described it; near names are given. ConfigError: its file is wrong.

    """
    if name not in board_names():
        raise UnknownNameError("board", name, board_names())
    return read_board(DATA / f"{name}.yaml")


def read_board(path: Path) -> Board:
    """Read a board's file. Raises ConfigError (file, and line of an unknown key)."""
    return read_described(path, lambda data, where: _board(data, where, path.stem))


_KEYS = ("format", "description", "core", "clock_mhz", "regions", "uart", "emulated", "counted_on", "blocks_on")


def _board(data: Any, where: str, name: str) -> Board:
    fields = _mapping(data, where, (), _KEYS)
    try:
        if fields.get("format") != 1:
            raise ValueError("format: 1 is expected; a newer file needs a newer nas-edge")
        regions = {
            key: _region(key, value, where) for key, value in _mapping(fields["regions"], where, ("regions",)).items()
        }
        lacking = [key for key in _LOGICAL if key not in regions]
        if lacking:
            raise ValueError(f"regions: {' and '.join(lacking)} missing")
        emulated = None if "emulated" not in fields else _emulated(fields["emulated"], where)
        counted_on = str(fields.get("counted_on", name))
        return Board(
            name=name,
            description=str(fields["description"]),
            core=core(str(fields["core"])),
            clock_hz=round(float(fields["clock_mhz"]) * 1e6),
            regions=regions,
            uart=None if "uart" not in fields else _uart(fields["uart"], where),
            emulated=emulated,
            counted_on=counted_on,
            blocks_on=str(fields.get("blocks_on", counted_on)),
        )
    except KeyError as error:
        raise ConfigError(f"{where}: {error} is missing") from None
    except (TypeError, ValueError, QuantityError) as error:
        raise ConfigError(f"{where}: {error}") from None


def _mapping(
    data: Any, where: str, keys: tuple[str | int, ...], known: tuple[str, ...] | None = None
) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise ConfigError(f"{where}: {'.'.join(map(str, keys)) or 'the file'} must be a mapping")
    for key in data:
        if known is not None and key not in known:
            raise UnknownKeyError(where, (*keys, key), known)
    return data


def _region(name: str, data: Any, where: str) -> Region:
    fields = _mapping(data, where, ("regions", name), ("kind", "origin", "size"))
    if fields["kind"] not in (FLASH, RAM):
        raise ValueError(f"regions.{name}.kind is {FLASH} or {RAM}, not {fields['kind']!r}")
    return Region(name, fields["kind"], int(fields["origin"]), parse_bytes(str(fields["size"])))


def _uart(data: Any, where: str) -> Uart:
    fields = _mapping(data, where, ("uart",), ("kind", "base"))
    if fields["kind"] not in ("stm32f4", "cmsdk"):
        raise ValueError(f"uart.kind is stm32f4 or cmsdk, not {fields['kind']!r}")
    return Uart(fields["kind"], int(fields["base"]))


def _emulated(data: Any, where: str) -> Emulated:
    fields = _mapping(data, where, ("emulated",), ("machine", "icount_shift", "timer"))
    timer = _mapping(fields["timer"], where, ("emulated", "timer"), ("kind", "base", "tick_ns", "silicon_mhz"))
    if timer["kind"] not in ("stm32-tim", "cmsdk", "sse-300"):
        raise ValueError(f"emulated.timer.kind is stm32-tim, cmsdk or sse-300, not {timer['kind']!r}")
    numerator, _, denominator = str(timer["tick_ns"]).partition("/")
    tick = (int(numerator), int(denominator or 1))
    silicon_hz = round(float(timer["silicon_mhz"]) * 1e6)
    counter = Timer(timer["kind"], int(timer["base"]), tick, silicon_hz)
    return Emulated(str(fields["machine"]), int(fields["icount_shift"]), counter)
