"""Phases of progressive shrinking: what may vary when, as data (Once-for-All, Cai et al., ICLR 2020)."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from nas_edge.errors import ConfigError, UnknownKeyError
from nas_edge.spaces import SearchSpace

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class Phase:
    """One stretch of training with its own learning rate, optimiser state and choices.

    `kernels`, `depths`, `expands` and `widths` say how many of a block's (or stage's) largest choices may be drawn: 1
    keeps the largest, None allows all. A phase that allows 1 of each trains the largest network, which teaches the
    phases after it. Resolutions are elastic throughout.

    Attributes:
        name: of the phase, in the history, and of its directory: letters, digits, `-`, `_` and `.`.
        epochs: passes over the training images.
        learning_rate: at its peak.
        warmup_epochs: of the learning rate.
        subnets: drawn a step; their gradients add up.
        kernels, depths, expands, widths: see above.
    """

    name: str
    epochs: int
    learning_rate: float
    warmup_epochs: float = 0.0
    subnets: int = 1
    kernels: int | None = 1
    depths: int | None = 1
    expands: int | None = 1
    widths: int | None = 1

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ConfigError(f"phase {self.name!r}: its name must be of letters, digits, '-', '_' and '.'")
        if any(type(count) is not int for count in (self.epochs, self.subnets)):
            raise ConfigError(f"phase {self.name!r}: epochs and subnets must be whole numbers")
        if self.epochs < 1 or not 0 < self.learning_rate < math.inf or self.subnets < 1:
            raise ConfigError(f"phase {self.name!r}: epochs, learning_rate and subnets must be above 0")
        if not 0 <= self.warmup_epochs < math.inf:
            raise ConfigError(f"phase {self.name!r}: warmup_epochs must be 0 or more, not {self.warmup_epochs}")
        if any(count is not None and (type(count) is not int or count < 1) for count in self.counts):
            raise ConfigError(
                f"phase {self.name!r}: kernels, depths, expands, widths are whole numbers, 1 or more, or null for all"
            )

    @property
    def counts(self) -> tuple[int | None, ...]:
        """How many largest choices of kernel, depth, expand ratio and width."""
        return (self.kernels, self.depths, self.expands, self.widths)

    @property
    def largest_only(self) -> bool:
        """Whether nothing but the resolution varies."""
        return self.counts == (1, 1, 1, 1)

    @classmethod
    def from_dict(cls, data: Any, where: str, number: int) -> Phase:
        """From plain data. Raises ConfigError (UnknownKeyError) for what does not fit."""
        if not isinstance(data, Mapping):
            raise ConfigError(f"{where}: a phase is a mapping with name, epochs, learning_rate ...")
        known = {f.name for f in fields(cls)}
        for key in data:
            if key not in known:
                raise UnknownKeyError(where, ("phases", number, key), known)
        try:
            return cls(**data)
        except TypeError as error:
            raise ConfigError(f"{where}: phase {number + 1} does not describe a phase ({error})") from error


def space_of(phase: Phase, space: SearchSpace) -> SearchSpace:
    """The space with the choices that a phase allows."""

    def largest(values: tuple[float, ...], count: int | None) -> tuple[float, ...]:
        return values[-min(count or len(values), len(values)) :]

    fixed: dict[str, tuple[float, ...]] = {}
    for gene in space.genes:
        if gene.stage >= 0:
            count = phase.kernels if gene.name.endswith(".k") else phase.expands
            fixed[gene.name.replace(".", "_")] = largest(gene.choices, count)
        elif gene.name == "w":
            fixed["w"] = largest(gene.choices, phase.widths)
    for number, stage in enumerate(space.template.stages, 1):
        fixed[f"s{number}_d"] = largest(tuple(map(float, stage.depths)), phase.depths)
    return space.restrict(None, **fixed)


def sorts_channels(phase: Phase, before: Phase | None) -> bool:
    """Whether middle channels are put in order of importance first: where smaller expand ratios become possible."""
    if before is None or before.expands is None:
        return False
    return phase.expands is None or phase.expands > before.expands
