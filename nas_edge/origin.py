"""Where a figure comes from. It travels with the figure to the last report."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class OriginKind(StrEnum):
    """How a figure came to be. A modelled figure is never called measured."""

    MEASURED = "measured"
    MEASURED_EMULATED = "measured-emulated"
    PUBLISHED = "published"
    MODELLED = "modelled"


@dataclass(frozen=True)
class Origin:
    """The origin of a figure.

    Attributes:
        kind: how it came to be.
        machine: fingerprint of the machine (for `measured`, `measured-emulated`).
        date: ISO date of the measurement, "" if unknown.
        source: who published it, or what it was modelled from.

    """

    kind: OriginKind
    machine: str = ""
    date: str = ""
    source: str = ""

    def describe(self, this_machine: str = "") -> str:
        """One phrase for a person; "on this machine" only where the fingerprint is this machine's."""
        if self.kind in (OriginKind.MEASURED, OriginKind.MEASURED_EMULATED):
            where = "on this machine" if self.machine and self.machine == this_machine else self.machine
            return " ".join(part for part in (self.kind.value, where, self.date) if part)
        return f"{self.kind.value}: {self.source}" if self.source else self.kind.value

    def to_json(self) -> dict[str, str]:
        """As plain data, empty fields left out."""
        fields = {"kind": self.kind.value, "machine": self.machine, "date": self.date, "source": self.source}
        return {key: value for key, value in fields.items() if value}

    @classmethod
    def from_json(cls, data: dict[str, str]) -> Origin:
        """The inverse of `to_json`. Raises ValueError for an unknown kind."""
        return cls(OriginKind(data["kind"]), data.get("machine", ""), data.get("date", ""), data.get("source", ""))
