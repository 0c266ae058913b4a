"""What a search found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas_edge.search.constraints import Constraint
from nas_edge.spaces import Population, Space


@dataclass(frozen=True)
class Slack:
    """A constraint that changes nothing.

    Attributes:
        constraint: as given.
        binds_below: the tightest limit at which nothing is lost: the best architecture's own figure, were the
            constraint not there. Limits beyond it (above for "<=") give the same result.

    """

    constraint: Constraint
    binds_below: float


@dataclass(frozen=True, eq=False)
class SearchResult:
    """The best architecture under the constraints, and its alternatives.

    Attributes:
        space: what was searched.
        objectives: names of the metrics; several for a Pareto search.
        constraints: as given.
        best: int8 [genes]; of several objectives the front's knee.
        figures: every metric of the best, in its own unit.
        candidates: int8 [k, genes], the best architectures within the constraints, best first; the first is `best`.
        front: int8 [m, genes], ascending in `front_metric`. Of one objective: the best for each figure of the first
            constraint's metric; all other constraints are met, the first one may be exceeded, so that one sees what
            more budget would give. Of several objectives: what is not dominated within all constraints.
        front_metric: metric of the first constraint ("" without one), or the second objective.
        front_figures: every metric along the front, float64 [m].
        slack: constraints that change nothing.
        strategy: that was used.
        seed: of all randomness.
        evaluations: architectures whose objective was computed.
        wall_s: seconds that the search took.
        trace: (evaluations, best first objective so far) wherever it became better, in the order of evaluation.
        fronts: of several objectives, (evaluations, float64 [points, objectives] in their own units): what was not
            dominated within the constraints by then, ever further apart and at the end.
        interrupted: it was ended by Ctrl-C: the best so far.

    """

    space: Space
    objectives: tuple[str, ...]
    constraints: tuple[Constraint, ...]
    best: Population
    figures: Mapping[str, float]
    candidates: Population
    front: Population
    front_metric: str
    front_figures: Mapping[str, NDArray[np.float64]]
    slack: tuple[Slack, ...]
    strategy: str
    seed: int
    evaluations: int
    wall_s: float
    trace: tuple[tuple[int, float], ...]
    interrupted: bool = False
    fronts: tuple[tuple[int, NDArray[np.float64]], ...] = ()

    @property
    def objective(self) -> str:
        """The first objective's metric."""
        return self.objectives[0]

    @property
    def arch(self) -> dict[str, Any]:
        """The best architecture as the community writes it."""
        return self.space.to_json(self.best)

    def to_json(self) -> dict[str, Any]:
        """As plain data: the same for the same seed, apart from `wall_s`."""
        return {
            "space": self.space.name,
            "objectives": list(self.objectives),
            "constraints": [str(constraint) for constraint in self.constraints],
            "arch": self.arch,
            "figures": dict(self.figures),
            "slack": [{"constraint": str(s.constraint), "binds_below": s.binds_below} for s in self.slack],
            "front": [
                {"arch": self.space.to_json(row), **{name: float(v[i]) for name, v in self.front_figures.items()}}
                for i, row in enumerate(self.front)
            ],
            "strategy": self.strategy,
            "seed": self.seed,
            "evaluations": self.evaluations,
            "wall_s": self.wall_s,
        }
