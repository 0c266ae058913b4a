"""Search strategies, one a file."""

from nas_edge.search.strategies.base import (
    Strategy,
    make_strategy,
    register_strategy,
    strategy_entry,
    strategy_names,
)

__all__ = ["Strategy", "make_strategy", "register_strategy", "strategy_entry", "strategy_names"]
