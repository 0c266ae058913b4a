"""From what a command was given to what its work is spread over."""

from __future__ import annotations

from nas_edge.spreading import Spread


def chosen_spread(workers: int | None, cluster: str | None) -> Spread:
    """See `Spread`. Raises ConfigError."""
    return Spread(workers, cluster or "")
