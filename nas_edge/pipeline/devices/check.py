"""`Check`: one thing that `targets doctor` looked at."""

from __future__ import annotations

from dataclasses import dataclass

WORKS, DOUBTFUL, MISSING = "ok", "note", "MISSING"


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: of it.
        verdict: "ok", "note" (it works, figures may suffer) or "MISSING".
        text: what was found.
        mend: the line that mends it, "" where there is nothing to mend or the text says it.

    """

    name: str
    verdict: str
    text: str
    mend: str = ""
