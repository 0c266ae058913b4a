import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from nas_edge.errors import QuantityError, UnknownNameError
from nas_edge.search import make_strategy, strategy_names
from nas_edge.search.strategies.base import strategy_entry
from nas_edge.search.strategies.evolution import EvolutionOptions
from nas_edge.search.strategies.herd import Herd
from nas_edge.search.strategies.moves import combined_moves, single_moves
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
    "options", [{"population": -1}, {"crossover": 1.5}, {"niches": 0}, {"mutated_genes": 0.0}, {"niche_share": 0.0}]
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


def test_combined_moves_promise_most_within_the_limit_first():
    row = np.array([1, 1, 1, 1], np.int8)
    moves = np.array([[2, 1, 1, 1], [1, 2, 1, 1], [1, 1, 2, 1], [2, 1, 1, 2]], np.int8)
    gains, costs = np.array([3.0, 2.0, -1.0, 9.0]), np.array([[1.0], [0.5], [-1.0], [0.2]])
    found = combined_moves(row, moves, gains, costs, np.array([0.0]), 3)
    # Pairs that fit: 9 - 1 at cost -0.8, 3 - 1 at cost 0, 2 - 1 at cost -0.5. Triples: 9 + 2 - 1 at -0.3 fits.
    assert found[:3].tolist() == [[2, 1, 2, 2], [2, 1, 2, 1], [1, 2, 2, 1]]
    assert found[3:].tolist() == [[2, 2, 2, 2], [2, 2, 2, 1]]
    alone = combined_moves(row, moves[:1], gains[:1], costs[:1], np.array([0.0]), 3)
    assert alone.shape == (0, 4)


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


@pytest.mark.parametrize("name", strategy_names())
def test_every_strategy_says_that_it_searches_a_trained_supernet_through_a_surrogate(name):
    words = " ".join((sys.modules[strategy_entry(name).factory.__module__].__doc__ or "").split())
    assert "supernet" in words
    assert "surrogate" in words
    assert "trained" in words
