"""`nas-edge`: the commands put together, and every error as one line."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence

import typer

from nas_edge import __version__
from nas_edge.cli import (
    compare,
    evaluate,
    export,
    finetune,
    profile,
    report,
    run,
    search,
    table,
    targets,
    train,
    zoo,
)
from nas_edge.errors import NasEdgeError

INTERRUPTED = 130

app = typer.Typer(
    name="nas-edge",
    help="The most accurate network that measurably meets a budget on your device, as a file it runs.",
    epilog="Begin with: nas-edge search --target local --latency 5ms",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # rich would double the time of --help
)
for _command in (train, finetune, evaluate, search, export, profile, compare, report, run):
    _command.register(app)
app.add_typer(table.app, name="table")
app.add_typer(targets.app, name="targets")
app.add_typer(zoo.app, name="zoo")


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"nas-edge {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: bool = typer.Option(False, "--version", callback=_show_version, is_eager=True, help="Version, and exit."),
) -> None:
    pass


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the `nas-edge` command: runs `arguments` (default: the process's own) and exits."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    sys.exit(invoke(arguments))


def invoke(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code: 0, 2 the user's mistake, 1 a failure, 130 interrupted."""
    # Numpy multiplies small matrices here: its BLAS would spend more time on waking threads than on work, many times
    # more on a busy machine. Torch has threads of its own. Must be said before numpy is imported.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    debug = "--debug" in arguments
    usage_error, click_exception = typer.BadParameter.__mro__[1:3]
    try:
        result = app(args=list(arguments), prog_name="nas-edge", standalone_mode=False)
        # typer turns an interrupt into this exit code without a word
        if result == INTERRUPTED:
            return _failed("interrupted", INTERRUPTED, debug=False)
        return result if isinstance(result, int) else 0
    except NasEdgeError as error:
        return _failed(str(error), error.exit_code, debug)
    except (KeyboardInterrupt, typer.Abort):
        return _failed("interrupted", INTERRUPTED, debug=False)
    except Exception as error:
        if isinstance(error, click_exception):
            context = getattr(error, "ctx", None)
            hint = f" (try '{context.command_path} --help')" if isinstance(error, usage_error) and context else ""
            message = error.format_message() if hasattr(error, "format_message") else str(error)
            if message.startswith("Usage:"):  # no arguments at all: the message is the help
                sys.stderr.write(f"{message}\n")
                return 2
            return _failed(f"{message}{hint}", 2, debug)
        if isinstance(error, MemoryError):
            return _failed("out of memory; close other programs or choose smaller work", 1, debug)
        return _failed(f"{_unexpected(error)}; --debug shows where", 1, debug)


def _unexpected(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}" if error.filename else f"{error.strerror or error}"
    return f"unexpected {type(error).__name__}: {error}"


def _failed(message: str, code: int, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    sys.stderr.write(f"error: {' '.join(message.split())}\n")
    return code
