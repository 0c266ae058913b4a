"""How long work reports that it is alive."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Called now and then by anything that may take more than two seconds."""

    def __call__(self, done: float, total: float, text: str) -> None:
        """`done` of `total` units of work, and what is going on."""


def silent(done: float, total: float, text: str) -> None:
    """Report nothing."""
