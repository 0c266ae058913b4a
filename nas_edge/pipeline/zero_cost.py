"""Searching where no accuracy is measured: zero-cost proxies in its place, and as the prior of a predictor.

A proxy builds a network and runs a batch through it, 20 ms to a second on one core. In the accuracy's place that is
enough for a few hundred evaluations, where a fitted predictor prices as many in a millisecond. As a prior it is
imitated first: a Gaussian process is fitted to the scores of some architectures, and stands for the proxy elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nas_edge.errors import SpaceError
from nas_edge.pipeline.bundle import Bundle
from nas_edge.progress import Progress, silent
from nas_edge.spaces import Population, SearchSpace

if TYPE_CHECKING:
    from nas_edge.search.metrics import AccuracySource
    from nas_edge.training.fitting.gaussian_process import GaussianProcess
    from nas_edge.training.measuring.zero_cost import Pictures, ZeroCostScores

_IMAGES = 16
_SCORED, _JUDGED_EVERY = 200, 5  # architectures for an imitation, and which of them it is judged on


def zero_cost_of_bundle(name: str, bundle: Bundle, seed: int = 0) -> ZeroCostScores:
    """A proxy on some of a bundle's own calibration images, where it looks at images.

    Raises:
        UnknownNameError: no such proxy. FormatError, DataError: it needs images, and they are damaged or not at hand.

    """
    from nas_edge.training.measuring.zero_cost import ZeroCostScores

    def pictures() -> Pictures:
        return _pictures(bundle, max(bundle.space.resolutions), seed)

    return ZeroCostScores(name, bundle.space, bundle.num_classes, pictures, seed)


def zero_cost_of_space(
    name: str, space: SearchSpace, num_classes: int, lender: Bundle, seed: int = 0
) -> ZeroCostScores:
    """A proxy of a space without a bundle, on another bundle's images under drawn labels; raises as the other does."""
    from nas_edge.training.measuring.zero_cost import ZeroCostScores

    def pictures() -> Pictures:
        images, _ = _pictures(lender, max(space.resolutions), seed)
        return images, np.random.default_rng(seed).integers(0, num_classes, len(images))

    return ZeroCostScores(name, space, num_classes, pictures, seed)


def _pictures(bundle: Bundle, side: int, seed: int) -> Pictures:
    """Some of a bundle's calibration images, normalised, float32 [n, 3, side, side], and their labels."""
    from nas_edge.data.calibration import choose_calibration
    from nas_edge.pipeline.networks import bundle_calibration, bundle_preprocess

    split = choose_calibration(bundle_calibration(bundle), seed, _IMAGES)
    preprocess = bundle_preprocess(bundle)
    return np.ascontiguousarray(preprocess.normalise(split.images(preprocess, side))), split.labels


# As a prior ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class ImitatedScores:
    """A proxy's scores as a process predicts them: for any number of architectures, at no cost.

    Attributes:
        space: of the architectures.
        num_classes: of the classifier.
        process: fitted to scores.
        tau: Kendall's tau with the proxy on `judged` architectures that it was not fitted to.
        judged: how many.

    """

    space: SearchSpace
    num_classes: int
    process: GaussianProcess
    tau: float
    judged: int

    def check(self, space: SearchSpace) -> None:
        """Raise SpaceError where `space` has other genes."""
        if space.genes != self.space.genes:
            raise SpaceError(f"the proxy was made for space {self.space.name!r}, not for {space.name!r}")

    def predict(self, population: Population) -> NDArray[np.float64]:
        """Scores, float64 [n] of int8 [n, genes]: in the place of accuracies, but only their order means anything."""
        return self.process.predict(population)

    def figures(self, population: Population) -> NDArray[np.float64]:
        """What promises accuracy, float64 [n, 2]: the score and log MACs (`training.fitting.guided.Prior`)."""
        macs = self.space.macs(population, self.num_classes)
        return np.stack([self.predict(population), np.log(macs)], axis=1)


def imitate(
    scores: AccuracySource, space: SearchSpace, num_classes: int, seed: int = 0, progress: Progress = silent
) -> ImitatedScores:
    """Score some architectures of every size, and fit a process to that.

    Args:
        scores: a proxy.
        space: of the architectures, restricted to those that are searched.
        num_classes: of the classifier.
        seed: of which architectures are scored.
        progress: told after each.

    """
    from nas_edge.accuracy import kendall_tau
    from nas_edge.training.fitting.gaussian_process import GaussianProcess, Traits
    from nas_edge.training.measuring.subnets import choose_subnets
    from nas_edge.training.measuring.zero_cost import WORST

    rows = choose_subnets(space, num_classes, _SCORED, seed)
    found = np.empty(len(rows))
    for number, row in enumerate(rows):
        progress(number, len(rows), f"scoring {len(rows)} untrained networks")
        found[number] = scores.predict(row[None])[0]
    sound = found > WORST
    found[~sound] = found[sound].min() if sound.any() else 0.0
    judged = np.arange(len(rows)) % _JUDGED_EVERY == _JUDGED_EVERY - 1
    process = GaussianProcess.fit(Traits.of(space, rows[~judged]), rows[~judged], found[~judged])
    tau = kendall_tau(process.predict(rows[judged]), found[judged])
    return ImitatedScores(space, num_classes, process, tau, int(judged.sum()))
