"""`Aim`: a target that a search is for, with its tables, predictors and, where it can be reached, its device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from nas_edge.errors import ConfigError
from nas_edge.latency import LatencyPredictor
from nas_edge.pipeline.devices.reaching import at_device
from nas_edge.pipeline.devices.targets import Target, load_target
from nas_edge.pipeline.searching.request import SearchRequest, TargetBudget
from nas_edge.pipeline.tables.describing import this_machine
from nas_edge.pipeline.tables.finding import FoundTable, load_table_for
from nas_edge.pipeline.tables.keeping import improved
from nas_edge.progress import Progress
from nas_edge.search.metrics import TargetSources
from nas_edge.spaces import Precision, SearchSpace

if TYPE_CHECKING:
    from nas_edge.latency.energy import EnergyPredictor
    from nas_edge.pipeline.devices.bench import Bench


@dataclass(frozen=True, eq=False)
class Aim:
    """One target of a search.

    Attributes:
        budget: what was asked for.
        target: as its file says.
        tables: of each precision.
        predictors: of each precision; corrected by what is measured.
        energy: of each precision whose table holds energies.
        bench: its device, None where nothing is to be measured.
        instructions: of a microcontroller whose blocks were counted.
        kept: of each precision the directory of networks measured on this device before, where there are any.
        notes: what a user should be told.

    """

    budget: TargetBudget
    target: Target
    tables: Mapping[Precision, FoundTable]
    predictors: Mapping[Precision, LatencyPredictor]
    energy: Mapping[Precision, EnergyPredictor]
    bench: Bench | None
    instructions: LatencyPredictor | None = None
    kept: Mapping[Precision, Path] = field(default_factory=dict)
    notes: tuple[str, ...] = field(default=())

    @property
    def name(self) -> str:
        """As the user called it."""
        return self.budget.target

    def sources(self, precision: Precision, confidence: float) -> TargetSources:
        """What metrics of one precision are made of."""
        # What will be measured is searched by its point estimate: the device decides, not a bound.
        at = 0.5 if self.bench is not None else confidence
        counted = self.instructions if precision is Precision.INT8 else None
        return TargetSources(self.predictors[precision], self.energy.get(precision), counted, confidence=at)

    def with_predictor(self, precision: Precision, predictor: LatencyPredictor) -> Aim:
        """The same with a corrected predictor of one precision."""
        return replace(self, predictors={**self.predictors, precision: predictor})


def chosen_precisions(request: SearchRequest, first: Target) -> tuple[Precision, ...]:
    """Precisions to search in: as asked for, else the first target's. Raises UnknownNameError."""
    from nas_edge.errors import UnknownNameError

    known = [precision.value for precision in Precision]
    for name in request.precision:
        if name not in known:
            raise UnknownNameError("precision", name, known)
    return tuple(dict.fromkeys(Precision(name) for name in request.precision or (first.precision,)))


def open_aim(
    request: SearchRequest,
    budget: TargetBudget,
    space: SearchSpace,
    num_classes: int,
    precisions: tuple[Precision, ...],
    progress: Progress,
) -> Aim:
    """Find a target's tables and, where it is to be verified, its device; meet a device without a table.

    Raises:
        UnknownNameError: no such target. DeviceError, MeasurementError: it is to be measured and cannot be.
        ConfigError: energies that no table has, a statistic that would have to be measured, a precision without table.

    """
    target = at_device(load_target(budget.target), budget.host, budget.serial)
    bench = _bench(request, target)
    tables: dict[Precision, FoundTable] = {}
    notes: list[str] = []
    for precision in precisions:
        in_precision = target.model_copy(update={"precision": precision.value})
        found = load_table_for(in_precision, request.regime)
        # Precisions that share one table cannot be told apart by what they cost.
        stands_in = len(precisions) > 1 and found.table.header.precision != precision.value
        if (not found.own or stands_in) and bench is not None:
            found = _first_contact(in_precision, request.regime, space.base, num_classes, bench, progress)
            notes.append(f"first contact: a few networks were timed, once; kept in {found.path}")
        elif (not found.own or stands_in) and len(precisions) > 1:
            raise ConfigError(
                f"target {target.name!r} has no table in {precision.value}: "
                f"'nas-edge table measure --target {target.name} --precision {precision.value}' makes one; or search "
                "one precision"
            )
        elif not found.own and target.device.kind == "local":
            notes.append("run once without --no-verify: a minute of measuring replaces the model")
        tables[precision] = found
        notes = [*found.notes, *notes]
    statistic = tables[precisions[0]].table.header.statistic
    if bench is None and request.statistic not in (statistic, "median"):
        raise ConfigError(
            f"statistic {request.statistic!r}: the table of {target.name!r} holds the {statistic}; other statistics "
            "are measured: add --verify"
        )
    machine = _machine(target, bench)
    predictors: dict[Precision, LatencyPredictor] = {}
    kept: dict[Precision, Path] = {}
    for precision, found in tables.items():
        predictor = LatencyPredictor.of(found.table, space.base, num_classes)
        better, path = improved(predictor, machine)
        # A promise is about another sitting than the table's.
        predictors[precision] = better.later()
        kept |= {} if path is None else {precision: path}
    return Aim(
        budget, target, tables, predictors, _energies(budget, tables, space, num_classes), bench,
        _instructions(target, space, num_classes), kept, tuple(dict.fromkeys(notes)),
    )  # fmt: skip


def _machine(target: Target, bench: Bench | None) -> str:
    """Identity of the device, where it is at hand."""
    if bench is not None:
        return bench.machine
    return this_machine() if target.device.kind == "local" else ""


def _energies(
    budget: TargetBudget, tables: Mapping[Precision, FoundTable], space: SearchSpace, num_classes: int
) -> dict[Precision, EnergyPredictor]:
    having = {p: f.table for p, f in tables.items() if any(e.energy_mj is not None for e in f.table.blocks.values())}
    if budget.energy_mj is not None and len(having) < len(tables):
        raise ConfigError(
            f"the table of {budget.target!r} holds no energies: leave --energy out, or choose a target whose table "
            "does (jetson-tx2, jetson-agx-xavier)"
        )
    if not having:
        return {}
    from nas_edge.latency.energy import EnergyPredictor

    return {p: EnergyPredictor.of(table, space.base, num_classes) for p, table in having.items()}


def _instructions(target: Target, space: SearchSpace, num_classes: int) -> LatencyPredictor | None:
    """Of a microcontroller: instructions instead of milliseconds. Raises as the table is read."""
    if not target.microcontroller:
        return None
    from nas_edge.pipeline.tables.modelled import instruction_table

    found = instruction_table(target)
    return None if found is None else LatencyPredictor.of(found[0], space.base, num_classes)


def _bench(request: SearchRequest, target: Target) -> Bench | None:
    """The device, None where nothing is to be measured. Raises DeviceError where --verify asks for the impossible."""
    if request.verify is False or (request.verify is None and target.device.kind == "none"):
        return None
    if target.microcontroller:
        return None  # nothing is timed: see `counting`
    from nas_edge.pipeline.devices.bench import can_be_reached, open_bench

    if request.verify is None and not can_be_reached(target):
        return None
    return open_bench(target)


def _first_contact(
    target: Target, regime: str, space: SearchSpace, num_classes: int, bench: Bench, progress: Progress
) -> FoundTable:
    from nas_edge.pipeline.tables.measuring import first_contact

    def told(done: float, total: float, text: str) -> None:
        progress(done, total, f"first contact with {target.name}, once, about a minute: {text}")

    return first_contact(
        target, space, num_classes, regime=regime, device=bench.device, engine=bench.runtime, progress=told
    )
