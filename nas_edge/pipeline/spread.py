"""From what a command was given to what its work is spread over."""

from __future__ import annotations

from nas_edge.spreading import Spread

__all__ = ["Spread", "chosen_spread"]


def chosen_spread(workers: int | None, cluster: str | None) -> Spread:
    """See `Spread`. Raises ConfigError."""
    return Spread(workers, cluster or "")
