"""Independent tasks, spread over this machine's cores or a cluster: the same results, bit for bit, however spread."""

from nas_edge.spreading.base import Executor, Spread, Work
from nas_edge.spreading.choosing import open_executor

__all__ = ["Executor", "Spread", "Work", "open_executor"]
