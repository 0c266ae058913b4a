"""What all commands share: the common options, output, and the progress that is drawn on stderr.

Only typer is imported here: `nas-edge --help` must be instant, and rich is loaded once something is slow.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from nas_edge.errors import ConfigError
from nas_edge.units import format_duration

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

    from nas_edge.progress import Progress

JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object on stdout, nothing else there.")]
SeedOption = Annotated[int, typer.Option("--seed", min=0, max=2**31 - 1, help="Seed of everything random.")]
EffortOption = Annotated[str, typer.Option(help="quick, default or thorough.")]
QuickOption = Annotated[bool, typer.Option("--quick", help="The same as --effort quick.")]
ThoroughOption = Annotated[bool, typer.Option("--thorough", help="The same as --effort thorough.")]
DebugOption = Annotated[bool, typer.Option("--debug", help="A traceback instead of one line when something fails.")]

WorkersOption = Annotated[
    int | None, typer.Option("--workers", min=1, help="Processes that evaluate subnets; default: all cores.")
]
ClusterOption = Annotated[
    str | None,
    typer.Option("--cluster", metavar="ray[://ADDRESS]", help="Evaluate subnets on a Ray cluster (extra 'cluster')."),
]
HostOption = Annotated[
    str | None, typer.Option("--host", metavar="[USER@]ADDR[:PORT]", help="Device over ssh, instead of the target's.")
]
SerialOption = Annotated[
    str | None, typer.Option("--serial", help="Device over adb, or a microcontroller's port, instead of the target's.")
]

S = TypeVar("S")
T = TypeVar("T")

_SHOW_AFTER_S = 0.5
_PLAIN_EVERY_S = 10.0
_LATELY_S = 60.0  # that the time left is reckoned from


def emit(as_json: bool, data: Mapping[str, Any], lines: Iterable[str]) -> None:
    """Print the result of a command on stdout: one JSON object, or lines for a person."""
    text = json.dumps(data, allow_nan=False, ensure_ascii=False) if as_json else "\n".join(lines)
    say(text)


def say(text: str) -> None:
    """Lines on stdout, at once. A reader that has gone away (head, less) is no failure."""
    try:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        # The interpreter flushes again at exit: that must not fail either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def note(text: str) -> None:
    """One line on stderr, for a person."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def parsed(value: S | None, parse: Callable[[S], T]) -> T | None:
    """`parse(value)`, None where the option was not given."""
    return None if value is None else parse(value)


def parse_resolutions(text: str) -> tuple[int, ...]:
    """ "96,128,160" -> (96, 128, 160). Raises ConfigError."""
    parts = text.replace(" ", "").split(",")
    if not all(part.isascii() and part.isdigit() and int(part) > 0 for part in parts):
        raise ConfigError(f"resolutions {text!r} are not a list of sides in pixels; write it like 96,128,160")
    return tuple(sorted({int(part) for part in parts}))


def columns(rows: Iterable[tuple[str, ...]], indent: str = "") -> list[str]:
    """Rows of text as aligned lines, two spaces between columns."""
    rows = list(rows)
    widths = [
        max((len(row[i]) for row in rows if i < len(row)), default=0) for i in range(max(map(len, rows), default=0))
    ]
    return [indent + "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=False)).rstrip() for row in rows]


def chosen_effort(effort: str, quick: bool, thorough: bool) -> str:
    """What --effort, --quick and --thorough amount to. Raises ConfigError where both flags are given."""
    if quick and thorough:
        raise ConfigError("--quick and --thorough contradict each other; give one of them")
    return "quick" if quick else "thorough" if thorough else effort


def refuse_beside(context: typer.Context, mode: str, *used: str) -> None:
    """Raise ConfigError where a command was given options that it does not use in the mode at hand.

    Args:
        context: of the command.
        mode: the option that chose the mode, as it is to be read: "--resume".
        used: names of the parameters that count in it; what output looks like always does.

    """
    for parameter in context.command.params:
        source = context.get_parameter_source(str(parameter.name))
        given = source is not None and source.name == "COMMANDLINE"
        if given and parameter.name not in (*used, "json_output", "debug"):
            raise ConfigError(f"{parameter.opts[0]} does not go with {mode}, which would not heed it; leave it out")


@contextmanager
def shown_progress(quiet: bool = False, announce: bool = False) -> Iterator[Progress]:
    """A `Progress` drawn on stderr: a bar on a terminal, else a line now and then; nothing for short work.

    With `announce` what a stage says at its beginning (how long it will take, say) stays there as a line.
    """
    drawer = _Drawer(quiet, announce)
    try:
        yield drawer
    finally:
        drawer.close()


class _Drawer:
    """Draws progress once work has lasted half a second; rich is imported then, on terminals only."""

    def __init__(self, quiet: bool, announce: bool) -> None:
        self._begun = time.monotonic()
        self._said = self._begun
        self._quiet = quiet
        self._announce = announce
        self._announced = ""
        self._plain = not sys.stderr.isatty() or os.environ.get("TERM") == "dumb"
        self._bar: RichProgress | None = None
        self._task: TaskID | None = None
        self._seen: deque[tuple[float, float]] = deque()

    def __call__(self, done: float, total: float, text: str) -> None:
        now = time.monotonic()
        if self._announce and done <= 0 and text != self._announced:
            self._announced = text
            self._line(text)
        if self._quiet or now - self._begun < _SHOW_AFTER_S:
            return
        if self._plain:
            self._say(now, done, total, text)
        else:
            self._draw(done, total, text)

    def _line(self, text: str) -> None:
        if self._bar is not None:
            self._bar.console.print(text, markup=False, highlight=False)
        else:
            note(text)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()

    def _say(self, now: float, done: float, total: float, text: str) -> None:
        rate = self._rate(now, done)
        if now - self._said < _PLAIN_EVERY_S:
            return
        self._said = now
        left = f", {format_duration((total - done) / rate)} left" if rate > 0 and done < total else ""
        share = f" {done / total:.0%}" if total > 0 else ""
        note(f"{text}:{share}{left}")

    def _rate(self, now: float, done: float) -> float:
        """What was done a second lately: work that goes on begins far from 0, and other programs come and go."""
        if self._seen and done < self._seen[-1][1]:  # another stage
            self._seen.clear()
        if done > 0:
            self._seen.append((now, done))
        while len(self._seen) > 2 and self._seen[1][0] < now - _LATELY_S:
            self._seen.popleft()
        if not self._seen or now <= self._seen[0][0]:
            return 0.0
        begun, before = self._seen[0]
        return (done - before) / (now - begun)

    def _draw(self, done: float, total: float, text: str) -> None:
        if self._bar is None:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

            parts = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
            self._bar = Progress(*parts, console=Console(stderr=True), transient=True)
            self._bar.start()
            self._task = self._bar.add_task(text, total=total)
        assert self._task is not None
        # Text is data: a name with brackets in it is no markup.
        self._bar.update(self._task, completed=done, total=total, description=text.replace("[", "\\["))
