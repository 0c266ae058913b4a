from dataclasses import dataclass

import numpy as np
import pytest

from nas_edge.errors import BudgetError, FormatError, QuantityError, SpaceError, UnknownNameError
from nas_edge.search import (
    AdditiveMetric,
    Constraint,
    FunctionMetric,
    MetricContext,
    build_metrics,
    extreme,
    metric_names,
    search,
)
from nas_edge.search.metrics import TargetSources
from nas_edge.spaces import SearchSpace, TermCosts
from tests.accuracy.test_predictor import random_predictor
from tests.search.strategies.test_islands import bent_score, macs_of


def additive(space, seed):
    """An additive surrogate: MACs to a power, uneven by block, so that no gene is always best."""
    rng = np.random.default_rng(seed)
    score = space.costs(lambda block: block.macs**0.4 * rng.uniform(0.5, 1.5), 6)
    price = space.costs(lambda block: block.macs / 1e8 * rng.uniform(0.7, 1.3) + 0.02, 6)
    return {
        "accuracy": FunctionMetric("accuracy", "", score.sum, maximise=True, costs=score),
        "latency": AdditiveMetric("latency", "ms", price),
        "macs": AdditiveMetric("macs", "MACs", space.costs(lambda block: block.macs, 6)),
    }


@pytest.fixture(scope="module")
def space():
    """A part of lite0 small enough to be listed: 279,936 architectures, at two resolutions."""
    fixed = {f"s{s}_d": (d,) for s, d in [(1, 1), (2, 2), (3, 2), (4, 1), (5, 2), (6, 1)]}
    fixed |= {f"s{s}_{b}_k": (3,) for s, b in [(1, 1), (2, 1), (3, 1), (5, 1), (6, 1), (4, 1), (5, 2)]}
    return SearchSpace.named("lite0").restrict(resolutions=(96, 128), **fixed)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("quantile", [0.02, 0.5])
def test_evolution_is_within_a_thousandth_of_brute_force(space, seed, quantile):
    metrics, everything = additive(space, seed), space.enumerate()
    latency, accuracy = metrics["latency"](everything), metrics["accuracy"](everything)
    limit = float(np.quantile(latency, quantile))
    optimum = accuracy[latency <= limit].max()
    assert len(everything) > 20_000
    result = search(
        space, metrics, [Constraint("latency", "<=", limit)], strategy="evolution", evaluations=10_000, seed=seed
    )
    assert result.figures["latency"] <= limit
    assert result.figures["accuracy"] >= optimum * 0.999


def test_a_small_space_is_searched_exactly(tiny_space):
    metrics, everything = additive(tiny_space, 0), tiny_space.enumerate()
    macs = metrics["macs"](everything)
    limit = float(np.quantile(macs, 0.3))
    result = search(tiny_space, metrics, [Constraint("macs", "<=", limit)])
    assert result.strategy == "exhaustive"
    assert result.figures["accuracy"] == metrics["accuracy"](everything)[macs <= limit].max()


def test_several_constraints_are_met_together(space):
    metrics, sample = additive(space, 1), space.sample(2000, np.random.default_rng(0))
    constraints = [
        Constraint(n, "<=", float(np.quantile(metrics[n](sample), q))) for n, q in [("latency", 0.3), ("macs", 0.2)]
    ]
    result = search(space, metrics, constraints, evaluations=5000)
    assert all(result.figures[c.metric] <= c.limit for c in constraints)
    for row in result.candidates:
        assert all(metrics[c.metric](row[None])[0] <= c.limit for c in constraints)
    gains = metrics["accuracy"](result.candidates)
    assert (np.diff(gains) <= 0).all()
    assert np.array_equal(result.candidates[0], result.best)


def test_the_front_rises_with_the_first_constraint_and_goes_beyond_it(space):
    metrics = additive(space, 1)
    limit = float(np.median(metrics["latency"](space.sample(500, np.random.default_rng(0)))))
    result = search(space, metrics, [Constraint("latency", "<=", limit)], evaluations=5000)
    assert result.front_metric == "latency"
    latency, accuracy = result.front_figures["latency"], result.front_figures["accuracy"]
    assert (np.diff(latency) > 0).all()
    assert (np.diff(accuracy) > 0).all()
    assert latency[0] < limit < latency[-1]
    assert accuracy[latency <= limit].max() == result.figures["accuracy"]


def test_the_objective_may_be_a_cost_and_the_constraint_a_least_accuracy(space):
    metrics = additive(space, 2)
    wanted = float(np.quantile(metrics["accuracy"](space.sample(500, np.random.default_rng(0))), 0.7))
    result = search(space, metrics, [Constraint("accuracy", ">=", wanted)], objective="latency", evaluations=8000)
    everything = space.enumerate()
    optimum = metrics["latency"](everything)[metrics["accuracy"](everything) >= wanted].min()
    assert result.figures["accuracy"] >= wanted
    assert result.figures["latency"] <= optimum * 1.001
    assert result.trace[-1][1] == pytest.approx(result.figures["latency"])


@pytest.mark.parametrize("name", ["lite0", "mcu", "ofa-mbv3-w1.2"])
def test_extremes_of_sums_are_exact(name, space):
    whole = SearchSpace.named(name)
    metrics = additive(whole, 3)
    for least in (True, False):
        end = extreme(whole, "latency", metrics["latency"], least=least)
        assert end.exact
        sampled = metrics["latency"](whole.sample(5000, np.random.default_rng(0)))
        assert end.figure <= sampled.min() if least else end.figure >= sampled.max()
    rng = np.random.default_rng(0)
    odd = AdditiveMetric("odd", "", space.costs(lambda block: rng.normal(), 6))
    values = odd(space.enumerate())
    assert extreme(space, "odd", odd, least=True).figure == pytest.approx(values.min())
    assert extreme(space, "odd", odd, least=False).figure == pytest.approx(values.max())
    unknown = FunctionMetric("odd", "", odd)
    found = extreme(space, "odd", unknown, least=True)
    assert not found.exact
    assert found.figure <= np.quantile(values, 0.001)


def test_a_floor_on_what_is_made_great_anyway_changes_nothing(space):
    metrics = {"accuracy": bent_score(space), "macs": macs_of(space)}
    most = float(np.quantile(metrics["macs"](space.sample(500, np.random.default_rng(0))), 0.01))
    budget = Constraint("macs", "<=", most)
    free = search(space, metrics, [budget], evaluations=3000, look_for_slack=False)
    floor = Constraint("accuracy", ">=", free.figures["accuracy"] - 1e-3)
    bound = search(space, metrics, [budget, floor], evaluations=3000, look_for_slack=False)
    assert bound.strategy == free.strategy == "islands"
    assert np.array_equal(bound.best, free.best)
    beyond = Constraint("accuracy", ">=", free.figures["accuracy"] + 1e-3)
    with pytest.raises(BudgetError, match="fails where accuracy is"):
        search(space, metrics, [budget, beyond], evaluations=3000)


def test_a_budget_nothing_meets_is_refused_with_the_least_figure(space):
    metrics = additive(space, 0)
    least = metrics["latency"](space.enumerate()).min()
    with pytest.raises(BudgetError, match=rf"cannot be met: the least in space 'lite0' is {least:.3f} ms, .* off, by"):
        search(space, metrics, [Constraint("latency", "<=", least * 0.99)])
    result = search(space, metrics, [Constraint("latency", "<=", least * 1.0001)], evaluations=2000)
    assert result.figures["latency"] == pytest.approx(least, rel=1e-3)


def test_constraints_that_exclude_each_other_are_refused_with_the_nearest(tiny_space):
    metrics = additive(tiny_space, 0)
    values = {n: metrics[n](tiny_space.enumerate()) for n in ("macs", "accuracy")}
    constraints = [
        Constraint("macs", "<=", float(values["macs"].min())),
        Constraint("accuracy", ">=", float(values["accuracy"].max())),
    ]
    with pytest.raises(BudgetError, match=r"the nearest, .* fails where .*% off\)"):
        search(tiny_space, metrics, constraints, objective="latency")


def test_a_slack_budget_is_told_with_the_figure_that_still_binds(space):
    metrics, everything = additive(space, 0), space.enumerate()
    best = everything[metrics["accuracy"](everything).argmax()]
    binding = float(metrics["latency"](best[None])[0])
    loose = search(space, metrics, [Constraint("latency", "<=", binding * 3)], evaluations=5000)
    assert [s.binds_below for s in loose.slack] == [pytest.approx(binding)]
    tight = search(space, metrics, [Constraint("latency", "<=", binding * 0.8)], evaluations=5000)
    assert tight.slack == ()


def test_the_same_seed_gives_the_same_result_but_for_the_time(space):
    metrics = additive(space, 0)
    limit = float(np.median(metrics["latency"](space.sample(500, np.random.default_rng(0)))))
    first, second = (
        search(space, metrics, [Constraint("latency", "<=", limit)], evaluations=3000, seed=4).to_json()
        for _ in range(2)
    )
    assert first.pop("wall_s") > 0
    second.pop("wall_s")
    assert first == second


def test_known_architectures_start_the_search(space):
    metrics, everything = additive(space, 0), space.enumerate()
    latency = metrics["latency"](everything)
    limit = float(np.median(latency))
    feasible = everything[latency <= limit]
    best = feasible[metrics["accuracy"](feasible).argmax()]
    result = search(space, metrics, [Constraint("latency", "<=", limit)], evaluations=50, start=best[None])
    assert np.array_equal(result.best, best)


def test_progress_is_reported(space, monkeypatch):
    monkeypatch.setattr("nas_edge.search.run.PROGRESS_EVERY_S", 0.0)
    seen = []
    search(space, additive(space, 0), [], evaluations=3000, progress=lambda *report: seen.append(report))
    assert seen
    assert all(0 < done <= total == 3000 for done, total, _ in seen)


def test_a_figure_that_is_no_number_is_refused_naming_the_metric(space):
    broken = FunctionMetric("accuracy", "", lambda p: np.where(p[:, 0] > 3, np.nan, 1.0), maximise=True)
    with pytest.raises(FormatError, match="'accuracy' gives nan"):
        search(space, {"accuracy": broken}, [])


def test_wrong_arguments_are_one_line_each(space):
    metrics = additive(space, 0)
    with pytest.raises(QuantityError, match="seed"):
        search(space, metrics, [], seed=-1)
    with pytest.raises(QuantityError, match="evaluations"):
        search(space, metrics, [], evaluations=0)
    with pytest.raises(UnknownNameError, match="unknown strategy"):
        search(space, metrics, [], strategy="annealing")
    with pytest.raises(UnknownNameError, match="unknown metric 'latencey'"):
        search(space, metrics, [Constraint("latencey", "<=", 1.0)])


@dataclass
class Source:
    costs: TermCosts

    def predict(self, population, confidence=0.9):
        point = self.costs.sum(population)
        return type("Prediction", (), {"high": point * (1 + confidence - 0.5)})


def test_registered_metrics_are_built_from_their_context():
    space = SearchSpace.named("lite0")
    source = Source(space.costs(lambda block: 1.0, 6))
    context = MetricContext(space, 6, random_predictor(), TargetSources(source), confidence=0.5)
    metrics = build_metrics(["accuracy", "latency", "macs", "params", "macs"], context)
    assert list(metrics) == ["accuracy", "latency", "macs", "params"]
    assert set(metric_names()) >= set(metrics)
    rows = space.sample(5, np.random.default_rng(0))
    assert np.array_equal(metrics["latency"](rows), source.costs.sum(rows))
    assert np.array_equal(metrics["macs"](rows), space.macs(rows, 6))
    assert metrics["accuracy"].maximise
    with pytest.raises(SpaceError, match="no target"):
        build_metrics(["latency"], MetricContext(space, 6))
    with pytest.raises(SpaceError, match="is of space 'lite0', not of 'mcu'"):
        build_metrics(["accuracy"], MetricContext(SearchSpace.named("mcu"), 6, random_predictor()))
    with pytest.raises(UnknownNameError, match="unknown metric"):
        build_metrics(["beauty"], context)
