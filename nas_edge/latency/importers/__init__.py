"""Tables of other projects, converted into ours: one file a format, found by name."""

from nas_edge.latency.importers.base import ImportRequest, TableFormat
from nas_edge.latency.importers.registry import get_table_format, register_table_format, table_format_names

__all__ = ["ImportRequest", "TableFormat", "get_table_format", "register_table_format", "table_format_names"]
