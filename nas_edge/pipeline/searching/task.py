"""`SearchTask`: a request made ready: space, metrics, constraints, objectives; searched again as predictors change."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from nas_edge import __version__
from nas_edge.errors import ConfigError, UnknownNameError
from nas_edge.pipeline.devices.microcontrollers import firmware_of, memory_limits
from nas_edge.pipeline.devices.targets import load_target
from nas_edge.pipeline.searching.aims import Aim, chosen_precisions, open_aim
from nas_edge.pipeline.searching.request import SearchRequest
from nas_edge.pipeline.searching.source import Source, open_source
from nas_edge.progress import Progress, silent
from nas_edge.search.constraints import Constraint
from nas_edge.search.metrics import Metric, MetricContext, TargetSources, build_metrics, metric_names
from nas_edge.search.mixed import build_mixed_metrics
from nas_edge.search.run import search
from nas_edge.spaces import Population, Precision

if TYPE_CHECKING:
    from nas_edge.search.journal import SearchJournal
    from nas_edge.search.result import SearchResult

ZERO_COST_EVALUATIONS = 300
MICROCONTROLLER_BUNDLE = "trashnet-mcu"
"""What is searched for microcontrollers where no bundle is named: no subnet of the usual one fits into any."""
_ALWAYS = ("accuracy", "macs", "params")
_PROBES = 16  # networks whose figures tell one search from another


@dataclass(frozen=True, eq=False)
class SearchTask:
    """What is searched, and for which targets.

    Attributes:
        request: what was asked for.
        source: networks and their accuracy.
        aims: targets, at least one.
        precisions: of the networks, one or several.

    """

    request: SearchRequest
    source: Source
    aims: tuple[Aim, ...]
    precisions: tuple[Precision, ...]

    @property
    def verified(self) -> bool:
        """Whether anything is measured."""
        return any(aim.bench is not None for aim in self.aims)

    def metric_of(self, name: str, aim: Aim) -> str:
        """Name of a target's metric: "latency", or "latency@board" where there are several targets."""
        return f"{name}@{aim.name}" if self.request.several else name

    def limits(self) -> dict[str, float]:
        """Latency budgets by metric, of the targets that have one."""
        budgets = {self.metric_of("latency", aim): aim.budget.latency_ms for aim in self.aims}
        return {name: limit for name, limit in budgets.items() if limit is not None}

    def memory_limits(self) -> dict[str, float]:
        """What microcontrollers among the targets have of SRAM and flash: bounds that nobody has to ask for."""
        found: dict[str, float] = {}
        for aim in self.aims:
            for name, limit in memory_limits(aim.target).items():
                found[name] = min(limit, found.get(name, limit))
        return found

    def implied(self, name: str) -> bool:
        """Whether the bound on a metric is the target's own, which nobody asked for."""
        request = self.request
        asked = {"sram": request.sram_bytes, "flash": request.flash_bytes}
        return name in asked and asked[name] is None

    def constraints(self, limits: Mapping[str, float] | None = None) -> tuple[Constraint, ...]:
        """All budgets; the first target's latency first: the front is along it.

        Args:
            limits: latency limits by metric to be used instead of the budgets.

        """
        request = self.request
        wanted = {**self.limits(), **(limits or {})}
        for aim in self.aims:
            if aim.budget.energy_mj is not None:
                wanted[self.metric_of("energy", aim)] = aim.budget.energy_mj
        own = {
            "macs": request.macs,
            "params": request.params,
            "sram": request.sram_bytes,
            "flash": request.flash_bytes,
            self.metric_of("instructions", self.aims[0]): request.instructions,
        }
        wanted |= {name: limit for name, limit in own.items() if limit is not None}
        for name, limit in self.memory_limits().items():
            wanted[name] = min(limit, wanted.get(name, limit))
        found = [Constraint(name, "<=", limit) for name, limit in wanted.items()]
        if request.min_accuracy is not None:
            found.append(Constraint("accuracy", ">=", request.min_accuracy))
        found += [Constraint(name, "<=" if op == "<=" else ">=", limit) for name, op, limit in request.limits]
        return tuple(found)

    @property
    def objectives(self) -> tuple[str, ...]:
        """What is made best: accuracy, or the least latency at an accuracy, or several to be traded off."""
        request = self.request
        if request.pareto:
            # Accuracy first: what a strategy of one objective would look at, and what people read first.
            ordered = sorted(request.pareto, key=lambda name: name != "accuracy")
            return tuple(self._qualified(name) for name in ordered)
        if request.objective:
            return (self._qualified(request.objective),)
        return (self.metric_of("latency", self.aims[0]),) if request.min_accuracy is not None else ("accuracy",)

    def _qualified(self, name: str) -> str:
        """A target's metric without its target is the first target's."""
        if name.partition("@")[0] not in metric_names():
            raise UnknownNameError("metric", name, metric_names())
        return self.metric_of(name, self.aims[0]) if name in ("latency", "energy", "instructions") else name

    def names(self) -> tuple[str, ...]:
        """Metrics to be reported: latency of every target, energies where there are any, and what bounds the search."""
        names = [*_ALWAYS, *(self.metric_of("latency", aim) for aim in self.aims)]
        names += [self.metric_of("energy", aim) for aim in self.aims if len(aim.energy) == len(self.precisions)]
        names += [constraint.metric for constraint in self.constraints()] + list(self.objectives)
        return tuple(dict.fromkeys(names))

    def metrics(self, aims: Sequence[Aim] | None = None) -> dict[str, Metric]:
        """Metrics under the aims' predictors as they are now, or under these aims'."""
        aims = self.aims if aims is None else aims
        contexts = {precision: self._context(precision, aims) for precision in self.precisions}
        if len(self.precisions) > 1:
            return build_mixed_metrics(self.names(), contexts, self.source.space)
        return build_metrics(self.names(), contexts[self.precisions[0]])

    def _context(self, precision: Precision, aims: Sequence[Aim]) -> MetricContext:
        sources = {aim.name: aim.sources(precision, self.request.confidence) for aim in aims}
        single: TargetSources = sources[aims[0].name]
        return MetricContext(
            self.source.space.base,
            self.source.num_classes,
            self.source.accuracy[precision],
            single,
            sources,
            self.request.confidence,
            precision,
            next((firmware for aim in aims if (firmware := firmware_of(aim.target)) is not None), None),
        )

    def identity(self) -> dict[str, Any]:
        """What makes this search and no other: the request, and what tables and predictors say of a few networks."""
        asked = {name: value for name, value in self.request.to_json().items() if name != "out"}
        space = self.source.space
        # A proxy builds each network that it scores.
        few = space.sample(0 if self.source.proxy else _PROBES, np.random.default_rng(0))
        probes = np.concatenate([np.stack([space.smallest(), space.largest()]), few])
        figures = [f"{value:.6g}" for metric in self.metrics().values() for value in metric(probes)]
        digest = hashlib.sha256(" ".join(figures).encode()).hexdigest()
        limits = [str(constraint) for constraint in self.constraints()]
        return {"version": __version__, **asked, "limits": limits, "tables and predictors": digest}

    def search(
        self,
        aims: Sequence[Aim] | None = None,
        limits: Mapping[str, float] | None = None,
        progress: Progress = silent,
        *,
        min_accuracy: float | None = None,
        start: Population | None = None,
        journal: SearchJournal | None = None,
    ) -> SearchResult:
        """One search.

        Args:
            aims: with corrected predictors, None for those of the tables.
            limits: latency limits by metric, instead of the budgets.
            progress: told how far it is.
            min_accuracy: instead of the request's.
            start: int8 [n, genes], architectures to begin with.
            journal: to go on from, and where evaluations are kept.

        Raises: as `search.search`.

        """
        request = self.request
        constraints = self.constraints(limits)
        if min_accuracy is not None:
            constraints = tuple(
                replace(c, limit=min_accuracy) if c.metric == "accuracy" and not c.upper else c for c in constraints
            )
        return search(
            self.source.space, self.metrics(aims), constraints, objective=self.objectives, strategy=request.strategy,
            options=request.options, evaluations=request.evaluations, seed=request.seed, start=start, journal=journal,
            progress=progress,
        )  # fmt: skip


def prepare(request: SearchRequest, progress: Progress = silent) -> SearchTask:
    """Open what a request names: bundle or space, targets, tables, devices.

    Raises:
        ConfigError: options that do not go together, nothing that bounds the search, energies or accuracies that are
        not known. UnknownNameError, FormatError, SpaceError, DeviceError, MeasurementError: as what is opened.

    """
    request.check()
    for name, value, known in (
        ("statistic", request.statistic, ("median", "p90", "p95", "p99")),
        ("regime", request.regime, ("hot", "cold")),
    ):
        if value not in known:
            raise UnknownNameError(name, value, known)
    if not request.bounded and not any(memory_limits(load_target(budget.target)) for budget in request.targets):
        raise ConfigError(
            "a search needs a budget: --latency 5ms, --macs 60M or --params 2M, or several of them; or --min-accuracy "
            "90%, or --pareto latency,accuracy"
        )
    if request.bundle == SearchRequest.bundle and all(
        load_target(budget.target).microcontroller for budget in request.targets
    ):
        request = replace(request, bundle=MICROCONTROLLER_BUNDLE)
    precisions = chosen_precisions(request, load_target(request.target))
    source = open_source(request, precisions)
    if source.proxy and not request.evaluate and request.evaluations == SearchRequest.evaluations:
        # Each costs a network and a batch, not a thousandth of a millisecond.
        request = replace(request, evaluations=ZERO_COST_EVALUATIONS)
    aims = tuple(
        open_aim(request, budget, source.space, source.num_classes, precisions, progress) for budget in request.targets
    )
    return SearchTask(request, source, aims, precisions)
