"""LiteRT's interpreter, loaded when it is asked for, and without its remarks on the terminal."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any

from nas_edge.errors import MissingExtraError


def load_interpreter(file: bytes, threads: int = 1, *, reference: bool = False) -> Any:
    """An interpreter with its tensors laid out.

    Args:
        file: the `.tflite` file.
        threads: of the delegate.
        reference: TensorFlow Lite's reference kernels, without the delegate.

    Raises:
        ValueError, RuntimeError: LiteRT's own, for a file that it does not load. MissingExtraError.

    """
    try:
        from ai_edge_litert import interpreter
    except ImportError as error:
        raise MissingExtraError("ai-edge-litert", "litert", "running .tflite files") from error
    options: dict[str, Any] = {}
    if reference:
        options["experimental_op_resolver_type"] = interpreter.OpResolverType.BUILTIN_REF
    with _without_remarks():
        found = interpreter.Interpreter(model_content=file, num_threads=threads, **options)
        found.allocate_tensors()
    return found


@contextlib.contextmanager
def _without_remarks() -> Iterator[None]:
    """Its library says on file descriptor 2 that it has a delegate, and no option stops it; errors are exceptions."""
    try:
        sys.stderr.flush()
        kept = os.dup(2)
    except OSError:  # there is no standard error
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
