"""Runtimes that build before they run, and take long: what a sitting will need is built at once, announced."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from nas_edge.progress import Progress, silent


@runtime_checkable
class BuildingRuntime(Protocol):
    """A `Runtime` whose `prepare` takes seconds to minutes for a model that it has not seen, and whose visits are
    processes of their own.
    """

    def build_ahead(self, models: Sequence[bytes], precision: str, progress: Progress = silent) -> int:
        """Build what is not kept yet; how many that were. The first calls of `progress` say how long it will take.

        Raises:
            MeasurementError, DeviceError: as `prepare`. What was built until then is kept.

        """
