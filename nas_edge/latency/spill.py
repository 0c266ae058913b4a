"""What weights cost that no cache holds, in networks larger than any that was measured.

A block that is timed alone, over and over, has its weights in a cache. So have those of a whole network, up to a size:
beyond that each run fetches them anew, and calibration networks that are smaller know nothing of it. On one server CPU
(32 MB of last-level cache, shared) eleven networks with 18 to 57 MB of weights took 0.1 to 0.8 ms more than the sums of
their blocks said, which themselves were right; 12 MB and less cost nothing. That is 19 us for each MB beyond 13 MB.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_MS_PER_MB = 0.02
_SHARE_OF_CACHE = 0.4  # the rest is activations', other programs' and other machines' on the same chip
_LOG_ERROR = 0.5  # of what is assumed here


@dataclass(frozen=True)
class Spill:
    """Milliseconds beyond a size.

    Attributes:
        from_mb: of weights, up to which nothing is added.
        ms_per_mb: of what is beyond; 0 where nothing is known of the device's caches.

    """

    from_mb: float = 0.0
    ms_per_mb: float = 0.0

    @classmethod
    def of(cls, device: Mapping[str, Any], calibrated_mb: Floats, known_ms_per_mb: float) -> Spill:
        """What a device's caches and the networks that were measured on it leave to be assumed.

        Args:
            device: of a table's header; `cache_bytes` is its last-level cache.
            calibrated_mb: float64 [m], weights of the networks behind the calibration.
            known_ms_per_mb: what the calibration adds for each MB anyway.

        """
        cache = device.get("cache_bytes", 0)
        if isinstance(cache, bool) or not isinstance(cache, int | float) or cache <= 0 or not len(calibrated_mb):
            return cls()
        reach = float(calibrated_mb.max())
        return cls(max(_SHARE_OF_CACHE * cache / 2**20, reach), max(0.0, _MS_PER_MB - known_ms_per_mb))

    def ms(self, parameter_mb: Floats, quantile: float = 0.0) -> Floats:
        """Milliseconds to be added, float64 [n]; a bound `quantile` standard deviations up, or down where negative."""
        beyond = np.maximum(parameter_mb - self.from_mb, 0.0) * self.ms_per_mb
        found: Floats = beyond * max(0.0, 1.0 + quantile * _LOG_ERROR)
        return found
