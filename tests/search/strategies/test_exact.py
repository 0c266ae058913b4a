"""Exact search, held to brute force: it must be equal on whatever can be listed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas_edge.errors import QuantityError, SpaceError
from nas_edge.latency import LatencyPredictor
from nas_edge.search import AdditiveMetric, Constraint, FunctionMetric, Monotone, Problem, make_strategy, search
from nas_edge.search.optimum import ExactSolver, upper_bound
from nas_edge.search.strategies.exact import ExactOptions
from nas_edge.spaces import Gene, SearchSpace, Stage, Stem, Tail, Template, TermCosts, TermIndex
from nas_edge.spaces.tabular import TabularSpace
from tests.latency.toy import make_table
from tests.search.strategy_contract import StrategyContract

LARGEST_LISTED = 20_000


def random_costs(space, seed, kind):
    """One figure an entry: normal, a few half integers (many ties), or the root of its MACs with noise."""
    rng, base = np.random.default_rng(seed), space.costs(lambda block: block.macs**0.5, 3)
    values = {
        "normal": rng.normal(size=base.values.shape),
        "ties": rng.integers(0, 5, base.values.shape) + 0.5,
        "macs": base.values * rng.uniform(0.8, 1.2, base.values.shape),
    }[kind]
    return TermCosts(base.index, np.where(base.values > 0, values, 0.0))


def additive_problem(space, limits=(("<=", 0.5),), seed=0, kind="macs", maximise=True, rising=False):
    """Limits at quantiles of the figures that architectures have, so that some lie exactly on them."""
    score = random_costs(space, seed, kind)
    metrics = {"score": FunctionMetric("score", "", score.sum, maximise, score)}
    constraints = []
    sample = space.enumerate() if space.size() <= LARGEST_LISTED else space.sample(5000, np.random.default_rng(seed))
    for i, (op, quantile) in enumerate(limits):
        costs = random_costs(space, [seed, 1 + i], kind)
        sums = costs.sum(sample)
        metric = AdditiveMetric(f"cost{i}", "ms", costs)
        if rising:
            wide = 1 + np.abs(sums).max()
            rise = Monotone(costs, lambda total, wide=wide: np.exp(np.minimum(3 * total / wide, 2.0)))
            metric = FunctionMetric(f"cost{i}", "ms", rise, rises_with=rise)
        limit = float(np.quantile(metric(sample), quantile, method="nearest"))
        if limit:
            metrics[metric.name] = metric
            constraints.append(Constraint(metric.name, op, limit))
    return Problem(space, metrics, ("score",), tuple(constraints))


def brute_force(problem, count=1):
    """The best figures that meet all constraints, best first."""
    everything = problem.space.enumerate()
    gains = problem.gains(everything)[:, 0]
    best = -np.sort(-gains[problem.violation(everything) <= 0])[:count]
    return best if problem.metrics["score"].maximise else -best


class TestExact(StrategyContract):
    name = "exact"

    @pytest.fixture
    def problem(self, tiny_space):
        macs = AdditiveMetric("macs", "MACs", tiny_space.costs(lambda block: block.macs, 4))
        score = tiny_space.costs(lambda block: block.macs**0.5, 4)
        limit = float(np.median(macs(tiny_space.enumerate())))
        metrics = {"accuracy": FunctionMetric("accuracy", "", score.sum, True, score), "macs": macs}
        return Problem(tiny_space, metrics, ("accuracy",), (Constraint("macs", "<=", limit),))

    def test_it_gives_the_best_ones_in_order_and_ends(self, problem):
        rows = np.concatenate(self.rounds(problem))
        everything = problem.space.enumerate()
        gains = problem.gains(everything)[problem.violation(everything) <= 0, 0]
        assert len(rows) == ExactOptions().pool
        assert len(np.unique(rows, axis=0)) == len(rows)
        assert (problem.violation(rows) <= 0).all()
        assert problem.gains(rows)[:, 0] == pytest.approx(-np.sort(-gains)[: len(rows)])

    def test_its_bounds_are_certificates(self, problem):
        strategy = make_strategy(self.name, problem, np.random.default_rng(0))
        best = problem.gains(strategy.ask(10))[0, 0]
        assert strategy.optima[0].proven
        assert strategy.optima[0].bound == pytest.approx(best)


@st.composite
def templates(draw):
    def some(choices):
        return tuple(sorted(draw(st.sets(st.sampled_from(choices), min_size=1, max_size=len(choices)))))

    stages = tuple(
        Stage(8 * draw(st.integers(1, 3)), draw(st.integers(1, 2)), some([1, 2, 3]), some([1, 3]), some([1, 3, 4]))
        for _ in range(draw(st.integers(1, 3)))
    )
    return Template("drawn", Stem(8), Stage(8, 1), stages, Tail(16), some([32, 48, 64]), some([0.5, 1.0, 2.0]))


@settings(max_examples=80, deadline=None)
@given(
    template=templates(),
    limits=st.lists(st.tuples(st.sampled_from(["<=", ">="]), st.floats(0, 1)), max_size=3),
    seed=st.integers(0, 2**16),
    kind=st.sampled_from(["normal", "ties", "macs"]),
    maximise=st.booleans(),
    rising=st.booleans(),
)
def test_it_equals_brute_force(template, limits, seed, kind, maximise, rising):
    space = SearchSpace(template)
    while space.size() > LARGEST_LISTED:
        gene = max(space.genes, key=lambda g: len(space.layout.values[space.columns[g.name]]))
        space = space.restrict(**{gene.name.replace(".", "_"): gene.choices[:1]})
    problem = additive_problem(space, limits, seed, kind, maximise, rising)
    found, best = ExactSolver(problem).best(60.0), brute_force(problem)
    assert found.proven
    if not len(best):
        assert found.arch is None
        return
    assert problem.violation(found.arch[None])[0] <= 0
    assert found.figure == pytest.approx(best[0], rel=1e-9, abs=1e-9)
    assert found.bound == pytest.approx(best[0], rel=1e-7, abs=1e-7)


@pytest.fixture(scope="module")
def listed():
    """A part of lite0: 279,936 architectures."""
    fixed = {f"s{s}_d": (d,) for s, d in [(1, 1), (2, 2), (3, 2), (4, 1), (5, 2), (6, 1)]}
    fixed |= {f"s{s}_{b}_k": (3,) for s, b in [(1, 1), (2, 1), (3, 1), (5, 1), (6, 1), (4, 1), (5, 2)]}
    return SearchSpace.named("lite0").restrict(resolutions=(96, 128), **fixed)


def test_it_equals_brute_force_where_listing_takes_a_while(listed):
    problem = additive_problem(listed, (("<=", 0.2), ("<=", 0.3), (">=", 0.1)))
    metrics, constraints = problem.metrics, problem.constraints
    result = search(listed, metrics, constraints, objective="score", strategy="exact", options={"pool": 3})
    assert result.strategy == "exact"
    assert result.figures["score"] == pytest.approx(brute_force(problem)[0], rel=1e-12)


def test_where_nothing_meets_the_limits_that_is_proven_and_the_nearest_given(tiny_space):
    met = additive_problem(tiny_space, (("<=", 0.0), (">=", 1.0)), seed=3)
    strategy = make_strategy("exact", met, np.random.default_rng(0))
    row = strategy.ask(10)
    assert strategy.optima[0].proven
    assert strategy.optima[0].arch is None
    assert met.violation(row)[0] == pytest.approx(met.violation(tiny_space.enumerate()).min())
    assert met.violation(row)[0] > 0
    assert not len(strategy.ask(10))


@pytest.mark.parametrize("confidence", [0.5, 0.9])
def test_a_predicted_latency_with_its_bound_is_kept_exactly(confidence, tiny_space):
    predictor = LatencyPredictor.of(make_table(tiny_space), tiny_space, 10)
    latency = FunctionMetric(
        "latency",
        "ms",
        lambda population: predictor.predict(population, confidence).high,
        rises_with=Monotone(*predictor.additive(confidence)),
    )
    score = random_costs(tiny_space, 5, "macs")
    metrics = {"score": FunctionMetric("score", "", score.sum, True, score), "latency": latency}
    for quantile in (0.0, 0.05, 0.4):
        limit = float(np.quantile(latency(tiny_space.enumerate()), quantile))
        problem = Problem(tiny_space, metrics, ("score",), (Constraint("latency", "<=", limit),))
        found = ExactSolver(problem).best(60.0)
        assert found.proven
        assert found.figure == pytest.approx(brute_force(problem)[0])
        assert problem.violation(found.arch[None])[0] == 0


def test_a_limit_that_only_rounding_meets_is_not_met(tiny_space):
    problem = additive_problem(tiny_space, (("<=", 0.3),))
    limit = problem.constraints[0].limit
    for beside in (np.nextafter(limit, 0), limit * (1 - 1e-12), limit):
        tight = Problem(tiny_space, problem.metrics, ("score",), (Constraint("cost0", "<=", float(beside)),))
        found = ExactSolver(tight).best(60.0)
        assert tight.violation(found.arch[None])[0] == 0
        assert found.figure == pytest.approx(brute_force(tight)[0])


def test_a_metric_that_is_no_sum_is_refused_by_name(tiny_space):
    problem = additive_problem(tiny_space)
    odd = FunctionMetric("odd", "", lambda population: np.cos(population.sum(axis=1)))
    metrics = {**problem.metrics, "odd": odd}
    for objectives, constraints in [(("odd",), ()), (("score",), (Constraint("odd", "<=", 0.5),))]:
        with pytest.raises(SpaceError, match=r"'odd' is neither one nor .* evolution, or exhaustive"):
            make_strategy("exact", Problem(tiny_space, metrics, objectives, constraints), np.random.default_rng(0))


def test_a_list_of_architectures_is_refused(tiny_space):
    rows = np.array([[1, 1], [1, 2], [2, 1]], np.int8)
    genes = tuple(Gene(name, (1.0, 2.0)) for name in "ab")
    space = TabularSpace("three", genes, (("1", "2"),) * 2, rows, ())
    costs = TermCosts(TermIndex(np.eye(2, dtype=np.float32), np.array([0, 3], np.int32), 6), np.arange(6.0))
    problem = Problem(space, {"sum": AdditiveMetric("sum", "", costs)}, ("sum",), ())
    with pytest.raises(SpaceError, match="is a list of architectures"):
        make_strategy("exact", problem, np.random.default_rng(0))


def test_an_objective_that_is_its_own_constraint_ends_in_time():
    space = SearchSpace.named("lite0")
    cost = additive_problem(space, (("<=", 0.3),), seed=1)
    metric = cost.metrics["cost0"]
    score = FunctionMetric("score", "", metric, True, metric.costs)
    problem = Problem(space, {"score": score, "cost0": metric}, ("score",), cost.constraints)
    found = ExactSolver(problem, 1e-4).best(60.0)
    assert found.proven
    assert found.figure <= problem.constraints[0].limit
    assert found.bound == pytest.approx(problem.constraints[0].limit, rel=1e-3)


def test_the_upper_bound_is_attained_or_said_not_to_be(tiny_space):
    problem = additive_problem(tiny_space)
    bound = upper_bound(problem)
    assert bound.exact is True  # and no array's, which JSON does not know
    assert bound.value == pytest.approx(brute_force(problem)[0])
    assert bound.gap == pytest.approx(0.0, abs=1e-9)
    odd = FunctionMetric("odd", "", lambda population: 1.0 + (population.sum(axis=1) % 2))
    metrics = {**problem.metrics, "odd": odd}
    for limit in (0.5, 1.5):
        constraints = (*problem.constraints, Constraint("odd", "<=", limit))
        harder = Problem(tiny_space, metrics, ("score",), constraints)
        loose, best = upper_bound(harder), brute_force(harder)
        # Left out, the odd constraint can only raise the bound.
        assert loose.value == pytest.approx(bound.value)
        assert loose.exact == bool(len(best) and best[0] == pytest.approx(bound.value))


def test_out_of_time_it_gives_a_bound_that_holds():
    space = SearchSpace.named("lite0")
    problem = additive_problem(space, (("<=", 0.3),), seed=1)
    optimum, hurried = ExactSolver(problem).best(60.0), ExactSolver(problem).best(1e-3)
    assert optimum.proven
    assert not hurried.proven
    assert hurried.bound >= optimum.figure * (1 - 1e-9)
    assert hurried.arch is None or hurried.figure <= optimum.figure


@pytest.mark.parametrize("options", [{"pool": 0}, {"time_limit_s": 0.0}, {"time_limit_s": float("inf")}, {"gap": -1.0}])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(QuantityError):
        ExactOptions(**options)
