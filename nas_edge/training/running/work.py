"""How much of a run's work is done: what a person is shown grows evenly with time, so that the time left can be told.

Steps on small images, and those of the largest architecture alone, take less time than others.
"""

from __future__ import annotations

import numpy as np

from nas_edge.training.recipe import Recipe
from nas_edge.training.running.growing import growing_side
from nas_edge.training.running.schedule import FirstEpochs, Horizon

_ALONE = 0.5  # of a step of the sandwich rule that its largest architecture takes, about
_POINTS = 4096  # of a long run at which its work is summed up


class Work:
    """The work of a run whose end stands.

    Args:
        horizon: of the run.
        teacher: steps of the largest architecture alone.
        recipe: for the sides that batches grow by.
        side: of full-sized images, in pixels.
    """

    def __init__(self, horizon: Horizon, teacher: FirstEpochs, recipe: Recipe, side: int) -> None:
        self.horizon = horizon
        self._steps = np.unique(np.linspace(0, horizon.total, min(horizon.total, _POINTS) + 1).astype(np.int64))
        costs = []
        for step in self._steps[:-1].tolist():
            progress = max(0.0, horizon.progress(step))
            area = (growing_side(recipe.first_side, side, recipe.growing_share, progress) / side) ** 2
            costs.append(area * (_ALONE if teacher.includes(step, horizon) else 1.0))
        self._done = np.concatenate([[0.0], np.cumsum(np.array(costs) * np.diff(self._steps))])

    def share(self, step: int) -> float:
        """Of the work that is done before a step, 0..1."""
        return float(np.interp(step, self._steps, self._done) / self._done[-1])
