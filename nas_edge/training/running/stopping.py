"""Ctrl-C that waits for the step under way, so that what is saved is whole."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class StopRequest:
    """Whether the user asked to stop.

    Attributes:
        asked: set by the first Ctrl-C (or SIGTERM); a second one ends the process at once.
    """

    def __init__(self) -> None:
        self.asked = False


@contextmanager
def stop_request() -> Iterator[StopRequest]:
    """Note SIGINT and SIGTERM instead of being cut off by them; outside the main thread nothing changes."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def note(number: int, frame: FrameType | None) -> None:
        request.asked = True
        restore()

    for number in before:
        signal.signal(number, note)
    try:
        yield request
    finally:
        restore()
