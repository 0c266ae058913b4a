"""What each block costs: the table's entry where it has one, else the model fitted to the table, else a prior."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from nas_edge.errors import TableError
from nas_edge.latency.parametric import ParametricModel, fit_parametric, prior_model
from nas_edge.latency.table import LatencyTable
from nas_edge.origin import OriginKind
from nas_edge.spaces import BlockSpec


@dataclass(frozen=True, slots=True)
class Price:
    """Price of one block.

    Attributes:
        ms: of a run.
        exact: from an entry of the table that was not itself modelled.
        doubt_ms: `ms` times the log error of the model, 0 for an entry.

    """

    ms: float
    exact: bool
    doubt_ms: float


@dataclass
class Pricer:
    """Prices blocks from one table, each once; the model is fitted when first needed.

    Attributes:
        table: where prices come from.
        missing: blocks that the table lacked so far, in the order asked for.
        model: what priced them.

    """

    table: LatencyTable
    missing: list[BlockSpec] = field(default_factory=list)
    model: ParametricModel | None = None
    _known: dict[BlockSpec, Price] = field(default_factory=dict, repr=False)

    def price(self, blocks: Iterable[BlockSpec]) -> dict[BlockSpec, Price]:
        """Prices of all that were ever asked for, these included.

        Raises:
            TableError: the table lacks some and has too few blocks for a model.

        """
        lacking = []
        for block in blocks:
            if block in self._known:
                continue
            entry = self.table.find(block)
            if entry is None:
                lacking.append(block)
            else:
                self._known[block] = Price(entry.ms, entry.origin is not OriginKind.MODELLED, 0.0)
        lacking = list(dict.fromkeys(lacking))
        if lacking:
            self.model = self.model or self._fit()
            for block, ms in zip(lacking, self.model.predict(lacking), strict=True):
                self._known[block] = Price(float(ms), False, float(ms) * self.model.log_error(block.kind))
            self.missing += lacking
        return self._known

    def _fit(self) -> ParametricModel:
        measured = {block: entry.ms for block, entry in self.table.blocks.items()}
        model = fit_parametric(measured)
        if model is not None:
            return model
        header = self.table.header
        if measured:
            raise TableError(
                f"{header.describe()}: {len(measured)} blocks are too few to model those it lacks; "
                "measure a table of the space"
            )
        return prior_model(str(header.device.get("class", "cpu")))
