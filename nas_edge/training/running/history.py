"""What a run reports of each epoch: a CSV file and TensorBoard events, kept in step with the checkpoint."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path

from nas_edge.errors import StorageError
from nas_edge.files import make_directory, write_bytes, write_text
from nas_edge.training.running.events import FILES, EventWriter

HISTORY = "history.csv"
EVENTS = "events"


class History:
    """One line an epoch.

    Args:
        directory: of the run.
        step: where the run goes on; lines beyond it, of an epoch that was finished but not saved, are dropped.
    """

    def __init__(self, directory: Path, step: int) -> None:
        self.path = directory / HISTORY
        self.directory = directory
        self.events: EventWriter | None = None
        self.rows: list[dict[str, str]] = []
        self.unsent: list[tuple[int, dict[str, float]]] = []  # to TensorBoard
        if self.path.exists():
            with open(self.path, newline="", encoding="utf-8") as handle:
                self.rows = [row for row in csv.DictReader(handle) if int(row["step"]) <= step]

    def add(self, epoch: int, step: int, seconds: float, figures: Mapping[str, float]) -> None:
        """Add a line and write both files.

        Raises:
            StorageError, ConfigError: cannot be written; what is missing is kept and written with the next.
        """
        plain = {name: f"{value:.5f}" for name, value in figures.items()}
        self.rows.append({"epoch": str(epoch), "step": str(step), "seconds": f"{seconds:.1f}", **plain})
        self.unsent.append((step, dict(figures)))
        text = io.StringIO()
        writer = csv.DictWriter(text, list(self.rows[-1]), extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        write_text(self.path, text.getvalue())
        try:
            self.events = self.events or EventWriter(self.directory)
            while self.unsent:
                self.events.add(*self.unsent[0])
                self.unsent.pop(0)
        except OSError as error:
            self.events = None
            raise StorageError(f"{self.directory}: {error.strerror or error}") from error

    def back_to(self, step: int) -> None:
        """Forget the lines beyond a step that the run returns to."""
        self.rows = [row for row in self.rows if int(row["step"]) <= step]
        self.unsent = [(at, figures) for at, figures in self.unsent if at <= step]


def keep_history(work: Path, out: Path) -> None:
    """Copy what a finished run reported to where it stays: `history.csv`, and event files below `events`.

    A disk that was full whenever they were to be written leaves neither. Raises StorageError, ConfigError: see `files`.
    """
    if (work / HISTORY).exists():
        write_bytes(out / HISTORY, (work / HISTORY).read_bytes())
    for path in sorted(work.rglob(f"{FILES}*")):
        kept = out / EVENTS / path.relative_to(work)
        make_directory(kept.parent)
        write_bytes(kept, path.read_bytes())
