"""True evaluations in the loop: subnets are measured where the search goes, and the accuracy predictor learns of them.

As in surrogate-based searches (MSuNAS of Lu et al. 2020, BANANAS of White et al. 2021): the search maximises an upper
confidence bound of the predictor, the most promising and least known subnets are evaluated with their inherited
weights, the predictor is fitted anew, and so on. The bound's width is what the ensemble is off by, as its members'
disagreement says.

A bundle of which no subnet was measured (published weights) has no predictor to begin with. There a zero-cost proxy
chooses the first ones, half where it promises most and half along all that it promises, and is the prior of the
predictor that is fitted to what was measured (`training.fitting.guided`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nas_edge.accuracy import AccuracyPredictor, AccuracySet, kendall_tau, read_accuracy
from nas_edge.errors import ConfigError
from nas_edge.pipeline.bundle import ACCURACY, Bundle
from nas_edge.pipeline.searching.state import SearchState
from nas_edge.pipeline.searching.task import SearchTask
from nas_edge.pipeline.zero_cost import ImitatedScores, imitate
from nas_edge.progress import Progress
from nas_edge.search.problem import Problem
from nas_edge.spaces import Population, Precision, SearchSpace

if TYPE_CHECKING:
    from nas_edge.search.metrics import AccuracySource
    from nas_edge.search.result import SearchResult
    from nas_edge.spreading import Spread
    from nas_edge.training.fitting.accuracy_fit import FitReport

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


def refinable(task: SearchTask, progress: Progress) -> SearchTask:
    """The task as `refine` takes it: a proxy in the accuracy's place is imitated, as its scores are too dear.

    That takes a minute or two, once it is sure that measuring can follow.

    Raises:
        ConfigError: nothing can be measured, or too little for a fit. DataError: the images are not at hand.

    """
    bundle, proxy, count = task.source.bundle, task.source.proxy, task.request.evaluate
    if bundle is None or task.precisions != (Precision.FP32,):
        raise ConfigError("--evaluate measures subnets of a bundle in fp32: leave --space and --precision out")
    if "accuracy" not in (*task.objectives, *(constraint.metric for constraint in task.constraints())):
        raise ConfigError("--evaluate refines the accuracy, which nothing here asks for: leave it out")
    if not proxy:
        return task
    from nas_edge.pipeline.networks import bundle_dataset
    from nas_edge.training.fitting.guided import MIN_GUIDED

    if count < MIN_GUIDED:
        raise ConfigError(f"--evaluate {count}: a proxy is corrected by {MIN_GUIDED} measured subnets or more")
    bundle_dataset(bundle, None)
    source, seed = task.source, task.request.seed
    imitated = imitate(source.accuracy[Precision.FP32], source.space, source.num_classes, seed, progress)
    return replace(task, source=source.with_accuracy(Precision.FP32, imitated))


def refine(
    task: SearchTask, state: SearchState, progress: Progress, spread: Spread | None = None
) -> tuple[SearchTask, str]:
    """Measure `request.evaluate` subnets in rounds, each where the search under the bound goes.

    Args:
        task: as `refinable` gives it.
        state: keeps what was measured, so that a search that is cut goes on.
        progress: told after each subnet.
        spread: over what measuring is spread, None for this machine's cores; the figures are the same whatever it is.

    Returns:
        The task with the refined predictor, and what a user should be told.

    Raises:
        DataError: the bundle's images are not at hand. TrainingError: too few subnets within the budgets for a fit.
        WorkerError: a cluster that cannot be used.

    """
    from nas_edge.training.fitting.accuracy_fit import fit_accuracy_predictor

    bundle, space, seed, precision = task.source.bundle, task.source.space, task.request.seed, Precision.FP32
    assert bundle is not None
    guide = task.source.accuracy[precision] if task.source.proxy else None
    prior = guide.figures if isinstance(guide, ImitatedScores) else None
    fit = partial(fit_accuracy_predictor, space, prior=prior, seed=seed, progress=progress)
    sets = _known(bundle, optional=prior is not None)
    predictor = bundle.accuracy_predictor() if prior is None else fit(sets[0])[0] if _enough(sets) else None
    first, known, report = predictor, len(sets), None
    sizes = _sizes(task.request.evaluate, predictor is None)
    for number, size in enumerate(sizes, 1):
        hoped = task if predictor is None else _with(task, UpperBound(predictor))
        result = hoped.search(progress=progress)
        problem = Problem(space, hoped.metrics(), task.objectives, task.constraints())
        pool = _pool(result, problem, [one.population for one in sets], seed + number)
        if predictor is None:
            rows = _along_scores(pool, task.source.accuracy[precision], size)
        else:
            rows = _best_and_unknown(pool, UpperBound(predictor), size)
        if not len(rows):
            break
        sets.append(_measure(bundle, rows, state, _in_round(progress, number, len(sizes)), spread))
        predictor, report = fit(_joined(sets))
    if predictor is None or report is None:
        return task, "no subnet was measured: those known already are all there are within the budgets"
    own, refined = _joined(sets[known:]), _with(task, predictor)
    if isinstance(guide, ImitatedScores):
        return refined, _told_of_prior(task.source.proxy, guide, own, report)
    assert first is not None
    before, after = (float(np.abs(p.predict(own.population) - own.accuracy).mean()) for p in (first, predictor))
    note = (
        f"{len(own)} subnets were measured where the search went: the predictor as shipped was off by "
        f"{100 * before:.2f} points there on average, the refined one by {100 * after:.2f} (it has seen them)"
    )
    return refined, note


def _with(task: SearchTask, accuracy: AccuracySource) -> SearchTask:
    """The same with accuracies in the place of whatever was there."""
    return replace(task, source=replace(task.source.with_accuracy(Precision.FP32, accuracy), proxy=""))


def _known(bundle: Bundle, optional: bool) -> list[AccuracySet]:
    """The bundle's measured subnets: one set, or none where it may do without."""
    path = bundle.path / ACCURACY
    if optional and not path.is_file():
        return []
    return [read_accuracy(path, bundle.space).of_precision(Precision.FP32.value)]


def _enough(sets: list[AccuracySet]) -> bool:
    """Whether a predictor can be fitted to them with a prior."""
    from nas_edge.training.fitting.guided import MIN_GUIDED

    return sum(len(one.with_role("train")) for one in sets) >= MIN_GUIDED


def _sizes(count: int, anew: bool) -> list[int]:
    """Subnets of each round; where nothing is known, the first round has enough for a fit."""
    from nas_edge.training.fitting.guided import MIN_GUIDED

    rounds = min(ROUNDS, max(1, count // MIN_GUIDED) if anew else count)
    return [len(part) for part in np.array_split(np.arange(count), rounds)]


def _told_of_prior(proxy: str, guide: ImitatedScores, own: AccuracySet, report: FitReport) -> str:
    alone = kendall_tau(guide.predict(own.population), own.accuracy)
    return (
        f"{len(own)} subnets were measured where the search went; on them the proxy {proxy} alone has Kendall's tau "
        f"{alone:.2f}. The predictor with it as the prior has {report.fold_tau:.2f} and is off by "
        f"{100 * report.fold_rmse:.2f} points (RMSE), each of {report.train} subnets left out of what predicts it"
    )


# What is measured ------------------------------------------------------------------------------------------------


def _pool(result: SearchResult, problem: Problem, known: list[Population], seed: int) -> Population:
    """Subnets that may be measured, int8 [n, genes]: candidates, the front and mutants of them within the budgets."""
    space, rng = result.space, np.random.default_rng(seed)
    promising = np.concatenate([result.candidates, result.front])
    pool = np.concatenate([promising, space.mutate(np.repeat(promising, 4, axis=0), rng, 0.05)])
    _, first = np.unique(pool, axis=0, return_index=True)
    pool = pool[np.sort(first)]
    pool = pool[problem.violation(pool) <= 0]
    for rows in known:
        pool = pool[~(pool[:, None] == rows[None]).all(axis=2).any(axis=1)]
    return pool


def _best_and_unknown(pool: Population, bound: UpperBound, size: int) -> Population:
    """Half by the bound alone, half by how little is known: neighbours of the best are all alike."""
    by_bound = np.argsort(-bound.predict(pool), kind="stable")
    half = by_bound[: (size + 1) // 2]
    rest = np.setdiff1d(by_bound[: 10 * size], half)
    doubt = bound.predictor.predict_std(pool[rest])
    unknown = rest[np.argsort(-doubt, kind="stable")][: size - len(half)]
    chosen: Population = pool[np.concatenate([half, unknown])]
    return chosen


def _along_scores(pool: Population, scores: AccuracySource, size: int) -> Population:
    """Half where a proxy promises most, half evenly along its scores, which show what they are worth."""
    order = np.argsort(-scores.predict(pool), kind="stable")
    half, rest = order[: (size + 1) // 2], order[(size + 1) // 2 :]
    steps = np.linspace(0, len(rest) - 1, min(size - len(half), len(rest))).round().astype(int)
    chosen: Population = pool[np.concatenate([half, rest[steps]])]
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
