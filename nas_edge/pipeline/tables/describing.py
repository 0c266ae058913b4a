"""What a prediction rests on and may be called, in words."""

from __future__ import annotations

from nas_edge.pipeline.tables.finding import FoundTable


def this_machine() -> str:
    """Identity of the machine at hand, to tell its figures from those of others of its kind."""
    from nas_edge.devices.fingerprint import local_fingerprint

    return local_fingerprint().machine


def prediction_origin(found: FoundTable, exact_share: float) -> str:
    """What a predicted figure may be called: the table's origin where it rests on the table alone, else modelled."""
    return found.table.header.origin.kind.value if exact_share > 0.999 else "modelled"


def table_share(found: FoundTable, exact_share: float) -> str:
    """How much of a prediction rests on table and on model, in words."""
    origin = found.table.header.origin.kind.value
    if found.table.header.assumed:
        return f"{origin}: {found.table.header.origin.source}"
    return f"table ({found.table.header.describe()}; {origin}) {exact_share:.0%}, model {1 - exact_share:.0%}"
