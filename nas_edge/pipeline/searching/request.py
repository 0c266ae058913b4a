"""What a search asks for."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from nas_edge.errors import ConfigError, FormatError

ZERO_COST = "zero-cost:"


@dataclass(frozen=True)
class TargetBudget:
    """One target and what the network may cost there.

    Attributes:
        target: name or file.
        latency_ms, energy_mj: budgets, None for no bound.
        host: "user@address[:port]" of a device reached over ssh, "" for what the target says.
        serial: of a device reached over adb.

    """

    target: str
    latency_ms: float | None = None
    energy_mj: float | None = None
    host: str = ""
    serial: str = ""


@dataclass(frozen=True)
class SearchRequest:
    """The options of `nas-edge search`.

    Attributes:
        target: name or file, with `latency_ms` and `energy_mj` as budgets, `host` and `serial` as in `TargetBudget`.
        others: further targets, whose budgets the same network must meet as well.
        macs, params, sram_bytes, flash_bytes, instructions: budgets of the network.
        min_accuracy: 0..1; the objective is then the least latency (or MACs, without a target).
        limits: further bounds, (metric, "<=" or ">=", figure): of tables of architectures, or of registered metrics.
        objective: the metric to be made best; "" for accuracy, or what `min_accuracy` asks for.
        pareto: two or more metrics to be traded off, instead of one objective.
        bundle: name or directory.
        space: instead of a bundle: a preset or YAML file (with `accuracy_predictor`), or a table of architectures.
        accuracy_predictor: a file (ours or Once-for-All's), or "zero-cost:NAME" for a proxy, with `evaluate` as the
            prior of a predictor; "" for the bundle's.
        num_classes: with `space`; None for 1,000.
        precision: one, or several for a gene of the whole network; () for the target's.
        resolutions: None for all that the space has.
        fix: genes held to some values, "NAME=VALUE[,VALUE]" each.
        strategy: of the search, "auto" for the best known.
        options: of the strategy, by name.
        confidence: one-sided, of predicted costs that are not measured; 0.5 is the point estimate.
        verify: None for: where the device can be reached.
        rounds: of measuring and searching again, at most.
        evaluations: architectures priced by one search.
        evaluate: subnets whose accuracy is measured in the loop, which refines the predictor, or makes one of a
            proxy; 0 for none.
        statistic, regime: what of the latency is bounded, and whether caches are warm.
        seed: of everything random.
        out: directory of the run, None for `runs/<time>-<target>`.

    """

    target: str = "local"
    latency_ms: float | None = None
    energy_mj: float | None = None
    host: str = ""
    serial: str = ""
    others: tuple[TargetBudget, ...] = ()
    macs: float | None = None
    params: float | None = None
    sram_bytes: float | None = None
    flash_bytes: float | None = None
    instructions: float | None = None
    min_accuracy: float | None = None
    limits: tuple[tuple[str, str, float], ...] = ()
    objective: str = ""
    pareto: tuple[str, ...] = ()
    bundle: str = "trashnet"
    space: str = ""
    accuracy_predictor: str = ""
    num_classes: int | None = None
    precision: tuple[str, ...] = ()
    resolutions: tuple[int, ...] | None = None
    fix: tuple[str, ...] = ()
    strategy: str = "auto"
    options: Mapping[str, Any] = field(default_factory=dict)
    confidence: float = 0.9
    verify: bool | None = None
    rounds: int = 4
    evaluations: int = 50_000
    evaluate: int = 0
    statistic: str = "median"
    regime: str = "hot"
    seed: int = 0
    out: Path | None = None

    @property
    def targets(self) -> tuple[TargetBudget, ...]:
        """Every target with its budgets, the first one first."""
        return (TargetBudget(self.target, self.latency_ms, self.energy_mj, self.host, self.serial), *self.others)

    @property
    def several(self) -> bool:
        """Whether metrics of a target are named with it."""
        return bool(self.others)

    @property
    def proxy(self) -> str:
        """Name of the zero-cost proxy that is asked for, "" for none."""
        named = self.accuracy_predictor.startswith(ZERO_COST)
        return self.accuracy_predictor.removeprefix(ZERO_COST) if named else ""

    def to_json(self) -> dict[str, Any]:
        """As plain data, for a run that may be cut."""
        data = asdict(self)
        return {**data, "options": dict(self.options), "out": None if self.out is None else str(self.out)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any], where: str) -> SearchRequest:
        """The inverse. Raises FormatError."""
        try:
            known = {f.name for f in fields(cls)}
            if unknown := set(data) - known:
                raise ValueError(f"unknown: {', '.join(sorted(unknown))}")
            values = dict(data)
            values["others"] = tuple(TargetBudget(**other) for other in values["others"])
            values["limits"] = tuple((str(m), str(op), float(figure)) for m, op, figure in values["limits"])
            for name in ("pareto", "precision", "fix"):
                values[name] = tuple(values[name])
            values["resolutions"] = None if values["resolutions"] is None else tuple(values["resolutions"])
            values["out"] = None if values["out"] is None else Path(values["out"])
            return cls(**values)
        except (KeyError, TypeError, ValueError) as error:
            raise FormatError(f"{where}: is not the request of a search ({error})") from error

    def check(self) -> None:
        """Hold the options against each other.

        Raises:
            ConfigError: nothing bounds the search, options that exclude each other, or a value out of range.

        """
        if not 0.5 <= self.confidence < 1:
            raise ConfigError(f"confidence must be at least 0.5 and below 1, not {self.confidence:g}")
        if self.min_accuracy is not None and not 0 < self.min_accuracy < 1:
            raise ConfigError(f"min-accuracy must lie between 0 and 100 %, not {100 * self.min_accuracy:g} %")
        if self.pareto and (self.objective or self.min_accuracy is not None):
            raise ConfigError("--pareto names all objectives: leave --objective and --min-accuracy out")
        if len(self.pareto) == 1 or len(set(self.pareto)) != len(self.pareto):
            raise ConfigError(f"--pareto needs two or more different metrics, not {','.join(self.pareto)!r}")
        names = [budget.target for budget in self.targets]
        if len(set(names)) != len(names):
            raise ConfigError(f"target {max(names, key=names.count)!r} is named twice")
        if self.space and self.bundle != SearchRequest.bundle:
            raise ConfigError("--space and --bundle exclude each other: a bundle has its own space")
        if self.num_classes is not None and not self.space:
            raise ConfigError("--classes goes with --space: a bundle has its own classes")
        if self.evaluate and self.accuracy_predictor and not self.proxy:
            raise ConfigError(
                "--evaluate measures the bundle's subnets: leave --accuracy-predictor out, or begin with a proxy "
                f"({ZERO_COST}naswot)"
            )

    @property
    def bounded(self) -> bool:
        """Whether anything bounds the search at all."""
        budgets = (self.macs, self.params, self.sram_bytes, self.flash_bytes, self.instructions, self.min_accuracy)
        own = any(value is not None for value in budgets) or bool(self.limits) or bool(self.pareto)
        return own or any(b.latency_ms is not None or b.energy_mj is not None for b in self.targets)

    def verifying_command(self, unreached: Collection[str] = ()) -> str:
        """The command line that does this search with verification.

        Args:
            unreached: targets of which nobody has said how they are reached: an address is asked for.

        """
        asked = [
            replace(budget, host="USER@ADDRESS")
            if budget.target in unreached and not (budget.host or budget.serial)
            else budget
            for budget in self.targets
        ]
        first, others = asked[0], tuple(asked[1:])
        return shlex.join([*replace(self, host=first.host, others=others).command(), "--verify"])

    def command(self) -> list[str]:
        """The command line of this search, without whether it verifies."""
        default, words = SearchRequest(), ["nas-edge", "search"]
        for budget in self.targets:
            words += ["--target", budget.target]
            words += [] if budget.latency_ms is None else ["--latency", f"{budget.latency_ms:g}ms"]
            words += [] if budget.energy_mj is None else ["--energy", f"{budget.energy_mj:g}mJ"]
            words += [
                word for name in ("host", "serial") if (value := getattr(budget, name)) for word in (f"--{name}", value)
            ]
        for name, option in (("macs", "macs"), ("params", "params"), ("instructions", "instructions")):
            value = getattr(self, name)
            words += [] if value is None else [f"--{option}", f"{value:.15g}"]
        for name, option in (("sram_bytes", "sram"), ("flash_bytes", "flash")):
            value = getattr(self, name)
            words += [] if value is None else [f"--{option}", f"{value:.15g}B"]
        words += [] if self.min_accuracy is None else ["--min-accuracy", f"{100 * self.min_accuracy:.15g}%"]
        words += [word for metric, op, figure in self.limits for word in ("--limit", f"{metric}{op}{figure:.15g}")]
        words += ["--pareto", ",".join(self.pareto)] if self.pareto else []
        words += [word for text in self.fix for word in ("--fix", text)]
        for name in ("objective", "bundle", "space", "accuracy_predictor", "num_classes", "statistic", "regime"):
            if getattr(self, name) != getattr(default, name):
                option = {"num_classes": "classes"}.get(name, name.replace("_", "-"))
                words += [f"--{option}", str(getattr(self, name))]
        if self.strategy != default.strategy:
            words += [
                "--strategy",
                ":".join([self.strategy, *(f"{key}={value}" for key, value in self.options.items())]),
            ]
        for name, values in (("resolutions", self.resolutions), ("precision", self.precision)):
            words += [f"--{name}", ",".join(map(str, values))] if values else []
        for name in ("confidence", "rounds", "evaluations", "evaluate", "seed"):
            if getattr(self, name) != getattr(default, name):
                words += [f"--{name}", f"{getattr(self, name):g}" if name == "confidence" else str(getattr(self, name))]
        return words
