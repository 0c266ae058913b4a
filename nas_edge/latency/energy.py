"""`EnergyPredictor`: millijoules of a whole population, from the energies of a table's blocks.

Energies are priced as times are: exact entries, a parametric model for blocks without one, their sum. No table that is
known has the energy of whole networks: the interval is always assumed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas_edge.errors import TableError
from nas_edge.latency.network_predictor import NetworkPredictor
from nas_edge.latency.parametric import MIN_ROWS
from nas_edge.latency.predictor import LatencyPrediction, LatencyPredictor
from nas_edge.latency.table import BlockEntry, LatencyTable
from nas_edge.spaces import Population, SearchSpace, TermCosts

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class EnergyPredictor:
    """As `LatencyPredictor`, in mJ a run.

    Attributes:
        source: of the energies, whose "milliseconds" are millijoules.

    """

    source: LatencyPredictor

    @classmethod
    def of(cls, table: LatencyTable, space: SearchSpace, num_classes: int) -> EnergyPredictor:
        """Build a predictor of a table's energies. Raises TableError where it has none, or too few for a model."""
        return cls(LatencyPredictor.of(energy_table(table), space, num_classes))

    def predict(self, population: Population, confidence: float = 0.9) -> LatencyPrediction:
        """Energy of each architecture in mJ: int8 [n, genes] to float64 [n]; P(energy <= high) >= confidence."""
        return self.source.predict(population, confidence)

    def point(self, population: Population) -> Floats:
        """The point estimates alone, mJ, float64 [n]."""
        return self.source.point(population)

    def additive(self, confidence: float) -> tuple[TermCosts, Callable[[Floats], Floats]]:
        """As of `LatencyPredictor`, in mJ."""
        return self.source.additive(confidence)

    @property
    def interval(self) -> str:
        """`assumed`."""
        return self.source.interval

    def describe(self) -> dict[str, Any]:
        """What predictions rest on, as plain data."""
        return self.source.describe()


def has_energy(table: LatencyTable) -> bool:
    """Whether a table holds enough energies to predict any."""
    return sum(entry.energy_mj is not None for entry in table.blocks.values()) >= MIN_ROWS


def energy_table(table: LatencyTable) -> LatencyTable:
    """A table whose figures are the energies of another's blocks; its whole networks have none and are left out.

    Raises:
        TableError: too few blocks have one.

    """
    if not has_energy(table):
        raise TableError(f"{table.header.describe()}: holds no energies; choose a target whose table does (jetson-tx2)")
    blocks = {
        block: BlockEntry(entry.energy_mj, origin=entry.origin)
        for block, entry in table.blocks.items()
        if entry.energy_mj is not None
    }
    return LatencyTable(replace(table.header, prior={}, transfer={}, sittings={}, figures={}), blocks)


def network_energy(table: LatencyTable) -> NetworkPredictor:
    """Energies of explicit lists of blocks. Raises as `energy_table`."""
    return NetworkPredictor.of(energy_table(table))
