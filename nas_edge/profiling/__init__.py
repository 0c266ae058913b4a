"""How latency is measured: the protocol, its statistics, and `Measurement`, which keeps every sample."""

from nas_edge.profiling.engine import measure_many, measure_one
from nas_edge.profiling.measurement import Measurement, Visit
from nas_edge.profiling.protocol import Protocol, Regime, Statistic
from nas_edge.profiling.sitting import WorkItem

__all__ = ["Measurement", "Protocol", "Regime", "Statistic", "Visit", "WorkItem", "measure_many", "measure_one"]
