"""Latency: tables, what to measure for them, prediction with intervals, calibration, transfer. Numpy only."""

from nas_edge.latency.predictor import ASSUMED, JACKKNIFE, LatencyPrediction, LatencyPredictor
from nas_edge.latency.table import BlockEntry, LatencyTable, NetworkEntry, Role, Source, TableHeader
from nas_edge.latency.table_io import read_header, read_table, table_directory, write_table

__all__ = [
    "ASSUMED", "JACKKNIFE", "BlockEntry", "LatencyPrediction", "LatencyPredictor", "LatencyTable", "NetworkEntry",
    "Role", "Source", "TableHeader", "read_header", "read_table", "table_directory", "write_table",
]  # fmt: skip
