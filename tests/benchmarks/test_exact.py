"""The default strategy and evolution against proven optima of additive surrogates: `pytest -m benchmark -s`."""

from __future__ import annotations

from importlib.resources import files

import numpy as np
import pytest

from nas_edge.accuracy import FeatureLayout
from nas_edge.accuracy.dataset import read_accuracy
from nas_edge.search import AdditiveMetric, Constraint, FunctionMetric, Problem, search
from nas_edge.search.optimum import ExactSolver
from nas_edge.spaces import SearchSpace, Template, TermCosts, TermIndex, preset_names

pytestmark = pytest.mark.benchmark

SEEDS = 10
CLASSES = 6
QUANTILES = (0.05, 0.3)
BUNDLES = ("trashnet", "trashnet-mcu", "fashion-mnist")
STRATEGIES = ("auto", "evolution")


def concave(space, rng):
    """A surrogate that rises with MACs, ever more slowly, and unevenly by block: [entries]."""
    return space.costs(lambda block: block.macs**0.4 * rng.uniform(0.5, 1.5), CLASSES)


def measured(bundle):
    """Space of a bundle, and a ridge regression on its measured accuracies, one weight for each choice of each gene."""
    from nas_edge.files import read_described

    directory = files("nas_edge") / "bundles" / bundle
    space = SearchSpace(read_described(directory / "space.yaml", Template.from_dict))
    data = read_accuracy(directory / "accuracy.csv", space).of_precision("fp32")
    layout = FeatureLayout.of(space)
    x, y = layout.one_hot(data.population).astype(float), data.accuracy
    weights = np.linalg.solve(x.T @ x + 1.0 * np.eye(layout.size), x.T @ (y - y.mean()))
    sizes = [len(choices) + 1 for _, choices in layout.genes]
    offsets = np.cumsum([0, *sizes[:-1]]).astype(np.int32)
    index = TermIndex(np.eye(len(sizes), dtype=np.float32), offsets, sum(sizes))
    values = np.zeros(sum(sizes))
    column, value = layout.columns
    values[offsets[column] + value] = weights
    values[offsets[0] + 1 : offsets[0] + sizes[0]] += y.mean()  # once: every network has a resolution
    return space, TermCosts(index, values)


def price(space, rng):
    return space.costs(lambda block: block.macs / 1e8 * rng.uniform(0.7, 1.3) + 0.02, CLASSES)


def problems(name):
    """One for each seed, at a tight and a wide limit in turn."""
    fixed = measured(name) if name in BUNDLES else None
    space = fixed[0] if fixed else SearchSpace.named(name)
    for seed in range(SEEDS):
        rng = np.random.default_rng(seed)
        score = fixed[1] if fixed else concave(space, rng)
        cost = price(space, rng)
        limit = float(np.quantile(cost.sum(space.sample(5000, rng)), QUANTILES[seed % len(QUANTILES)]))
        metrics = {
            "accuracy": FunctionMetric("accuracy", "", score.sum, True, score),
            "latency": AdditiveMetric("latency", "ms", cost),
        }
        yield Problem(space, metrics, ("accuracy",), (Constraint("latency", "<=", limit),))


@pytest.mark.parametrize("name", [*preset_names(), *BUNDLES])
def test_searches_against_the_exact_optimum(name):
    optima = [ExactSolver(problem).best(120.0) for problem in problems(name)]
    solved = [exact.wall_s for exact in optima]
    print(
        f"\n{name}: {sum(exact.proven for exact in optima)} of {SEEDS} optima proven by HiGHS, "
        f"{np.median(solved):.2f} s, at most {max(solved):.2f} s"
    )
    for strategy in STRATEGIES:
        below, seconds = [], []
        for seed, (problem, exact) in enumerate(zip(problems(name), optima, strict=True)):
            result = search(problem.space, problem.metrics, problem.constraints, strategy=strategy, seed=seed)
            below.append(1 - result.figures["accuracy"] / exact.figure)
            seconds.append(result.wall_s)
        print(
            f"  {strategy:<9} ({result.strategy}) below the optimum: median {np.median(below):.4%}, "
            f"worst {max(below):.4%}; {np.median(seconds):.2f} s a search"
        )


def test_exact_against_brute_force_on_the_largest_spaces_that_it_lists():
    space = SearchSpace.named("lite0")
    fixed = {f"s{s}_d": (d,) for s, d in [(1, 1), (2, 2), (3, 2), (4, 1), (5, 2), (6, 1)]}
    fixed |= {f"s{s}_{b}_k": (3,) for s, b in [(1, 1), (2, 1), (3, 1), (5, 1), (6, 1), (4, 1), (5, 2)]}
    space = space.restrict(resolutions=(96, 112, 128), **fixed)
    everything = space.enumerate()
    differences, seconds = [], []
    for seed in range(SEEDS):
        rng = np.random.default_rng(seed)
        score, costs = concave(space, rng), [price(space, rng) for _ in range(2)]
        metrics = {"accuracy": FunctionMetric("accuracy", "", score.sum, True, score)}
        metrics |= {f"cost{i}": AdditiveMetric(f"cost{i}", "ms", cost) for i, cost in enumerate(costs)}
        limits = [Constraint(f"cost{i}", "<=", float(np.quantile(c.sum(everything), 0.2))) for i, c in enumerate(costs)]
        problem = Problem(space, metrics, ("accuracy",), tuple(limits))
        exact = ExactSolver(problem).best(120.0)
        within = problem.violation(everything) <= 0
        differences.append(abs(exact.figure - float(score.sum(everything)[within].max())) / exact.figure)
        seconds.append(exact.wall_s)
    print(
        f"\nexact against brute force, {space.size():,} architectures, two limits, {SEEDS} problems: greatest relative "
        f"difference {max(differences):.1e}; {np.median(seconds):.2f} s"
    )
