"""True evaluations in the loop: subnets are measured where the search goes, and the accuracy predictor learns of them.

As in surrogate-based searches (MSuNAS of Lu et al. 2020, BANANAS of White et al. 2021): the search maximises an upper
confidence bound of the predictor, the most promising and least known subnets are evaluated with their inherited
weights, the predictor is fitted anew, and so on. The bound's width is what the ensemble is off by, as its members'
disagreement says.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nas_edge.accuracy import AccuracyPredictor, AccuracySet, read_accuracy
from nas_edge.errors import ConfigError
from nas_edge.pipeline.bundle import ACCURACY, Bundle
from nas_edge.pipeline.searching.state import SearchState
from nas_edge.pipeline.searching.task import SearchTask
from nas_edge.progress import Progress
from nas_edge.search.problem import Problem
from nas_edge.spaces import Population, Precision, SearchSpace

if TYPE_CHECKING:
    from nas_edge.search.result import SearchResult
    from nas_edge.spreading import Spread

ROUNDS = 4
CONFIDENCE_WIDTH = 1.0  # standard errors added to the mean


@dataclass(frozen=True, eq=False)
class UpperBound:
    """An accuracy predictor that is optimistic where its members disagree (Srinivas et al., 2010).

    Each member is fitted to all subnets but one fold. So members share most of what they know, and differ by less than
    their mean is off: by the square root of their number less one (the jackknife with groups; Efron and Tibshirani, An
    Introduction to the Bootstrap, 1993, chapter 11).

    Attributes:
        predictor: the ensemble.
        width: standard errors to be added.

    """

    predictor: AccuracyPredictor
    width: float = CONFIDENCE_WIDTH

    def check(self, space: SearchSpace) -> None:
        """As the ensemble's."""
        self.predictor.check(space)

    def predict(self, population: Population) -> NDArray[np.float64]:
        """Mean plus `width` standard errors, float64 [n]."""
        errors: NDArray[np.float64] = np.sqrt(self.predictor.members - 1) * self.predictor.predict_std(population)
        return self.predictor.predict(population) + self.width * errors


def refine(
    task: SearchTask, state: SearchState, progress: Progress, spread: Spread | None = None
) -> tuple[SearchTask, str]:
    """Measure `request.evaluate` subnets in rounds, each where the search under the bound goes.

    Args:
        task: over a bundle, in one precision.
        state: keeps what was measured, so that a search that is cut goes on.
        progress: told after each subnet.
        spread: over what measuring is spread, None for this machine's cores; the figures are the same whatever it is.

    Returns:
        The task with the refined predictor, and what a user should be told.

    Raises:
        ConfigError: no bundle, several precisions, or nothing that asks for accuracy. DataError: the bundle's images
        are not at hand. WorkerError: a cluster that cannot be used.

    """
    bundle = task.source.bundle
    if bundle is None or task.precisions != (Precision.FP32,):
        raise ConfigError("--evaluate measures subnets of a bundle in fp32: leave --space and --precision out")
    if "accuracy" not in (*task.objectives, *(constraint.metric for constraint in task.constraints())):
        raise ConfigError("--evaluate refines the accuracy, which nothing here asks for: leave it out")
    from nas_edge.training.fitting.accuracy_fit import fit_accuracy_predictor

    precision, space = Precision.FP32, task.source.space
    known = read_accuracy(bundle.path / ACCURACY, bundle.space).of_precision(precision.value)
    first = bundle.accuracy_predictor()
    predictor, measured = first, known
    rounds = min(ROUNDS, task.request.evaluate)
    sizes = [len(part) for part in np.array_split(np.arange(task.request.evaluate), rounds)]
    fresh: list[AccuracySet] = []
    for number, size in enumerate(sizes, 1):
        bound = replace(task, source=task.source.with_accuracy(precision, UpperBound(predictor)))
        result = bound.search(progress=progress)
        problem = Problem(task.source.space, bound.metrics(), task.objectives, task.constraints())
        seed = task.request.seed + number
        rows = _chosen(result, problem, UpperBound(predictor), measured.population, size, seed)
        if not len(rows):
            break
        fresh.append(_measure(bundle, rows, state, _in_round(progress, number, rounds), spread))
        measured = _joined([known, *fresh])
        predictor, _ = fit_accuracy_predictor(space, measured, seed=task.request.seed, progress=progress)
    if not fresh:
        return task, "no subnet was measured: the predictor's own subnets are all there are within the budgets"
    own = _joined(fresh)
    before, after = (float(np.abs(p.predict(own.population) - own.accuracy).mean()) for p in (first, predictor))
    note = (
        f"{len(own)} subnets were measured where the search went: the predictor as shipped was off by "
        f"{100 * before:.2f} points there on average, the refined one by {100 * after:.2f} (it has seen them)"
    )
    return replace(task, source=task.source.with_accuracy(precision, predictor)), note


def _chosen(
    result: SearchResult, problem: Problem, bound: UpperBound, known: Population, size: int, seed: int
) -> Population:
    """Subnets to measure, int8 [size, genes]: candidates, the front and mutants of them that meet the budgets."""
    space, rng = result.space, np.random.default_rng(seed)
    promising = np.concatenate([result.candidates, result.front])
    pool = np.concatenate([promising, space.mutate(np.repeat(promising, 4, axis=0), rng, 0.05)])
    _, first = np.unique(pool, axis=0, return_index=True)
    pool = pool[np.sort(first)]
    pool = pool[problem.violation(pool) <= 0]
    pool = pool[~(pool[:, None] == known[None]).all(axis=2).any(axis=1)]
    # Half by the bound alone, half by how little is known: neighbours of the best are all alike.
    by_bound = np.argsort(-bound.predict(pool), kind="stable")
    half = by_bound[: (size + 1) // 2]
    rest = np.setdiff1d(by_bound[: 10 * size], half)
    doubt = bound.predictor.predict_std(pool[rest])
    unknown = rest[np.argsort(-doubt, kind="stable")][: size - len(half)]
    chosen: Population = pool[np.concatenate([half, unknown])]
    return chosen


def _measure(
    bundle: Bundle, rows: Population, state: SearchState, progress: Progress, spread: Spread | None
) -> AccuracySet:
    """Accuracy of subnets on the search split, under the views that the bundle's own subnets were measured under."""
    from nas_edge.files import make_directory
    from nas_edge.pipeline.networks import bundle_dataset, bundle_evaluator, bundle_views
    from nas_edge.training.measuring.subnets import EVERYWHERE, answers_of_subnets

    split = bundle_dataset(bundle, None).search
    journal = make_directory(state.directory) / "subnets.jsonl"
    bits = answers_of_subnets(
        bundle.supernet(), bundle_evaluator(bundle), split, rows, bundle_views(bundle), journal, progress=progress,
        spread=spread or EVERYWHERE,
    )  # fmt: skip
    return AccuracySet.of_bits(rows, bits, ["train"] * len(rows))


def _in_round(progress: Progress, number: int, rounds: int) -> Progress:
    def told(done: float, total: float, text: str) -> None:
        progress(done, total, f"{text}, round {number} of {rounds}")

    return told


def _joined(sets: list[AccuracySet]) -> AccuracySet:
    """One set of several."""
    bits = [one.bits for one in sets]
    return AccuracySet(
        np.concatenate([one.population for one in sets]),
        np.concatenate([one.correct for one in sets]),
        np.concatenate([one.images for one in sets]),
        np.concatenate([one.views for one in sets]),
        tuple(role for one in sets for role in one.roles),
        tuple(precision for one in sets for precision in one.precisions),
        np.concatenate([b for b in bits if b is not None]) if all(b is not None for b in bits) else None,
    )
