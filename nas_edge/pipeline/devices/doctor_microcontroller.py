"""`targets doctor` of a microcontroller: compiler, emulator and what counts, tried out; or a board at a port."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from nas_edge.errors import NasEdgeError
from nas_edge.pipeline.devices.check import DOUBTFUL, MISSING, WORKS, Check
from nas_edge.pipeline.devices.microcontrollers import board_of
from nas_edge.pipeline.devices.targets import Target


def microcontroller_checks(target: Target, port: str = "") -> Iterator[Check]:
    """What profile, search and table need, each in its turn; an error of one is its verdict.

    Args:
        target: a microcontroller.
        port: of a board on a serial line; "" for none.

    """
    yield _tried("board", lambda: _board(target))
    yield _tried("compiler", _compiler)
    yield _tried("emulator", _emulator)
    yield _tried("counting", _counting)
    yield _tried("table", lambda: _table(target))
    if port:
        yield _tried("serial", lambda: _serial(port))


def _tried(name: str, look: Callable[[], Check]) -> Check:
    try:
        return look()
    except NasEdgeError as error:
        text, _, mend = str(error).partition(": apt-get ")
        return Check(name, MISSING, text, f"apt-get {mend}" if mend else "")


def _board(target: Target) -> Check:
    board = board_of(target)
    stand_in = "" if board.emulated else f"; {board.blocks_on} counts for it, which has the same core"
    return Check("board", WORKS, f"{board.description}{stand_in}")


def _compiler() -> Check:
    from nas_edge.mcu.firmware.building import compiler_version
    from nas_edge.mcu.toolchain import ARM_GCC, find_tool

    return Check("compiler", WORKS, f"{compiler_version()} ({find_tool(ARM_GCC)})")


def _emulator() -> Check:
    from nas_edge.mcu.emulator.qemu import qemu_version
    from nas_edge.mcu.toolchain import QEMU, find_tool

    return Check("emulator", WORKS, f"QEMU {qemu_version()} ({find_tool(QEMU)})")


def _counting() -> Check:
    from nas_edge.mcu.emulator import Method, best_method

    if best_method() is Method.PLUGIN:
        return Check("counting", WORKS, "by the plugin, which passed its self-test")
    return Check(
        "counting", DOUBTFUL, "by a timer: instructions without their classes, so no milliseconds and no tables",
        "Debian 12's QEMU 7.2 and gcc have the plugin: apt-get install --no-install-recommends qemu-system-arm gcc",
    )  # fmt: skip


def _table(target: Target) -> Check:
    from nas_edge.pipeline.tables.finding import load_table_for
    from nas_edge.pipeline.tables.modelled import outdated

    found = load_table_for(target)
    if found.path is None:
        return Check("table", DOUBTFUL, "none", f"nas-edge table measure --target {board_of(target).counted_on}")
    old = outdated(found.table.header)
    if old:
        return Check("table", DOUBTFUL, *old[0].split(": ", 1))
    return Check("table", WORKS, f"{found.path}: {len(found.table.blocks)} blocks")


def _serial(port: str) -> Check:
    from nas_edge.devices.serial import open_serial
    from nas_edge.runtimes.serial_board import SerialBoard

    with open_serial(port) as link:
        network = SerialBoard(link).hello()
    clock = f"{network.ticks_per_second / 1e6:g} MHz" if network.ticks_per_second else "an emulator's time"
    return Check("serial", WORKS, f"{port}: a network of {network.layers} layers, timed by {clock}")
