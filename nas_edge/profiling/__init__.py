"""How latency is measured: the protocol, its statistics, and `Measurement`, which keeps every sample."""

from nas_edge.profiling.engine import measure_many, measure_one
from nas_edge.profiling.measurement import Interference, Measurement, Visit
from nas_edge.profiling.pool import WorkItem
from nas_edge.profiling.protocol import Protocol, Regime, Statistic

__all__ = [
    "Interference", "Measurement", "Protocol", "Regime", "Statistic", "Visit", "WorkItem", "measure_many",
    "measure_one",
]  # fmt: skip
