"""A `Channel` to a process of the machine at hand."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess  # commands are lists, never a shell's text
from typing import IO

_CHUNK = 64 * 1024
_MOST_ERRORS = 256 * 1024


class LocalChannel:
    """See `Channel`; a local process is never cut off.

    Args:
        process: with pipes as standard input and output.
        errors: the file that its standard error goes to; closed here.

    """

    def __init__(self, process: subprocess.Popen[bytes], errors: IO[bytes]) -> None:
        self._process, self._errors = process, errors
        assert process.stdin is not None
        assert process.stdout is not None
        self._input, self._output = process.stdin, process.stdout

    def write(self, data: bytes, timeout_s: float) -> None:
        """To its standard input."""
        view = memoryview(data)
        while view:
            if not select.select([], [self._input], [], timeout_s)[1]:
                raise TimeoutError
            written = os.write(self._input.fileno(), view[: select.PIPE_BUF])
            view = view[written:]

    def close_input(self) -> None:
        """Its standard input ends."""
        with contextlib.suppress(OSError):
            self._input.close()

    def read(self, timeout_s: float) -> bytes:
        """Some of its standard output."""
        if not select.select([self._output], [], [], timeout_s)[0]:
            raise TimeoutError
        return os.read(self._output.fileno(), _CHUNK)

    def errors(self) -> bytes:
        """The last part of its standard error."""
        if self._errors.closed:
            return b""
        size = self._errors.seek(0, os.SEEK_END)
        self._errors.seek(max(0, size - _MOST_ERRORS))
        return self._errors.read()

    def status(self, timeout_s: float) -> int:
        """Exit status."""
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired as error:
            raise TimeoutError from error

    def close(self) -> None:
        """Let go of it."""
        self.close_input()
        self._output.close()
        with contextlib.suppress(TimeoutError):
            self.status(0.1)
        self._errors.close()
