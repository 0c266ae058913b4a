"""What every flow gives back."""

from __future__ import annotations

from typing import Any, Protocol


class FlowReport(Protocol):
    """The result of a flow. The command line prints either of its two forms and exits with `exit_code`."""

    @property
    def exit_code(self) -> int:
        """0, or 1 where there is a result but not the one asked for (a budget that was measured not to be met)."""

    def to_json(self) -> dict[str, Any]:
        """One object of plain data: what --json prints."""

    def lines(self) -> list[str]:
        """The same for a person."""


class Success:
    """What all reports share whose flows give a result or raise: nothing lies between."""

    @property
    def exit_code(self) -> int:
        """0: what does not succeed is an error."""
        return 0
