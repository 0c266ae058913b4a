"""What a comparison asks for: strategies with their options, budgets, seeds."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from nas_edge.errors import ConfigError, QuantityError, UnknownNameError
from nas_edge.search.constraints import Constraint
from nas_edge.search.metrics import Metric
from nas_edge.search.strategies.base import strategy_entry
from nas_edge.units import parse_bytes, parse_count, parse_energy_mj, parse_latency_ms, parse_share

MAX_SEEDS = 200
AUTO = "auto"
_BUDGET = re.compile(r"\s*(?:(?P<metric>[^\s<>=]+)\s*(?P<op><=|>=))?\s*(?P<limit>[^<>=]+?)\s*\Z")


@dataclass(frozen=True)
class CompareRequest:
    """The options of `nas-edge compare`.

    Attributes:
        strategies: as `parse_strategy` reads them.
        out: directory of the comparison; finished runs in it are kept.
        budgets: as `parse_budgets` reads them; none for a search without constraints.
        seeds: how many, from `seed` on.
        evaluations: of each run.
        baseline: the strategy that the others are tested against; added where it is not among them.
        objectives: of a Pareto search; none for the accuracy, or a table's own.
        target, bundle: of the problem.
        space: preset, YAML or CSV file instead of a bundle.
        accuracy_predictor: file or "zero-cost:NAME"; "" for the bundle's.
        num_classes: with `space`; None for 1,000.
        precision: () for the target's.
        resolutions: None for all.
        fix: genes held to some values, "NAME=VALUE[,VALUE]" each.
        confidence: one-sided, of latencies.
        seed: the first.
        plot: whether to draw.

    """

    strategies: tuple[str, ...]
    out: Path
    budgets: tuple[str, ...] = ()
    seeds: int = 10
    evaluations: int = 20_000
    baseline: str = "random"
    objectives: tuple[str, ...] = ()
    target: str = "local"
    bundle: str = "trashnet"
    space: str | None = None
    accuracy_predictor: str = ""
    num_classes: int | None = None
    precision: tuple[str, ...] = ()
    resolutions: tuple[int, ...] | None = None
    fix: tuple[str, ...] = ()
    confidence: float = 0.9
    seed: int = 0
    plot: bool = True

    def __post_init__(self) -> None:
        if not self.strategies:
            raise ConfigError("nothing to compare: --strategies evolution,random")
        if not 1 <= self.seeds <= MAX_SEEDS:
            raise QuantityError(f"seeds must be 1 to {MAX_SEEDS}, not {self.seeds}")
        if self.evaluations < 2:
            raise QuantityError(f"evaluations must be at least 2, not {self.evaluations}")
        for what, values in (("strategies", self.strategies), ("budgets", self.budgets)):
            repeated = sorted({value for value in values if values.count(value) > 1})
            if repeated:
                raise ConfigError(f"{what}: {', '.join(repeated)} is there twice")

    @property
    def compared(self) -> tuple[str, ...]:
        """The strategies, the baseline among them."""
        return self.strategies if self.baseline in self.strategies else (*self.strategies, self.baseline)

    @property
    def budget_metrics(self) -> tuple[str, ...]:
        """Names of the metrics that budgets bound, as far as they can be read."""
        found = [_BUDGET.match(part) for text in self.budgets for part in text.split("&")]
        return tuple(dict.fromkeys(match["metric"] or "latency" for match in found if match))


def parse_strategy(text: str) -> tuple[str, dict[str, Any]]:
    """ "evolution:polish_every=0:niches=1" -> ("evolution", {"polish_every": 0, "niches": 1}); "auto" is what fits.

    Raises:
        UnknownNameError: the strategy or an option. ConfigError: a value that is not of the option's kind.

    """
    name, *settings = text.split(":")
    if text == AUTO:
        return AUTO, {}
    if name == AUTO:
        raise ConfigError(f"strategy {text!r}: {AUTO!r} chooses one that fits, options are of a strategy with a name")
    entry = strategy_entry(name)
    kinds = {field.name: type(getattr(entry.options(), field.name)) for field in fields(entry.options)}
    options: dict[str, Any] = {}
    for setting in settings:
        key, _, value = setting.partition("=")
        if key not in kinds:
            raise UnknownNameError(f"option of strategy {name!r}:", key, kinds)
        options[key] = _converted(text, key, value, kinds[key])
    return name, options


def _converted(where: str, key: str, value: str, kind: type) -> Any:
    try:
        if kind is bool:
            return {"true": True, "false": False}[value.lower()]
        return kind(value) if kind in (int, float, str) else value
    except (KeyError, ValueError):
        raise ConfigError(f"strategy {where!r}: {key} must be {kind.__name__}, not {value!r}") from None


def parse_budgets(text: str, metrics: Mapping[str, Metric]) -> tuple[Constraint, ...]:
    """Budgets that are to be met together: "2ms & macs<=60M". Raises QuantityError, UnknownNameError."""
    return tuple(parse_budget(part, metrics) for part in text.split("&"))


def parse_budget(text: str, metrics: Mapping[str, Metric]) -> Constraint:
    """One limit: "15ms" -> latency <= 15, "macs<=60M", "accuracy>=0.9".

    A number without a unit is in the metric's own, where the metric is named.

    Raises:
        QuantityError: not of that form, or not positive. UnknownNameError: the metric.

    """
    found = _BUDGET.match(text)
    if found is None:
        raise QuantityError(f"budget {text!r} is not a limit; write it like 15ms, macs<=60M or accuracy>=0.9")
    name, op = found["metric"] or "latency", found["op"] or "<="
    if name not in metrics:
        raise UnknownNameError("metric", name, metrics)
    unit, limit = metrics[name].unit, found["limit"]
    if found["metric"] and re.fullmatch(r"[\d.]+", limit):
        value = parse_count(limit, what=f"budget {text!r}:")
    elif unit == "ms":
        value = parse_latency_ms(limit)
    elif unit == "bytes":
        value = float(parse_bytes(limit))
    elif unit == "mJ":
        value = parse_energy_mj(limit)
    elif not unit and limit.endswith("%"):
        value = parse_share(limit, what=f"budget {text!r}:")
    else:
        value = parse_count(limit.removesuffix(unit).strip() if unit else limit, what=f"budget {text!r}:")
    return Constraint(name, "<=" if op == "<=" else ">=", value)
