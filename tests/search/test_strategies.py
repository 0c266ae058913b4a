from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from nas_edge.errors import QuantityError, UnknownNameError
from nas_edge.search import (
    AdditiveMetric,
    Constraint,
    FunctionMetric,
    Problem,
    make_strategy,
    strategy_names,
)
from nas_edge.search.strategies.climbs import Climbs
from nas_edge.search.strategies.combinations import Steps, combined
from nas_edge.search.strategies.evolution import EvolutionOptions
from nas_edge.search.strategies.herd import Herd
from nas_edge.search.strategies.linear import LinearModel
from nas_edge.search.strategies.moves import Moves, single_moves
from nas_edge.search.strategies.visited import Visited
from nas_edge.spaces import SearchSpace
from tests.search.strategy_contract import StrategyContract


class TestEvolution(StrategyContract):
    name = "evolution"

    def test_it_never_asks_twice_for_the_same(self, problem):
        rows = np.concatenate(self.rounds(problem, budget=200))
        assert len(np.unique(rows, axis=0)) == len(rows)

    def test_it_ends_when_a_small_space_is_used_up(self, problem):
        rows = np.concatenate(self.rounds(problem, budget=10 * problem.space.size()))
        assert len(rows) > 0.9 * problem.space.size()


class TestRandom(StrategyContract):
    name = "random"


class TestExhaustive(StrategyContract):
    name = "exhaustive"

    def test_it_lists_the_space_once(self, problem):
        rows = np.concatenate(self.rounds(problem, budget=10**6))
        assert np.array_equal(rows, problem.space.enumerate())


def test_every_registered_strategy_passes_the_contract():
    for path in (Path(__file__).parent / "strategies").glob("test_*.py"):
        import_module(f"tests.search.strategies.{path.stem}")
    tested = {contract.name for contract in StrategyContract.__subclasses__()}
    assert tested == set(strategy_names())


def test_an_unknown_strategy_is_refused_with_near_names():
    with pytest.raises(UnknownNameError, match="did you mean evolution"):
        make_strategy("evolutoin", None, np.random.default_rng(0))


@pytest.mark.parametrize(
    "options", [{"population": 0}, {"crossover": 1.5}, {"niches": 0}, {"mutated_genes": 0.0}, {"combinations": (3, 0)}]
)
def test_options_out_of_range_are_refused(options):
    with pytest.raises(QuantityError):
        EvolutionOptions(**options)


def test_single_moves_change_one_gene_or_one_depth():
    space = SearchSpace.named("lite0")
    rows = space.sample(5, np.random.default_rng(0))
    moves, parent = single_moves(space, rows)
    assert space.is_valid(moves).all()
    depth_changed = (space.depths(moves) != space.depths(rows[parent])).sum(axis=1)
    genes_changed = (moves != rows[parent]).sum(axis=1)
    assert ((depth_changed == 1) | (genes_changed == 1)).all()
    for p in range(5):
        mine = moves[parent == p]
        assert len(np.unique(mine, axis=0)) == len(mine)
        present = rows[p] > 0
        expected = sum(len(v) - 1 for v, there in zip(space.layout.values, present, strict=True) if there)
        for stage, depth in zip(space.layout.stages, space.depths(rows[p : p + 1])[0], strict=True):
            # A deeper stage comes with each of the two kernels and three ratios, a shallower one once.
            expected += sum(6 if other > depth else 1 for other in stage.depths if other != depth)
        assert len(mine) == expected


def steps_of(row, moves, gains, costs, room):
    """Moves of one row, of units that do not exclude each other."""
    count = len(moves)
    return Steps(
        row[None], moves[None], np.ones((1, count), bool), gains[None], costs[None], room[None], np.arange(count)[None]
    )


def everything(rows):
    return np.arange(len(rows))


def test_combinations_promise_most_within_the_limit_first():
    row = np.array([1, 1, 1, 1], np.int8)
    moves = np.array([[2, 1, 1, 1], [1, 2, 1, 1], [1, 1, 2, 1], [2, 1, 1, 2]], np.int8)
    gains, costs = np.array([3.0, 2.0, -1.0, 9.0]), np.array([[1.0], [0.5], [-1.0], [0.2]])
    steps = steps_of(row, moves, gains, costs, np.array([0.0]))
    found, owner = combined(steps, (1, 3, 3), everything)
    # One move: only the third keeps the limit. Pairs that do: 9 - 1 at cost -0.8, 3 - 1 at 0, 2 - 1 at -0.5. The
    # first and the last touch the same gene. One triple keeps it: 9 + 2 - 1 at -0.3.
    assert found[0].tolist() == [1, 1, 2, 1]
    assert found[1:4].tolist() == [[2, 1, 2, 2], [2, 1, 2, 1], [1, 2, 2, 1]]
    assert found[4:].tolist() == [[2, 2, 2, 2], [2, 2, 2, 1]]
    assert (owner == 0).all()
    known = {(2, 1, 2, 2)}
    found, _ = combined(steps, (1, 1), lambda rows: np.array([i for i, r in enumerate(rows) if tuple(r) not in known]))
    assert found.tolist() == [[1, 1, 2, 1], [2, 1, 2, 1]]
    alone, _ = combined(steps_of(row, moves[:1], gains[:1], costs[:1], np.array([2.0])), (3, 3), everything)
    assert alone.tolist() == [[2, 1, 1, 1]]


def test_combinations_beyond_the_limit_come_by_what_they_exceed():
    row = np.array([1, 1, 1], np.int8)
    moves = np.array([[2, 1, 1], [1, 2, 1], [1, 1, 2]], np.int8)
    gains, costs = np.array([9.0, 1.0, 1.0]), np.array([[3.0], [-1.0], [-2.0]])
    found, _ = combined(steps_of(row, moves, gains, costs, np.array([-5.0])), (2, 2), everything)
    assert found.tolist() == [[1, 1, 2], [1, 2, 1], [1, 2, 2], [2, 1, 2]]


@pytest.mark.parametrize("name", ["lite0", "mcu", "ofa-mbv3-w1.2"])
def test_what_climbs_propose_is_valid_new_and_within_what_they_exceed(name):
    space = SearchSpace.named(name).restrict(s1_d=(1,) if name == "lite0" else (2,), s2_1_k=(3,))
    macs = AdditiveMetric("macs", "MACs", space.costs(lambda block: block.macs, 6))
    problem = Problem(
        space, {"macs": macs}, ("macs",), (Constraint("macs", "<=", float(macs(space.largest()[None])[0]) / 2),)
    )
    rng = np.random.default_rng(0)
    told = space.sample(300, rng)
    gain = np.sqrt(macs(told))
    model, visited = LinearModel(space), Visited(space, rng)
    model.learn(told, gain)
    model.fit()
    visited.add(told)
    climbs = Climbs(problem, model, visited, 32, (5, 5, 5, 5))
    climbs.add(told[:6], gain[:6], problem.violation(told[:6]))
    rows, climb = climbs.propose()
    assert len(rows) > 40
    assert space.is_valid(rows).all()
    assert len(visited.new(rows)) == len(np.unique(rows, axis=0))
    assert (problem.violation(rows) <= climbs.violation[climb]).all()


def test_a_climb_goes_up_and_counts_its_failures():
    space = SearchSpace.named("lite0")
    macs = AdditiveMetric("macs", "MACs", space.costs(lambda block: block.macs, 6))
    problem = Problem(space, {"macs": macs}, ("macs",), ())
    rows = space.sample(6, np.random.default_rng(0))
    climbs = Climbs(problem, LinearModel(space), Visited(space, np.random.default_rng(0)), 32, (5,))
    climbs.add(rows[:2], np.array([1.0, 2.0]), np.zeros(2))
    climbs.move(rows[2:], np.array([0, 0, 1, 1]), np.array([0.5, 3.0, 9.0, 1.0]), np.array([0.0, 0.0, 0.1, 0.0]))
    assert climbs.gain.tolist() == [3.0, 2.0]
    assert np.array_equal(climbs.rows, rows[[3, 1]])
    assert climbs.failures.tolist() == [0, 1]


def test_the_linear_model_finds_additive_gains_and_corrects_itself_nearby():
    space = SearchSpace.named("lite0")
    rng = np.random.default_rng(0)
    score = space.costs(lambda block: block.macs**0.4 * rng.uniform(0.5, 1.5), 6)
    told = space.restrict(resolutions=(96,)).sample(3000, rng)
    gain = score.sum(told) / 1e3
    model = LinearModel(space)
    model.learn(told, gain)
    model.fit()
    fresh = space.restrict(resolutions=(96,)).sample(500, rng)
    truth = score.sum(fresh) / 1e3
    assert np.corrcoef(model.score(fresh), truth)[0, 1] > 0.999
    # What is not additive: another scale for everything, with the resolution.
    row = space.largest()[None]
    moves = Moves.of(space, both=True)
    moved = moves.apply(row, np.flatnonzero(moves.possible(space, row)[0])[None])
    here = np.flatnonzero(moved[0, :, 0] == row[0, 0])
    start = score.sum(row)[0] / 1e3
    real = score.sum(moved[0, here]) / 1e3 - start

    def error():
        weights = model.around(row, np.array([start]), 256)
        return np.abs(model.differences(weights, row, moved)[0, here] - real).mean()

    before = error()
    model.learn(moved[0, here], real + start)
    assert error() < before / 4


def test_evolution_ends_where_nothing_becomes_better():
    space = SearchSpace.named("lite0")
    flat = FunctionMetric("accuracy", "", lambda population: np.zeros(len(population)), maximise=True)
    problem = Problem(space, {"accuracy": flat}, ("accuracy",), ())
    strategy = make_strategy("evolution", problem, np.random.default_rng(0), {"idle": 2000})
    told = 0
    while len(rows := strategy.ask(50_000 - told)):
        strategy.tell(rows, problem.gains(rows), problem.violation(rows))
        told += len(rows)
    assert 2000 <= told < 5000


def test_niches_survive_side_by_side_and_die_out_by_their_best():
    space = SearchSpace.named("lite0")
    rows = space.sample(400, np.random.default_rng(0))
    gain = rows[:, 0] + np.random.default_rng(1).random(400)
    herd = Herd.empty(space).with_rows(rows, gain, np.zeros(400))
    four = herd.survivors(40, 4)
    values, counts = np.unique(four.niche, return_counts=True)
    assert values.tolist() == [4, 5, 6, 7]
    assert (counts == 10).all()
    assert four.survivors(40, 1).niche.tolist() == [7] * 10
    first, second = four.pairs(500, np.random.default_rng(2))
    assert (four.niche[first] == four.niche[second]).all()
    assert set(four.niche[four.by_niche()[:4]]) == {4, 5, 6, 7}
