"""How the accuracy predictor's error falls with the subnets it is fitted to: whether measuring more would help."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nas_edge.accuracy import AccuracySet, kendall_tau, rmse
from nas_edge.spaces import SearchSpace
from nas_edge.training.fitting.gaussian_process import GaussianProcess, Traits

_SHARES = (0.25, 0.5, 1.0)  # of the subnets at hand
_DRAWS = 3  # of each share but the whole
_FEWEST = 10


@dataclass(frozen=True)
class CurvePoint:
    """The predictor's process fitted to so many subnets, judged on others.

    Attributes:
        subnets: that it was fitted to.
        rmse: as a fraction of 1, mean of several draws.
        tau: Kendall's tau, likewise.
    """

    subnets: int
    rmse: float
    tau: float

    def to_dict(self) -> dict[str, float]:
        """As plain data."""
        return {"subnets": self.subnets, "rmse": round(self.rmse, 5), "tau": round(self.tau, 5)}


def learning_curve(space: SearchSpace, train: AccuracySet, judged: AccuracySet, seed: int) -> tuple[CurvePoint, ...]:
    """Error on `judged` of processes fitted to a quarter, half and all of `train`.

    Args:
        space: of the subnets.
        train: to be fitted to.
        judged: others, two or more.
        seed: of which subnets are in a share.

    Returns:
        From few to many; shares of fewer than ten subnets are left out.
    """
    traits = Traits.of(space, train.population)
    rng = np.random.default_rng([seed, 3])
    points = []
    for share in _SHARES:
        count = round(share * len(train))
        if count < _FEWEST:
            continue
        errors, taus = [], []
        for _ in range(_DRAWS if count < len(train) else 1):
            chosen = np.sort(rng.permutation(len(train))[:count])
            labels = train.accuracy[chosen]
            if np.ptp(labels) == 0:
                continue
            predicted = GaussianProcess.fit(traits, train.population[chosen], labels).predict(judged.population)
            errors.append(rmse(predicted, judged.accuracy))
            taus.append(kendall_tau(predicted, judged.accuracy))
        if errors:
            points.append(CurvePoint(count, float(np.mean(errors)), float(np.mean(taus))))
    return tuple(points)
